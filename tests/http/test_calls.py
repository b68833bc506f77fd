"""Calls against a store, without HTTP, JSON or a cluster."""

import gc
import weakref

import pytest
from raftkv import errors
from raftkv.client.command import refusal_error
from raftkv.http.etcd import kv_calls, lease_calls
from raftkv.http.etcd.kv_messages import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    Header,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from raftkv.http.etcd.lease_messages import LeaseGrantRequest, LeaseRevokeRequest
from raftkv.http.etcd.status import HTTP, status_of
from raftkv.kvdb.limits import MAX_PAGE_ROWS, MAX_RANGE_KEYS
from raftkv.kvdb.operation import Read
from raftkv.kvdb.requests import entry_of
from raftkv.kvdb.store import Store

ALL = b"\0"


class Backend:
    """What calls are given, and who carries their steps out."""

    def __init__(self):
        self.store = Store()
        self.index = 1
        self.steps = []

    def header(self, revision):
        return Header(7, 8, revision, 9)

    def call(self, made, request):
        """The answer; raises what the call ends with."""
        steps, result, error = made(self, request), None, None
        while True:
            try:
                step = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            self.steps.append(step)
            result, error = None, None
            try:
                result = self._carry_out(step)
            except errors.RaftKVError as failure:
                error = failure

    def _carry_out(self, step):
        step.check()
        if isinstance(step, Read):
            ok, result = self.store.read(step)
        else:
            self.index += 1
            data = entry_of(step, ("me", 1, self.index, self.index))
            ok, result = self.store.apply(self.index, data, step)
        if not ok:
            raise refusal_error(errors.RemoteError(*result))
        return result

    def status(self, made, request):
        with pytest.raises(Exception) as ended:
            self.call(made, request)
        return status_of(ended.value)


@pytest.fixture
def backend():
    made = Backend()
    made.store.sessions.horizon = 0
    return made


def test_write_says_the_revision_of_its_key(backend):
    first = backend.call(kv_calls.put, PutRequest(b"a", b"1"))
    again = backend.call(kv_calls.put, PutRequest(b"a", b"2", prev_kv=True))
    found = backend.call(kv_calls.range_, RangeRequest(b"a"))
    assert (first.header.revision, again.header.revision) == (2, 3)
    assert again.prev_kv.value == b"1"
    assert (found.kvs[0].create_revision, found.kvs[0].mod_revision, found.kvs[0].version) == (2, 3, 2)


def test_large_range_is_read_in_pages_as_of_one_revision_then_sorted_and_cut(backend):
    count = MAX_RANGE_KEYS + MAX_PAGE_ROWS // 2
    for number in range(count):
        backend.store.data.put_alone(b"%06d" % (count - number), b"")
    request = RangeRequest(ALL, ALL, limit=3, sort_order=1, sort_target=3, keys_only=True)
    found = backend.call(kv_calls.range_, request)
    assert [each.mod_revision for each in found.kvs] == [2, 3, 4]
    assert (found.count, found.more, found.header.revision) == (count, True, count + 1)
    assert {step.revision for step in backend.steps[2:]} == {count + 1}
    counted = backend.call(kv_calls.range_, RangeRequest(ALL, ALL, count_only=True, revision=count))
    assert (counted.count, counted.kvs) == (count - 1, [])


def test_transaction_answers_each_operation_with_its_revision(backend):
    backend.call(kv_calls.put, PutRequest(b"a", b"1"))
    request = TxnRequest(
        [Compare(key=b"a", target=3, value=b"1"), Compare(key=b"none", target=1)],
        [
            RequestOp(request_range=RangeRequest(b"b")),
            RequestOp(request_put=PutRequest(b"b")),
            RequestOp(request_txn=TxnRequest([], [RequestOp(request_delete_range=DeleteRangeRequest(b"a"))])),
        ],
    )
    answer = backend.call(kv_calls.txn, request)
    read, put, inner = answer.responses
    assert answer.succeeded
    assert answer.header.revision == put.response_put.header.revision == 3
    assert read.response_range.header.revision == 2
    assert inner.response_txn.responses[0].response_delete_range.deleted == 1


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (Compare(key=b"none", target=3, result=3, value=b"x"), False),
        (Compare(key=b"none"), True),
        (Compare(key=b"a", version=-1, result=1), True),
        (Compare(key=b"a", version=-1), False),
        (Compare(key=b"a", result=9), True),
        (Compare(key=b"a", target=9), True),
        (Compare(key=b"a", target=9, result=3), False),
        (Compare(key=b"a", target=2, mod_revision=2), True),
        (Compare(key=b"a", target=2, version=2), False),
    ],
)
def test_compare_holds_as_in_etcd(backend, compare, holds):
    backend.call(kv_calls.put, PutRequest(b"a", b"1"))
    assert backend.call(kv_calls.txn, TxnRequest([compare])).succeeded is holds


@pytest.mark.parametrize(
    ("made", "request_", "code", "words"),
    [
        (kv_calls.put, PutRequest(), 3, "key is not provided"),
        (kv_calls.put, PutRequest(b"a", lease=9), 5, "requested lease not found"),
        (kv_calls.put, PutRequest(b"a", lease=-9), 5, "requested lease not found"),
        (kv_calls.put, PutRequest(b"a", ignore_value=True), 3, "key not found"),
        (kv_calls.put, PutRequest(b"a", b"x", ignore_value=True), 3, "value is provided"),
        (kv_calls.put, PutRequest(b"a", b"x" * 2_000_000), 3, "request is too large"),
        (kv_calls.range_, RangeRequest(), 3, "key is not provided"),
        (kv_calls.range_, RangeRequest(b"a", revision=9), 11, "mvcc: required revision is a future revision"),
        (kv_calls.range_, RangeRequest(b"a", sort_order=7), 3, "invalid sort option"),
        (kv_calls.compaction, CompactionRequest(9), 11, "mvcc: required revision is a future revision"),
        (kv_calls.compaction, CompactionRequest(-1), 11, "mvcc: required revision has been compacted"),
        (kv_calls.txn, TxnRequest(success=[RequestOp()] * 129), 3, "too many operations in txn request"),
        (kv_calls.txn, TxnRequest(success=[RequestOp(request_put=PutRequest(b"a"))] * 2), 3, "duplicate key"),
        (lease_calls.grant, LeaseGrantRequest(TTL=9_000_000_001), 11, "too large lease TTL"),
        (lease_calls.revoke, LeaseRevokeRequest(9), 5, "requested lease not found"),
    ],
)
def test_call_ends_with_etcds_words_and_code(backend, made, request_, code, words):
    status = backend.status(made, request_)
    assert status.code == code
    assert str(status).startswith(f"etcdserver: {words}")


@pytest.mark.parametrize(
    ("error", "code", "http", "words"),
    [
        (errors.NotApplied("x"), 14, 503, "etcdserver: no leader"),
        (errors.OutcomeUnknown("x"), 14, 503, "etcdserver: request timed out"),
        (errors.UnavailableError("x"), 14, 503, "etcdserver: request timed out"),
        (errors.NoSpaceError("x"), 8, 429, "etcdserver: mvcc: database space exceeded"),
        (errors.CompactedError("x", 3), 11, 400, "etcdserver: mvcc: required revision has been compacted"),
        (errors.ClosedError("x"), 14, 503, "etcdserver: server stopped"),
        (ZeroDivisionError("/secret/path"), 13, 500, "etcdserver: internal error"),
    ],
)
def test_error_of_the_cluster_has_etcds_words_and_codes(error, code, http, words):
    status = status_of(error)
    assert (status.code, HTTP[status.code], str(status)) == (code, http, words)


def test_lease_has_the_least_time_of_etcd_and_an_id_that_is_drawn(backend):
    granted = backend.call(lease_calls.grant, LeaseGrantRequest())
    assert granted.TTL == 2
    assert granted.ID in backend.store.data.leases


def test_refused_request_is_not_kept(backend):
    request = PutRequest(b"", b"large")
    kept = weakref.ref(request)
    assert str(backend.status(kv_calls.put, request)) == "etcdserver: key is not provided"
    del request
    gc.collect()
    assert kept() is None
