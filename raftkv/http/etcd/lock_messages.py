"""The messages of locks and elections, as in etcd's v3lock.proto and v3election.proto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from raftkv.http.etcd.fields import Message
from raftkv.http.etcd.kv_messages import Header, KeyValue


@dataclass
class LockRequest(Message):
    name: bytes = b""
    lease: int = 0


@dataclass
class LockResponse(Message):
    header: Optional[Header] = None
    key: bytes = b""


@dataclass
class UnlockRequest(Message):
    key: bytes = b""


@dataclass
class LeaderKey(Message):
    """Who holds it leads."""

    name: bytes = b""
    key: bytes = b""
    rev: int = 0
    lease: int = 0


@dataclass
class CampaignRequest(Message):
    name: bytes = b""
    lease: int = 0
    value: bytes = b""


@dataclass
class CampaignResponse(Message):
    header: Optional[Header] = None
    leader: Optional[LeaderKey] = None


@dataclass
class ProclaimRequest(Message):
    leader: Optional[LeaderKey] = None
    value: bytes = b""


@dataclass
class LeaderRequest(Message):
    name: bytes = b""


@dataclass
class LeaderResponse(Message):
    header: Optional[Header] = None
    kv: Optional[KeyValue] = None


@dataclass
class ResignRequest(Message):
    leader: Optional[LeaderKey] = None
