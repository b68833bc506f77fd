"""Who is who: may this member vote at once, or did it lose its disk since it last voted?

A member whose disk was wiped looks like one that never was. If it voted again in a term in which it has
voted, or helped to elect a leader that lacks an entry it had acknowledged, committed data would be lost. So
every disk has an identity (`uid`), members remember each other's, and a member with an empty disk asks before
it takes part:

* `new` members that make up a majority found the cluster: nothing can have been committed before.
* Otherwise every other member is asked. If none knows this member under another uid, it is truly new (a late
  first start). If one does, its disk was lost: it rejoins at a term above all of theirs, and does not vote
  before its log holds an entry of such a term (HardState.rejoin_term says why that is enough).

What it does not do: tell apart a member that lost its disk from a new one when every member it was ever in
contact with is down, and those that are up were never started before. docs/divergence.md.

Pure: no I/O. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

from raftkv.errors import ProtocolError
from raftkv.raft.types import MAX_TERM_LEAP, HardState

NEW = "new"  # an empty disk, undecided
REJOINING = "rejoining"  # decided: it lost its disk
MEMBER = "member"

VERSION = 1  # of the peers' protocol


class Hello(NamedTuple):
    """The first words on each connection between peers."""

    version: int
    cluster: str
    id: int
    uid: str
    state: str
    rejoin_term: int  # HardState.rejoin_term of this disk; 0 while that is undecided


class HelloReply(NamedTuple):
    """`knows_you`: None, never met before; True, under this uid; False, under another one.
    `founder`: the replying member was new itself when it first met this uid, or is new now."""

    cluster: str
    id: int
    uid: str
    term: int
    knows_you: Optional[bool]  # noqa: UP045 (Python 3.9 cannot evaluate bool | None, and wire.py does)
    founder: bool
    rejoin_term: int  # of the replying member's own disk, as in Hello


class Acquaintance(NamedTuple):
    """What a member remembers of another one, durably.

    `rejoin_term` orders the disks that a member had: each one that is lost is followed by one with a higher
    one. So an older disk that turns up again (a backup, a machine that was thought dead) is told from the one
    that replaced it.
    """

    uid: str
    founder: bool  # it was met while this member was new itself
    rejoin_term: int


def check_leap(id: int, term: int, own: int) -> None:
    """Raises ProtocolError if node `id` names a term that no elections can have come to."""
    if term - own > MAX_TERM_LEAP:
        raise ProtocolError(f"node {id} names term {term}, and this node is only at {own}")


class Joining:
    """One member's view of who is who. `members`: the ids of all members, this one included."""

    def __init__(
        self, id: int, uid: str, cluster: str, members: Sequence[int], known: dict[int, Acquaintance]
    ) -> None:
        self.id, self.uid, self.cluster = id, uid, cluster
        self.members = tuple(members)
        self.known = dict(known)  # whoever drives this makes it durable before a reply leaves
        self.state = NEW  # until begin()
        self._rejoin_term = 0
        self._replies: dict[int, HelloReply] = {}

    def hello(self) -> Hello:
        return Hello(VERSION, self.cluster, self.id, self.uid, self.state, self._rejoin_term)

    def answer(self, hello: Hello, term: int) -> HelloReply:
        """Answer another member, whose uid is remembered from now on. `term` is this node's own, durable one.

        Raises ProtocolError if it does not belong here; the message tells its operator what to do.
        """
        if hello.version != VERSION:
            raise ProtocolError(
                f"node {hello.id} speaks version {hello.version} of the peers' protocol, not {VERSION}"
            )
        if hello.cluster != self.cluster:
            raise ProtocolError(
                f"node {hello.id} belongs to cluster {hello.cluster!r}, this is {self.cluster!r}"
            )
        if hello.id == self.id or hello.id not in self.members:
            raise ProtocolError(
                f"node {hello.id} is no other member of this cluster; the members are {self.members}"
            )
        check_leap(hello.id, hello.rejoin_term, term)
        knows_you, known = self._meet(hello)
        if knows_you is False:
            term = max(term, known.rejoin_term + 1)  # so that its rejoin_term will be above the last disk's
        founder = self.state == NEW or (known.uid == hello.uid and known.founder)
        return HelloReply(self.cluster, self.id, self.uid, term, knows_you, founder, self._rejoin_term)

    def _meet(self, hello: Hello) -> tuple[bool | None, Acquaintance]:
        """Whether the sender was known before (see HelloReply), and what is known now."""
        known = self.known.get(hello.id)
        knows_you = None if known is None else known.uid == hello.uid
        if known is None:
            known = Acquaintance(hello.uid, self.state == NEW, hello.rejoin_term)
        elif hello.rejoin_term > known.rejoin_term:
            known = Acquaintance(hello.uid, bool(knows_you) and known.founder, hello.rejoin_term)
            knows_you = True
        elif not knows_you and hello.state != NEW:
            raise ProtocolError(
                f"node {hello.id} came with another disk than the one known here: if it is another cluster's server, "
                "correct the line of [peers] that leads to it (compare the addresses in both files); if its data "
                "folder was replaced, put the right one back or, if it holds no data that you need, move it away and "
                "start the node with an empty one"
            )
        self.known[hello.id] = known
        return knows_you, known

    def accepts(self, hello: Hello) -> bool:
        """May the sender of `hello`, which was answered, take part in Raft?"""
        return hello.state != NEW and self.known[hello.id].uid == hello.uid

    def heard(self, reply: HelloReply) -> None:
        """Take in a reply to this member's own hello; whoever sent it is remembered, as in answer().

        Else, of two new members, the one that has decided first would not be a founder to the other, whose
        own hello comes a moment later: and that one would wait for a third. Raises ProtocolError.
        """
        check_leap(reply.id, max(reply.term, reply.rejoin_term), self._rejoin_term)
        self._replies[reply.id] = reply
        self.known.setdefault(reply.id, Acquaintance(reply.uid, self.state == NEW, reply.rejoin_term))

    def decide(self) -> HardState | None:
        """The hard state that a new member begins with, or None while that is not clear.

        Make it durable, then call begin(): said aloud before that, a crash would make it forget its own
        decision.
        """
        others = [self._replies.get(member) for member in self.members if member != self.id]
        replies = [reply for reply in others if reply is not None]
        complete = len(replies) == len(others)
        if any(reply.knows_you is False for reply in replies):
            if not complete:
                return None
            term = max(1, *(reply.term for reply in replies))  # 0 would mean that it never lost anything
            return HardState(term + 1, None, term)
        founders = 1 + sum(1 for reply in replies if reply.founder)
        return HardState() if complete or founders > len(self.members) // 2 else None

    def begin(self, hard_state: HardState) -> None:
        """This member has `hard_state` on its disk, and is new no more."""
        self.state = REJOINING if hard_state.rejoin_term else MEMBER
        self._rejoin_term = hard_state.rejoin_term
