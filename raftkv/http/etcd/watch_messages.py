"""The messages of watches, as in etcd's rpc.proto and kv.proto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Optional

from raftkv.http.etcd.fields import Choice, Message
from raftkv.http.etcd.kv_messages import Header, KeyValue

Filter = Annotated[int, Choice("etcdserverpb.WatchCreateRequest.FilterType", ["NOPUT", "NODELETE"])]
NOPUT, NODELETE = 0, 1
EventType = Annotated[int, Choice("mvccpb.Event.EventType", ["PUT", "DELETE"])]
PUT, DELETE = 0, 1


@dataclass
class WatchCreateRequest(Message):
    key: bytes = b""
    range_end: bytes = b""
    start_revision: int = 0
    progress_notify: bool = False
    filters: list[Filter] = field(default_factory=list)
    prev_kv: bool = False
    watch_id: int = 0
    fragment: bool = False


@dataclass
class WatchCancelRequest(Message):
    watch_id: int = 0


@dataclass
class WatchProgressRequest(Message):
    pass


@dataclass
class WatchRequest(Message):
    """One of them."""

    create_request: Optional[WatchCreateRequest] = None
    cancel_request: Optional[WatchCancelRequest] = None
    progress_request: Optional[WatchProgressRequest] = None


@dataclass
class Event(Message):
    type: EventType = 0
    kv: Optional[KeyValue] = None
    prev_kv: Optional[KeyValue] = None


@dataclass
class WatchResponse(Message):
    header: Optional[Header] = None
    watch_id: int = 0
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: list[Event] = field(default_factory=list)
