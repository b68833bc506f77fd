"""The messages of authentication, as in etcd's rpc.proto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from raftkv.http.etcd.fields import Message, Uint64
from raftkv.http.etcd.kv_messages import Header


@dataclass
class AuthStatusResponse(Message):
    header: Optional[Header] = None
    enabled: bool = False
    authRevision: Uint64 = 0


@dataclass
class AuthenticateRequest(Message):
    name: str = ""
    password: str = ""


@dataclass
class AuthenticateResponse(Message):
    header: Optional[Header] = None
    token: str = ""


@dataclass
class NamedRequest(Message):
    """About a user or a role: what all such requests have that is looked at."""

    name: str = ""
    user: str = ""
    role: str = ""


@dataclass
class UserListResponse(Message):
    header: Optional[Header] = None
    users: list[str] = field(default_factory=list)


@dataclass
class RolesResponse(Message):
    """The roles there are, or those of a user."""

    header: Optional[Header] = None
    roles: list[str] = field(default_factory=list)
