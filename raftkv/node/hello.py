"""Hello: the first words between two servers, both ways: who each is, and which life of which disk.

A server is its disk, so what counts is the `uid`; the id is for people. The rules by which a hello is refused are
here; each says what to do. What the parts of it lead to is elsewhere: lives.py (copies of a disk), founding.py
(a new cluster), upkeep.py (who joins, who lost its disk, who moved).

Pure: no I/O.
"""

from __future__ import annotations

from typing import NamedTuple

from raftkv.errors import ProtocolError
from raftkv.raft.configuration import Configuration, MemberRecord

VERSION = 2  # of the peers' protocol


class RefusedError(ProtocolError):
    """The two servers do not belong together; the sentence says what to do."""


class RemovedError(RefusedError):
    """The other server's disk has left the cluster."""


class Hello(NamedTuple):
    """`cluster` is the name in the ini file, `cluster_id` the number drawn at the founding; 0: an empty disk.
    Addresses are "host:port", or "". `tokens` are of the last starts, see identity.py. `founders`: the
    sender's list, see founding.py. `members`: the peer addresses of the cluster that the sender is of."""

    version: int
    cluster: str
    cluster_id: int
    id: int
    uid: int
    client_address: str
    peer_address: str
    http_address: str
    starts: int
    tokens: tuple[int, ...]
    founders: str
    members: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.cluster_id

    def record(self, held: bool = False) -> MemberRecord:
        """As a member's record."""
        return MemberRecord(
            self.uid, self.id, self.client_address, self.peer_address, self.http_address, held
        )


def check_called(to: int, caller: Hello, own: Hello) -> None:
    """Raises ProtocolError if `caller` took this server for another one; `to` is 0 if it did not know."""
    if to not in (0, own.id) and caller.uid != own.uid:
        raise ProtocolError(
            f"node {caller.id} takes node {own.id} for node {to}: compare the sections [peers] of both"
        )


def check_hello(hello: Hello, own: Hello, members: Configuration) -> None:
    """Raises RefusedError if the two do not belong together. `members`: as far as they are committed."""
    if hello.version != VERSION:
        raise RefusedError(
            f"node {hello.id} speaks version {hello.version} of the peers' protocol, not {VERSION}: run the same "
            "version of raftkv on both"
        )
    if hello.cluster != own.cluster:
        raise RefusedError(
            f"node {hello.id} belongs to cluster {hello.cluster!r}, this is {own.cluster!r}: compare [node] cluster "
            "and the section [peers] of both"
        )
    if hello.cluster_id and own.cluster_id and hello.cluster_id != own.cluster_id:
        raise RefusedError(_other_cluster(hello, own, members))
    if hello.uid in members.left:
        raise RemovedError(
            f"the disk of node {hello.id} was removed from this cluster: stop it; to take part again it needs an "
            "empty data folder"
        )
    if hello.uid == own.uid:
        _refuse_self(hello, own)
    if hello.id == own.id:
        raise RefusedError(
            f"two servers say that they are node {own.id}: one at {hello.peer_address} and one at "
            f"{own.peer_address}; stop one, and correct its [node] id and data_dir"
        )


def _other_cluster(hello: Hello, own: Hello, members: Configuration) -> str:
    if hello.uid in members.left:
        return (
            f"the disk of node {hello.id} is of the cluster that this one was recovered from: stop it for good; with an "
            "empty data folder it can be added to this one"
        )
    if hello.uid in members.members:
        return (
            f"node {hello.id} was made a cluster of its own, by --recover, and is none of this one any more: if this one "
            f"is to go on, remove member {hello.id}; else stop this server, and start it with an empty data folder"
        )
    return (
        f"node {hello.id} belongs to another cluster than node {own.id}, which also has the name "
        f"{own.cluster!r}: correct the line of [peers] that leads to it (compare the addresses in both files); if "
        "one of them runs on a wrong data folder, put the right one back or, if it holds no data that you need, "
        "move it away and start that server with an empty one"
    )


def _refuse_self(hello: Hello, own: Hello) -> None:
    if hello.tokens == own.tokens:
        raise RefusedError(
            f"[peers] has this node's own address {own.peer_address} in another line, too: correct that"
        )
    raise RefusedError(
        f"a server at {hello.peer_address} runs on a copy of the data folder of node {own.id}: stop one of the "
        "two, and start it with an empty one"
    )
