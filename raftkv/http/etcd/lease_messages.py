"""The messages of leases, as in etcd's rpc.proto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from raftkv.http.etcd.fields import Message
from raftkv.http.etcd.kv_messages import Header


@dataclass
class LeaseGrantRequest(Message):
    TTL: int = 0
    ID: int = 0


@dataclass
class LeaseGrantResponse(Message):
    header: Optional[Header] = None
    ID: int = 0
    TTL: int = 0
    error: str = ""


@dataclass
class LeaseRevokeRequest(Message):
    ID: int = 0


@dataclass
class LeaseRevokeResponse(Message):
    header: Optional[Header] = None


@dataclass
class LeaseKeepAliveRequest(Message):
    ID: int = 0


@dataclass
class LeaseKeepAliveResponse(Message):
    header: Optional[Header] = None
    ID: int = 0
    TTL: int = 0


@dataclass
class LeaseTimeToLiveRequest(Message):
    ID: int = 0
    keys: bool = False


@dataclass
class LeaseTimeToLiveResponse(Message):
    header: Optional[Header] = None
    ID: int = 0
    TTL: int = 0
    grantedTTL: int = 0
    keys: list[bytes] = field(default_factory=list)


@dataclass
class LeaseLeasesRequest(Message):
    pass


@dataclass
class LeaseStatus(Message):
    ID: int = 0


@dataclass
class LeaseLeasesResponse(Message):
    header: Optional[Header] = None
    leases: list[LeaseStatus] = field(default_factory=list)
