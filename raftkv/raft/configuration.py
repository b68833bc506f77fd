"""Configuration: who belongs to the cluster, and who of them votes (paper section 6, thesis chapter 4).

A server is its disk. The core knows it by the random `uid` of that disk; the `id` is a label for people, which
passes from a lost disk to the one that replaces it.

    voters     they elect leaders and commit entries
    outgoing   the voters of the configuration before, while a change is *joint*: then every decision needs a
               majority of both (paper section 6)
    learners   they receive the log and are not counted
    left       the uids that were members once; they never come back
    founding   a server has begun the cluster alone, and has not yet brought in the others: no client is served
    recovered  the index at which the cluster was made anew from one disk alone (kvserver --recover); 0: never

All are immutable. changes.py makes one configuration from another, quorum.py counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

MAX_UID = 2**53 - 1  # what every JSON reader takes for a whole number
MAX_LEFT = 1000  # uids that are remembered after they left

_GROUPS = ("voters", "outgoing", "learners", "left")


class MemberRecord(NamedTuple):
    """What is known of a member. Addresses are "host:port", or "" where there is none.

    `held`: this learner waits for an operator to promote it; others are promoted when they have caught up.
    """

    uid: int
    id: int
    client_address: str = ""
    peer_address: str = ""
    http_address: str = ""
    held: bool = False


class Configuration(NamedTuple):
    """Uids are positive, and sorted. A voter or learner without a record has its uid for an id.

    One without voters is that of an empty disk; it is in no log and no snapshot."""

    voters: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    records: tuple[MemberRecord, ...] = ()
    left: tuple[int, ...] = ()  # oldest first
    cluster_id: int = 0  # drawn when the cluster was founded; positive in all but tests
    founding: bool = False
    recovered: int = 0

    @property
    def is_joint(self) -> bool:
        return bool(self.outgoing)

    @property
    def all_voters(self) -> tuple[int, ...]:
        """Those whose vote counts anywhere."""
        return tuple(sorted({*self.voters, *self.outgoing})) if self.outgoing else self.voters

    @property
    def members(self) -> tuple[int, ...]:
        """All that the leader sends its log to."""
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    def record(self, uid: int) -> MemberRecord | None:
        return next((record for record in self.records if record.uid == uid), None)

    def with_id(self, id: int) -> MemberRecord | None:
        """The record of the member with this label; not of one that is just leaving."""
        staying = {*self.voters, *self.learners}
        return next((record for record in self.records if record.id == id and record.uid in staying), None)

    def label(self, uid: int) -> int:
        """The id of a member; for an unknown one its uid."""
        record = self.record(uid)
        return uid if record is None else record.id

    def to_plain(self) -> dict[str, Any]:
        """Fields that are empty are left out."""
        plain: dict[str, Any] = {"voters": list(self.voters)}
        for name in ("outgoing", "learners", "left"):
            if getattr(self, name):
                plain[name] = list(getattr(self, name))
        if self.records:
            plain["records"] = [_record_to_plain(record) for record in self.records]
        if self.cluster_id:
            plain["cluster_id"] = self.cluster_id
        if self.founding:
            plain["founding"] = True
        if self.recovered:
            plain["recovered"] = self.recovered
        return plain

    @classmethod
    def from_plain(cls, plain: Any) -> Configuration:
        """Raises ValueError for what is none."""
        if type(plain) is not dict or not set(plain) <= set(cls._fields) or "voters" not in plain:
            raise ValueError("a configuration is an object with the member `voters`")
        numbers = {name: plain.get(name, 0) for name in ("cluster_id", "recovered")}
        if not all(type(number) is int and 0 <= number <= MAX_UID for number in numbers.values()):
            raise ValueError("cluster_id and recovered are numbers of 53 bits")
        founding = plain.get("founding", False)
        if type(founding) is not bool:
            raise ValueError("founding is true or false")
        lists = {name: plain.get(name, []) for name in (*_GROUPS, "records")}
        for name, items in lists.items():
            if type(items) is not list:
                raise ValueError(f"{name} is no list")
        records = tuple(_record(item) for item in lists.pop("records"))
        left = tuple(_uids("left", lists.pop("left")))
        groups = {name: tuple(sorted(_uids(name, items))) for name, items in lists.items()}
        voters, outgoing, learners = (groups[name] for name in ("voters", "outgoing", "learners"))
        cluster_id, recovered = numbers["cluster_id"], numbers["recovered"]
        configuration = cls(voters, outgoing, learners, records, left, cluster_id, founding, recovered)
        _check(configuration)
        return configuration


def _uids(name: str, items: Iterable[Any]) -> list[int]:
    uids = list(items)
    if not all(type(uid) is int and 0 < uid <= MAX_UID for uid in uids) or len(set(uids)) < len(uids):
        raise ValueError(f"{name} are not different uids: {uids}")
    return uids


_RECORD_TYPES = {
    "uid": int,
    "id": int,
    "client_address": str,
    "peer_address": str,
    "http_address": str,
    "held": bool,
}


def _record_to_plain(record: MemberRecord) -> dict[str, Any]:
    return {name: value for name, value in record._asdict().items() if value}


def _record(plain: Any) -> MemberRecord:
    if type(plain) is not dict or not {"uid", "id"} <= set(plain) <= set(_RECORD_TYPES):
        raise ValueError(f"a member's record has the members {', '.join(_RECORD_TYPES)}, uid and id at least")
    for name, value in plain.items():
        if type(value) is not _RECORD_TYPES[name]:
            raise ValueError(f"{name} of a member's record is no {_RECORD_TYPES[name].__name__}")
    if not 0 < plain["uid"] <= MAX_UID or not 0 < plain["id"] <= MAX_UID:
        raise ValueError("uid and id of a member's record are positive")
    return MemberRecord(**plain)


def _check(configuration: Configuration) -> None:
    """Raises ValueError unless its parts fit together."""
    counted = {*configuration.voters, *configuration.outgoing}
    if not configuration.voters:
        raise ValueError("there are no voters")
    if counted & set(configuration.learners):
        raise ValueError("a learner votes")
    if set(configuration.members) & set(configuration.left):
        raise ValueError("a member has left")
    uids = [record.uid for record in configuration.records]
    staying = {*configuration.voters, *configuration.learners}  # a lost disk and its successor share an id
    ids = [record.id for record in configuration.records if record.uid in staying]
    if len(set(uids)) < len(uids) or len(set(ids)) < len(ids):
        raise ValueError("two records of one member, or with one id")
    if not set(uids) <= set(configuration.members):
        raise ValueError("a record is of no member")
