"""Locks and elections, by etcd's recipes, so that its clients and ours may share them: a key for each who waits, below the name,
on a lease; whoever has the oldest one has the lock, or leads."""

from __future__ import annotations

import functools
from collections.abc import Generator
from typing import Any, Callable, TypeVar, cast

from raftkv.http.etcd import kv_calls, lease_calls, status
from raftkv.http.etcd.calls import Context, Interrupted, Next, Send, Step, Steps
from raftkv.http.etcd.lease_messages import LeaseGrantRequest
from raftkv.http.etcd.lock_messages import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    LockRequest,
    LockResponse,
    ProclaimRequest,
    ResignRequest,
    UnlockRequest,
)
from raftkv.http.etcd.maintenance_messages import HeaderOnly
from raftkv.http.etcd.status import UNKNOWN, CallError, Status
from raftkv.kvdb.operation import Operation
from raftkv.kvdb.ranges import ASCEND, CREATE, DESCEND, prefix_range
from raftkv.kvdb.reads import Range
from raftkv.kvdb.transactions import EQUAL, Compare, transaction
from raftkv.kvdb.writes import Delete, Put

SESSION_TTL_S = 60  # of the lease that is made for who brings none

_NO_KEY = Status(UNKNOWN, str(status.NO_KEY))
_NO_LEADER_FIELD = Status(UNKNOWN, '"leader" field must be provided')
_NOT_LEADER = Status(UNKNOWN, "election: not leader")
_NO_LEADER = Status(UNKNOWN, "election: no leader")

Waits = Generator[Step, Any, Any]


Made = TypeVar("Made", bound=Callable[..., Steps])


def _of_a_client(call: Made) -> Made:
    """In etcd a client inside the server makes these calls, so that all that fails in them has no code of its own."""

    @functools.wraps(call)
    def made(context: Context, request: Any) -> Steps:
        try:
            return (yield from call(context, request))
        except Interrupted:
            raise
        except Exception as error:
            raise CallError(Status(UNKNOWN, str(status.status_of(error)))) from error

    return cast("Made", made)


@_of_a_client
def lock(context: Context, request: LockRequest) -> Steps:
    key, *_ = yield from _stand(context, request.name, request.lease, b"")
    revision = yield from _wait(request.name, key)
    return LockResponse(context.header(revision), key)


@_of_a_client
def unlock(context: Context, request: UnlockRequest) -> Steps:
    if not request.key:
        raise CallError(_NO_KEY)
    revision, *_ = yield Delete(request.key)
    return HeaderOnly(context.header(revision))


@_of_a_client
def campaign(context: Context, request: CampaignRequest) -> Steps:
    key, created, lease, revision = yield from _stand(context, request.name, request.lease, request.value)
    yield from _wait(request.name, key)
    return CampaignResponse(context.header(revision), LeaderKey(request.name, key, created, lease))


@_of_a_client
def proclaim(context: Context, request: ProclaimRequest) -> Steps:
    leader = _leader(request.leader)
    revision = yield from _if_leading(leader, Put(leader.key, request.value, leader.lease))
    return HeaderOnly(context.header(revision))


@_of_a_client
def resign(context: Context, request: ResignRequest) -> Steps:
    leader = _leader(request.leader)
    try:
        revision = yield from _if_leading(leader, Delete(leader.key))
    except CallError:
        revision, *_ = yield _first(leader.name)
    return HeaderOnly(context.header(revision))


@_of_a_client
def leader(context: Context, request: LeaderRequest) -> Steps:
    revision, rows, _, _ = yield _first(request.name)
    if not rows:
        raise CallError(_NO_LEADER)
    return LeaderResponse(context.header(revision), kv_calls.key_value(rows[0]))


@_of_a_client
def observe(context: Context, request: LeaderRequest) -> Steps:
    """A stream: who leads, and what they proclaim, from now on."""
    told = 0
    revision, rows, _, _ = yield _first(request.name)
    while True:
        if rows and rows[0][3] > told:
            told = rows[0][3]
            yield Send(LeaderResponse(context.header(revision), kv_calls.key_value(rows[0])))
        response = yield Next(*prefix_range(request.name + b"/"), start=revision + 1)
        revision, rows, _, _ = yield _first(request.name)._replace(revision=response.revision)


# -- how -----------------------------------------------------------------------------------------------------


def _stand(context: Context, name: bytes, lease: int, value: bytes) -> Waits:
    """Have a key of one's own, unless it is there already. Returns (the key, the revision that created it, its lease, the
    revision of the answer)."""
    if lease < 0:
        raise CallError(status.NO_SUCH_LEASE)
    if not lease:
        granted: Any = yield from lease_calls.grant(context, LeaseGrantRequest(SESSION_TTL_S))
        lease = granted.ID
    key = b"%b/%x" % (name, lease)
    absent = Compare(CREATE, EQUAL, key, b"", 0)
    revision, is_new, results = yield transaction([absent], [Put(key, value, lease)], [Range(key)])
    if is_new:
        return key, revision, lease, revision
    row = results[0][1][0]
    if row[1] != value:
        leader = LeaderKey(name, key, row[2], lease)
        yield from _if_leading(leader, Put(key, value, lease))
    return key, row[2], lease, revision


def _wait(name: bytes, key: bytes) -> Waits:
    """Wait until no older key is there. Returns the revision of that moment. Whoever is gone waits no longer."""
    try:
        while True:
            now, rows, _, _ = yield Range(key)
            if not rows:  # its lease has ended
                raise CallError(status.NO_SUCH_LEASE)
            older = Range(
                *prefix_range(name + b"/"), limit=1, order=DESCEND, target=CREATE, max_create=rows[0][2] - 1
            )
            now, rows, _, _ = yield older
            if not rows:
                return now
            yield Next(rows[0][0], start=now + 1)
    except Interrupted:
        yield Delete(key)
        raise


def _first(name: bytes) -> Range:
    """Of those below a name, the one that was created first."""
    return Range(*prefix_range(name + b"/"), limit=1, order=ASCEND, target=CREATE)


def _leader(leader: LeaderKey | None) -> LeaderKey:
    if leader is None:
        raise CallError(_NO_LEADER_FIELD)
    if not leader.key:
        raise CallError(_NO_KEY)
    return leader


def _if_leading(leader: LeaderKey, operation: Operation) -> Waits:
    """Carry it out if the key is still the leader's. Returns the revision."""
    held = Compare(CREATE, EQUAL, leader.key, b"", leader.rev)
    revision, succeeded, _ = yield transaction([held], [operation], [])
    if not succeeded:
        raise CallError(_NOT_LEADER)
    return revision
