"""raftkv: a replicated key-value database on Raft, in nothing but the standard library.

Start a cluster (`python bin/kvcluster.py` on a terminal gives one to play with), then:

    from raftkv import Clerk

    with Clerk.from_config("conf/client.ini") as db:
        db.put("greeting", "hello")
        db.append("greeting", ", world")
        assert db.get("greeting") == "hello, world"
        assert db.get("no such key") is None
        db.cas("greeting", "hello, world", "bye")  # True: it was that value
        futures = [db.submit("append", "greeting", "!") for _ in range(100)]  # many in flight
        revisions = [future.result() for future in futures]

Every read sees every write that was acknowledged before it began, and every command takes effect exactly once
or not at all, whatever servers and connections do meanwhile. What can go wrong is in `raftkv.errors`; the two
that matter for a write are NotApplied (repeat it safely) and OutcomeUnknown (look first).

The packages, from the bottom up: `raftkv.rpc` (frames, connections), `raftkv.raft` (consensus),
`raftkv.storage` (the disk), `raftkv.node` (threads round the three), `raftkv.kvdb` (the database),
`raftkv.client` (Clerk), `raftkv.cli` (what people run). Each has a tutorial in its docstring.

What raftkv does not do: data larger than the memory of each server, encryption on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftkv.client.clerk import Clerk

__version__ = "0.1.0"
__all__ = ["Clerk", "__version__"]


def __getattr__(name: str) -> object:
    # Clerk is imported at first use: a server, or a test of the pure core, does not need it.
    if name == "Clerk":
        from raftkv.client.clerk import Clerk

        return Clerk
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
