"""range, put, deleterange, txn and compaction: messages to operations, and results to messages."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from raftkv import errors
from raftkv.client.ranges import read_range
from raftkv.http.etcd import status
from raftkv.http.etcd.calls import Blocking, Context, Steps
from raftkv.http.etcd.kv_messages import (
    CompactionRequest,
    CompactionResponse,
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    Header,
    KeyValue,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)
from raftkv.http.etcd.status import RESOURCE_EXHAUSTED, CallError, Status
from raftkv.kvdb import transactions
from raftkv.kvdb.limits import MAX_NUMBER, MAX_TXN_OPS
from raftkv.kvdb.maintenance import Compact
from raftkv.kvdb.operation import Operation, Read
from raftkv.kvdb.ranges import (
    ASCEND,
    CREATE,
    DESCEND,
    KEY,
    MOD,
    NONE,
    VALUE,
    VERSION,
    Row,
    arrange,
    is_within,
)
from raftkv.kvdb.reads import Range
from raftkv.kvdb.transactions import EQUAL, GREATER, LEASE, LESS, NOT_EQUAL, transaction
from raftkv.kvdb.writes import IGNORE_LEASE, IGNORE_VALUE, PREV_KV, Delete, Put

MAX_RANGE_BYTES = 64 << 20  # of keys and values that one answer holds

Convert = Callable[[Any], Any]

# -- calls ---------------------------------------------------------------------------------------------------


def range_(context: Context, request: RangeRequest) -> Steps:
    """Of any size: what a server does not answer in one piece is read in pages."""
    operation = _range(request)
    if request.serializable:
        result = yield Blocking(lambda: read_range(partial(_read_locally, context), operation))
        return _range_answer(context.header(result[0]), result)
    try:
        result = yield operation
    except errors.RangeTooLargeError:
        result = yield from _in_pages(operation)
    return _range_answer(context.header(result[0]), result)


def put(context: Context, request: PutRequest) -> Steps:
    result = yield _put(request)
    return _put_answer(context.header(result if type(result) is int else result[0]), result)


def delete_range(context: Context, request: DeleteRangeRequest) -> Steps:
    result = yield _delete(request)
    return _delete_answer(context.header(result[0]), result)


def txn(context: Context, request: TxnRequest) -> Steps:
    result = yield _txn(request)
    return _txn_answer(context.header(result[0]), request, result)


def compaction(context: Context, request: CompactionRequest) -> Steps:
    if request.revision < 0:
        raise CallError(status.COMPACTED)
    if request.revision == 0:  # allowed as long as nothing was compacted
        revision, *_ = yield Range(b"\0", revision=1, count_only=True)
    else:
        revision = yield Compact(request.revision)
    return CompactionResponse(context.header(revision))


def _read_locally(context: Context, operation: Operation) -> Any:
    assert isinstance(operation, Read), "a range is read by reads only"
    return context.clerk.read_operation(operation, "serializable")


# -- ranges --------------------------------------------------------------------------------------------------


def _range(request: RangeRequest) -> Range:
    if not request.key:
        raise CallError(status.NO_KEY)
    order, target = request.sort_order, request.sort_target
    if not NONE <= order <= DESCEND or not KEY <= target <= VALUE:
        raise CallError(status.BAD_SORT)
    if order == NONE and target != KEY:
        order = ASCEND
    min_mod, max_mod = max(0, request.min_mod_revision), request.max_mod_revision
    max_create = request.max_create_revision
    return Range(
        request.key,
        request.range_end,
        max(0, request.limit),
        max(0, request.revision),
        order,
        target,
        request.keys_only,
        request.count_only,
        min_mod if max_mod >= 0 and max_create >= 0 else MAX_NUMBER,  # no key has a revision below 0
        max(0, max_mod),
        max(0, request.min_create_revision),
        max(0, max_create),
    )


def _range_answer(header: Header, result: Any) -> RangeResponse:
    _, rows, more, count = result
    return RangeResponse(header, kvs=[key_value(row) for row in rows], more=more, count=count)


def key_value(row: Row) -> KeyValue:
    key, value, create, mod, version, lease = row
    return KeyValue(key, create, mod, version, value, lease)


def _in_pages(request: Range) -> Generator[Operation, Any, Any]:
    """The result of a Range that was refused in one piece."""
    keys_only = request.count_only or (request.keys_only and request.target != VALUE)
    page = Range(request.key, request.end, revision=request.revision, keys_only=keys_only, paged=True)
    rows: list[Row] = []
    size, now, more = 0, 0, True
    while more:
        revision, found, more, _ = yield page
        now = now or revision
        rows += found
        size += sum([len(row[0]) + len(row[1]) for row in found])
        if size > MAX_RANGE_BYTES:
            raise CallError(
                Status(RESOURCE_EXHAUSTED, "etcdserver: the range is too large for one answer: use limit")
            )
        if more:
            page = page._replace(key=rows[-1][0] + b"\0", revision=request.revision or now)
    count = len(rows)
    if request.count_only:
        return now, [], False, count
    rows = arrange([row for row in rows if is_within(row, *request.bounds)], request.order, request.target)
    more = 0 < request.limit < len(rows)
    if request.limit:
        del rows[request.limit :]
    if request.keys_only:
        rows = [(row[0], b"", *row[2:]) for row in rows]
    return now, rows, more, count


# -- writes --------------------------------------------------------------------------------------------------


def _put(request: PutRequest) -> Put:
    if not request.key:
        raise CallError(status.NO_KEY)
    if request.ignore_value and request.value:
        raise CallError(status.VALUE_GIVEN)
    if request.ignore_lease and request.lease:
        raise CallError(status.LEASE_GIVEN)
    if request.lease < 0:
        raise CallError(status.NO_SUCH_LEASE)
    options = (
        PREV_KV * request.prev_kv + IGNORE_VALUE * request.ignore_value + IGNORE_LEASE * request.ignore_lease
    )
    return Put(request.key, request.value, request.lease, options)


def _put_answer(header: Header, result: Any) -> PutResponse:
    row = None if type(result) is int else result[1]
    return PutResponse(header, prev_kv=None if row is None else key_value(row))


def _delete(request: DeleteRangeRequest) -> Delete:
    if not request.key:
        raise CallError(status.NO_KEY)
    return Delete(request.key, request.range_end, request.prev_kv)


def _delete_answer(header: Header, result: Any) -> DeleteRangeResponse:
    _, deleted, rows = result
    return DeleteRangeResponse(header, deleted=deleted, prev_kvs=[key_value(row) for row in rows])


# -- transactions --------------------------------------------------------------------------------------------

_FIELDS = {
    VERSION: "version",
    CREATE: "create_revision",
    MOD: "mod_revision",
    VALUE: "value",
    LEASE: "lease",
}
_TARGETS = dict(enumerate(_FIELDS))  # by the number of the protocol


def _txn(request: TxnRequest, most: int = MAX_TXN_OPS) -> Operation:
    widest = max(len(request.compare), len(request.success), len(request.failure))
    if widest > most:
        raise CallError(status.TOO_MANY_OPS)
    compares = [made for each in request.compare for made in _compare(each)]
    success, failure = [
        [_operation(each, most - widest) for each in branch] for branch in (request.success, request.failure)
    ]
    return transaction(compares, success, failure)


def _compare(compare: Compare) -> list[transactions.Compare]:
    """One, or none for what is always so."""
    if not compare.key:
        raise CallError(status.NO_KEY)
    key, end, relation = compare.key, compare.range_end, compare.result
    target = _TARGETS.get(compare.target, VERSION)
    operand: Any = getattr(compare, _FIELDS[target]) or (b"" if target == VALUE else 0)
    if not EQUAL <= relation <= NOT_EQUAL:  # etcd takes it for something that holds
        return []
    if compare.target not in _TARGETS:  # ... and this for equal
        return [] if relation == EQUAL else [_never(key)]
    if target != VALUE and operand < 0:  # no key has such a number
        return [] if relation in (GREATER, NOT_EQUAL) else [_never(key)]
    return [transactions.Compare(target, relation, key, end, operand)]


def _never(key: bytes) -> transactions.Compare:
    return transactions.Compare(VERSION, LESS, key, b"", 0)


def _operation(op: RequestOp, most: int) -> Operation:
    if op.request_range is not None:
        return _range(op.request_range)
    if op.request_put is not None:
        return _put(op.request_put)
    if op.request_delete_range is not None:
        return _delete(op.request_delete_range)
    if op.request_txn is not None:
        return _txn(op.request_txn, most)
    raise CallError(status.NO_SUCH_KEY)  # so says etcd


def _txn_answer(header: Header, request: TxnRequest, result: Any) -> TxnResponse:
    _, succeeded, results = result
    branch = request.success if succeeded else request.failure
    return TxnResponse(header, succeeded, [_response(op, each) for op, each in zip(branch, results)])


def _response(op: RequestOp, result: Any) -> ResponseOp:
    header = Header(revision=result if type(result) is int else result[0])
    if op.request_range is not None:
        return ResponseOp(response_range=_range_answer(header, result))
    if op.request_put is not None:
        return ResponseOp(response_put=_put_answer(header, result))
    if op.request_delete_range is not None:
        return ResponseOp(response_delete_range=_delete_answer(header, result))
    assert op.request_txn is not None, "an operation that _operation() has refused"
    return ResponseOp(response_txn=_txn_answer(Header(), op.request_txn, result))
