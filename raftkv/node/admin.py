"""MemberAdmin: the changes of the members that an operator asks for, and what there is to be seen of them.

Each call begins a change, on the leader, and returns at once: `state()` says when it is through. A change is
refused, with the reason, where it would not come through: if another one is under way, or if no majority of those who
would then have to agree is alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from raftkv.errors import InvalidChangeError, NotLeaderError
from raftkv.node.hello import Hello
from raftkv.node.node import RaftNode
from raftkv.node.upkeep import newcomers
from raftkv.node.view import View
from raftkv.raft.changes import Change, change, leave_joint
from raftkv.raft.configuration import Configuration, MemberRecord
from raftkv.raft.quorum import VoteResult, vote_result

OPERATOR = "an operator"


class Meetings(Protocol):
    def met(self) -> dict[int, Hello]:
        """uid -> the hello of each server that this one is connected with."""

    def call(self, address: str) -> None:
        """Be connected with this address, too, for a while."""


class MemberAdmin:
    """Of one server, which has the disk `uid`. Thread-safe. Ids are labels. All but list() raise NotLeaderError
    where this server does not lead, and InvalidChangeError with a sentence. `by`: who wants a change, in words."""

    def __init__(self, node: RaftNode, uid: int, meetings: Meetings, alive_s: float) -> None:
        """`alive_s`: who has been heard within so many seconds is alive."""
        self._node, self._uid, self._meetings, self._alive_s = node, uid, meetings, alive_s
        self._begun = 0, ""  # the term of this server's last change, and who wanted it

    # -- what there is ---------------------------------------------------------------------------------------

    def list(self) -> list[dict[str, Any]]:
        """A dict for each member, and each server that waits to be one. "lacks": how many entries it is not known to
        hold; None where this server does not lead."""
        view, met = self._node.view(), self._meetings.met()
        rows = [
            {
                "id": record.id,
                "role": _role(view.configuration, record.uid),
                "client_address": record.client_address,
                "peer_address": record.peer_address,
                "http_address": record.http_address,
                "alive": self._is_alive(view, record.uid, met),
                "lacks": self._lacks(view, record.uid),
                "caught_up": record.uid in view.caught_up,
            }
            for record in sorted(view.configuration.records, key=lambda record: record.id)
        ]
        waiting = newcomers(view.configuration, met) if view.configuration.voters else []
        return rows + [
            {
                "id": hello.id,
                "role": "waiting",
                "client_address": hello.client_address,
                "peer_address": hello.peer_address,
                "http_address": hello.http_address,
                "alive": True,
                "lacks": None,
                "caught_up": False,
            }
            for hello in waiting
        ]

    def state(self) -> dict[str, Any]:
        """The members, and what is under way with them."""
        view = self._leading()
        return {
            "members": self.list(),
            "leader": view.configuration.label(self._uid),
            "is_changing": view.is_changing,
            "is_handing_over": self._node.is_handing_over,
        }

    def guide(self) -> dict[str, Any]:
        """See kvdb.members.Members.guide()."""
        view = self._node.view()
        records = [record for record in view.configuration.records if record.client_address]
        staying = {*view.configuration.voters, *view.configuration.learners}
        return {
            "id": self._node.id,
            "leader": None if view.leader is None else view.configuration.label(view.leader),
            "members": {record.id: record.client_address for record in records if record.uid in staying},
            "cluster_id": view.configuration.cluster_id,
        }

    def is_done(self) -> bool:
        """Is no change under way, as far as this leader knows?"""
        return not self._leading().is_changing

    # -- changes ---------------------------------------------------------------------------------------------

    def add(
        self, id: int, client_address: str, peer_address: str, *, learner: bool = False, by: str = OPERATOR
    ) -> None:
        """The server with an empty disk that came as node `id` becomes a learner, and a voter when it has caught up;
        if it is to stay a `learner`, when promote() is called."""
        view = self._leading()
        found = [hello for hello in newcomers(view.configuration, self._meetings.met()) if hello.id == id]
        if not found:
            self._meetings.call(peer_address)  # it may know members only that know nothing of this leader
        if len(found) != 1:
            how_many = "no server" if not found else "more than one server"
            raise InvalidChangeError(
                f"{how_many} with an empty disk has come as node {id}: start it, with [cluster] join = the peer "
                "address of any member in its file",
                may_pass=True,
            )
        record = found[0].record(held=learner)
        if (client_address, peer_address) != (record.client_address, record.peer_address):
            raise InvalidChangeError(
                f"node {id} says that it is at {record.client_address} and, for peers, at {record.peer_address}: "
                "correct the command, or its file"
            )
        self._begin(view, Change(add=(record,)), by)

    def remove(self, id: int, *, by: str = OPERATOR) -> None:
        view = self._leading()
        self._begin(view, Change(remove=(self._member(view, id).uid,)), by)

    def promote(self, id: int, *, by: str = OPERATOR) -> None:
        """A learner that has caught up becomes a voter."""
        view = self._leading()
        self._begin(view, Change(promote=(self._ready(view, id),)), by)

    def swap(self, old: int, new: int, *, by: str = OPERATOR) -> None:
        """In one change, the learner `new`, which has caught up, becomes a voter, and `old` is removed."""
        view = self._leading()
        self._begin(
            view, Change(promote=(self._ready(view, new),), remove=(self._member(view, old).uid,)), by
        )

    def move(
        self,
        id: int,
        client_address: str = "",
        peer_address: str = "",
        http_address: str = "",
        *,
        by: str = OPERATOR,
    ) -> None:
        """A member is at other addresses; those that are "" stay. (One that runs says so itself.)"""
        view = self._leading()
        record = self._member(view, id)
        moved = record._replace(
            client_address=client_address or record.client_address,
            peer_address=peer_address or record.peer_address,
            http_address=http_address or record.http_address,
        )
        self._begin(view, Change(update=(moved,)), by)

    def change_by_itself(self, wanted: Change) -> None:
        """The leader makes a change that nobody asked for; see upkeep.py."""
        self._node.change(wanted)
        self._begun = self._node.get_state()[0], "the leader itself"

    def transfer(self, id: int | None = None) -> int:
        """Hand the leadership to the voter `id`, or to the one that holds most. Returns its id."""
        view = self._leading()
        to = self._node.transfer(None if id is None else self._member(view, id).uid)
        return view.configuration.label(to)

    # -- helpers ---------------------------------------------------------------------------------------------

    def _leading(self) -> View:
        view = self._node.view()
        if not view.leads:
            raise NotLeaderError(self._node.status()["leader"])
        return view

    def _member(self, view: View, id: int) -> MemberRecord:
        record = view.configuration.with_id(id)
        if record is None:
            known = ", ".join(map(str, sorted(record.id for record in view.configuration.records)))
            raise InvalidChangeError(f"there is no member {id}: the members are {known}")
        return record

    def _ready(self, view: View, id: int) -> int:
        uid = self._member(view, id).uid
        if uid not in view.configuration.learners:
            raise InvalidChangeError(f"member {id} is no learner")
        if uid not in view.caught_up:
            lacks = self._lacks(view, uid)
            raise InvalidChangeError(f"member {id} has not caught up: it lacks {lacks} entries; try again")
        return uid

    def _begin(self, view: View, wanted: Change, by: str) -> None:
        if view.configuration.founding:
            raise InvalidChangeError("the cluster is being founded: try again when it is", may_pass=True)
        term, begun = self._node.get_state()[0], self._begun
        if view.configuration.is_joint or (view.is_changing and begun[0] == term):
            words = [
                *_under_way(view.configuration),
                f"begun by {begun[1] if begun[0] == term else 'an earlier leader'}",
            ]
            raise InvalidChangeError(
                f"another change of the members is under way ({', '.join(words)}): try again when it is done"
            )
        following = change(view.configuration, wanted)
        self._check_alive(view, following)
        self._node.change(wanted)
        self._begun = term, by

    def _check_alive(self, view: View, following: Configuration) -> None:
        """Raises InvalidChangeError unless majorities that could agree to the change are alive."""
        met = self._meetings.met()
        alive = {uid: True for uid in following.members if self._is_alive(view, uid, met)}
        for configuration in (following, leave_joint(following)):
            if vote_result(configuration, alive) is not VoteResult.WON:
                dead = [following.label(uid) for uid in following.all_voters if uid not in alive]
                raise InvalidChangeError(
                    f"this change would lose the majority, since {_nodes(dead)} not alive: start them first; if they are "
                    "gone for good, remove them one by one, or see --recover"
                )

    def _lacks(self, view: View, uid: int) -> int | None:
        if not view.leads:
            return None
        return 0 if uid == self._uid else max(0, view.last_index - view.match.get(uid, 0))

    def _is_alive(self, view: View, uid: int, met: Mapping[int, Hello]) -> bool:
        return uid == self._uid or (uid in met and (not view.leads or view.silent_s(uid) < self._alive_s))


def _under_way(joint: Configuration) -> list[str]:
    """What becomes of whom in a change of voters, in words."""
    if not joint.is_joint:
        return []
    before, after = set(joint.outgoing), set(joint.voters)
    words = [f"member {joint.label(uid)} becomes a voter" for uid in sorted(after - before)]
    words += [f"member {joint.label(uid)} leaves" for uid in sorted(before - after)]
    return words


def _role(configuration: Configuration, uid: int) -> str:
    if uid in configuration.learners:
        return "learner"
    return "voter" if uid in configuration.voters else "leaving"


def _nodes(ids: list[int]) -> str:
    words = ", ".join(str(id) for id in ids)
    return f"member {words} is" if len(ids) == 1 else f"members {words} are"
