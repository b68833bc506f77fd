"""The messages of keys, values and transactions, as in etcd's kv.proto and rpc.proto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Optional

from raftkv.http.etcd.fields import Choice, Message, Uint64

SortOrder = Annotated[int, Choice("etcdserverpb.RangeRequest.SortOrder", ["NONE", "ASCEND", "DESCEND"])]
SortTarget = Annotated[
    int, Choice("etcdserverpb.RangeRequest.SortTarget", ["KEY", "VERSION", "CREATE", "MOD", "VALUE"])
]
Result = Annotated[
    int, Choice("etcdserverpb.Compare.CompareResult", ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"])
]
Target = Annotated[
    int, Choice("etcdserverpb.Compare.CompareTarget", ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"])
]


@dataclass
class Header(Message):
    cluster_id: Uint64 = 0
    member_id: Uint64 = 0
    revision: int = 0
    raft_term: Uint64 = 0


@dataclass
class KeyValue(Message):
    key: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    value: bytes = b""
    lease: int = 0


@dataclass
class RangeRequest(Message):
    key: bytes = b""
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: SortOrder = 0
    sort_target: SortTarget = 0
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


@dataclass
class RangeResponse(Message):
    header: Optional[Header] = None
    kvs: list[KeyValue] = field(default_factory=list)
    more: bool = False
    count: int = 0


@dataclass
class PutRequest(Message):
    key: bytes = b""
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


@dataclass
class PutResponse(Message):
    header: Optional[Header] = None
    prev_kv: Optional[KeyValue] = None


@dataclass
class DeleteRangeRequest(Message):
    key: bytes = b""
    range_end: bytes = b""
    prev_kv: bool = False


@dataclass
class DeleteRangeResponse(Message):
    header: Optional[Header] = None
    deleted: int = 0
    prev_kvs: list[KeyValue] = field(default_factory=list)


@dataclass
class Compare(Message):
    result: Result = 0
    target: Target = 0
    key: bytes = b""
    version: int = 0
    create_revision: int = 0
    mod_revision: int = 0
    value: Optional[bytes] = None
    lease: int = 0
    range_end: bytes = b""


@dataclass
class RequestOp(Message):
    """One of them."""

    request_range: Optional[RangeRequest] = None
    request_put: Optional[PutRequest] = None
    request_delete_range: Optional[DeleteRangeRequest] = None
    request_txn: Optional[TxnRequest] = None


@dataclass
class TxnRequest(Message):
    compare: list[Compare] = field(default_factory=list)
    success: list[RequestOp] = field(default_factory=list)
    failure: list[RequestOp] = field(default_factory=list)


@dataclass
class ResponseOp(Message):
    """One of them."""

    response_range: Optional[RangeResponse] = None
    response_put: Optional[PutResponse] = None
    response_delete_range: Optional[DeleteRangeResponse] = None
    response_txn: Optional[TxnResponse] = None


@dataclass
class TxnResponse(Message):
    header: Optional[Header] = None
    succeeded: bool = False
    responses: list[ResponseOp] = field(default_factory=list)


@dataclass
class CompactionRequest(Message):
    revision: int = 0
    physical: bool = False


@dataclass
class CompactionResponse(Message):
    header: Optional[Header] = None
