"""Lives: is a server on the disk that it says, or on a copy of it?

Each start adds a random token to the list that a disk announces. Who has met a life of a disk knows how many starts
it had, and the last token. Two things show that this life is not in the past of the one that is announced: there
were fewer starts, or another token stands at that place. Then what was acknowledged in that life may be missing,
and the sender must not be believed: it runs on an older copy (a backup that was put back), or on one of which
another server has gone on.

Of two processes on copies of one disk, the one that started later announces the longer list: whoever meets it
refuses the other one from then on.
"""

from __future__ import annotations

from raftkv.errors import ProtocolError
from raftkv.node.hello import Hello, RefusedError
from raftkv.storage.identity import Life


def life_of(hello: Hello) -> Life:
    """Raises ProtocolError if the list is none."""
    if not 0 < len(hello.tokens) <= hello.starts:
        raise ProtocolError(
            f"node {hello.id} announces {hello.starts} starts, and {len(hello.tokens)} tokens"
        )
    return Life(hello.starts, hello.tokens[-1])


def check_life(hello: Hello, known: Life | None) -> None:
    """Raises RefusedError if `known`, a life of the same disk that was met, is not in the past of `hello`."""
    life_of(hello)
    if known is None:
        return
    place = known.starts - 1 - (hello.starts - len(hello.tokens))  # before 0: it is not in the list any more
    if known.starts > hello.starts or (place >= 0 and hello.tokens[place] != known.token):
        raise RefusedError(
            f"node {hello.id} runs on an older copy of its data folder, or on one that another server uses, too: it "
            "may lack what it acknowledged. Stop it, move that folder away, and start it with an empty one: it "
            "will catch up from the others"
        )
