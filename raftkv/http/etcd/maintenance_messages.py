"""The messages of maintenance, as in etcd's rpc.proto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Optional

from raftkv.http.etcd.fields import Choice, Message, Uint32, Uint64
from raftkv.http.etcd.kv_messages import Header

AlarmType = Annotated[int, Choice("etcdserverpb.AlarmType", ["NONE", "NOSPACE", "CORRUPT"])]
NOSPACE = 1
AlarmAction = Annotated[
    int, Choice("etcdserverpb.AlarmRequest.AlarmAction", ["GET", "ACTIVATE", "DEACTIVATE"])
]


@dataclass
class Empty(Message):
    """A request that says nothing."""


@dataclass
class HeaderOnly(Message):
    """An answer that says only when it was given."""

    header: Optional[Header] = None


@dataclass
class StatusResponse(Message):
    header: Optional[Header] = None
    version: str = ""
    dbSize: int = 0
    leader: Uint64 = 0
    raftIndex: Uint64 = 0
    raftTerm: Uint64 = 0
    raftAppliedIndex: Uint64 = 0
    errors: list[str] = field(default_factory=list)
    dbSizeInUse: int = 0
    isLearner: bool = False


@dataclass
class AlarmRequest(Message):
    action: AlarmAction = 0
    memberID: Uint64 = 0
    alarm: AlarmType = 0


@dataclass
class AlarmMember(Message):
    memberID: Uint64 = 0
    alarm: AlarmType = 0


@dataclass
class AlarmResponse(Message):
    header: Optional[Header] = None
    alarms: list[AlarmMember] = field(default_factory=list)


@dataclass
class HashResponse(Message):
    header: Optional[Header] = None
    hash: Uint32 = 0


@dataclass
class SnapshotResponse(Message):
    header: Optional[Header] = None
    remaining_bytes: Uint64 = 0
    blob: bytes = b""


@dataclass
class MoveLeaderRequest(Message):
    targetID: Uint64 = 0
