"""The first words between two servers: whom the caller believes to call, and where it believes the members to be.

Servers that are pointed at the wrong ones (swapped lines in [peers], the ports of another cluster, one id
given twice) reach each other well enough; they only never make a cluster. So both sides look, and say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from raftkv.errors import AuthenticationError, ProtocolError, RemoteError, RpcError

_MOST_CHARS = 80  # of what another server wrote, in a sentence


class Greeting(NamedTuple):
    """It comes before the fields of each Hello. `process` is drawn at random by each process; `addresses`
    are all members' as the sender has them, see addresses_text()."""

    to: int
    process: str
    addresses: str


def addresses_text(addresses: Mapping[int, tuple[str, int]]) -> str:
    """ "1=HOST:PORT 2=HOST:PORT …" """
    return " ".join(f"{id}={host}:{port}" for id, (host, port) in sorted(addresses.items()))


def difference(peer: int, theirs: str, ours: str) -> str | None:
    """How node `peer` differs from this one in where the members are, as a sentence; None if it does not."""
    if theirs == ours:
        return None
    their_lines, our_lines = _lines(theirs), _lines(ours)
    for id in sorted({*their_lines, *our_lines}):
        there, here = their_lines.get(id, "nothing"), our_lines.get(id, "nothing")
        if there != here:
            return (
                f"node {peer} has another section [peers] than this node: for node {_short(id)} it has "
                f"{_short(there)}, and this node {_short(here)}; all members must have the same"
            )
    return f"node {peer} has another section [peers] than this node; all members must have the same"


def check_called(caller: int, called: int, id: int) -> None:
    """Raises ProtocolError if the node `id` was taken for another one."""
    if called != id:
        raise ProtocolError(
            f"node {caller} takes node {id} for node {called}: compare the sections [peers] of both"
        )


def why_refused(error: RpcError) -> str | None:
    """What an attempt to connect says of the other side; None if it was not even reached."""
    if isinstance(error, RemoteError):
        return f"refuses this node: {error}"
    if isinstance(error, AuthenticationError):
        return "does not hold the same key: compare [auth] peer_key_file and [peers] of both"
    if isinstance(error, ProtocolError):
        return f"is no member of this cluster ({error}): compare the sections [peers] of both"
    return None


def _lines(text: str) -> dict[str, str]:
    return {id: address for id, _, address in (line.partition("=") for line in text.split())}


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else text[:_MOST_CHARS] + "…"
