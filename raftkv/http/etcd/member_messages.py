"""The messages of members, as in etcd's rpc.proto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from raftkv.http.etcd.fields import Message, Uint64
from raftkv.http.etcd.kv_messages import Header


@dataclass
class Member(Message):
    ID: Uint64 = 0
    name: str = ""
    peerURLs: list[str] = field(default_factory=list)
    clientURLs: list[str] = field(default_factory=list)
    isLearner: bool = False


@dataclass
class MemberListRequest(Message):
    linearizable: bool = False


@dataclass
class MemberAddRequest(Message):
    peerURLs: list[str] = field(default_factory=list)
    isLearner: bool = False


@dataclass
class MemberAddResponse(Message):
    header: Optional[Header] = None
    member: Optional[Member] = None
    members: list[Member] = field(default_factory=list)


@dataclass
class MemberIdRequest(Message):
    """To remove or to promote one."""

    ID: Uint64 = 0


@dataclass
class MemberUpdateRequest(Message):
    ID: Uint64 = 0
    peerURLs: list[str] = field(default_factory=list)


@dataclass
class MembersResponse(Message):
    """The answer of all but adding."""

    header: Optional[Header] = None
    members: list[Member] = field(default_factory=list)
