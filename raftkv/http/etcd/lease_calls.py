"""grant, revoke, timetolive and leases; and keepalive, which is a stream."""

from __future__ import annotations

import secrets

from raftkv import errors
from raftkv.http.etcd import status
from raftkv.http.etcd.calls import Context, Steps
from raftkv.http.etcd.lease_messages import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseStatus,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from raftkv.http.etcd.status import INVALID_ARGUMENT, CallError, Status
from raftkv.kvdb.limits import MAX_NUMBER, MAX_TTL_S
from raftkv.kvdb.maintenance import LeaseGrant, LeaseKeepAlive, LeaseRevoke, Leases, LeaseTimeToLive
from raftkv.kvdb.reads import Range

MIN_TTL_S = 2  # as in etcd with its default timeouts: less is raised to it

_NEGATIVE = Status(INVALID_ARGUMENT, "etcdserver: the id of a lease must be above 0")


def grant(context: Context, request: LeaseGrantRequest) -> Steps:
    if request.TTL > MAX_TTL_S:
        raise CallError(status.TTL_TOO_LARGE)
    if request.ID < 0:
        raise CallError(_NEGATIVE)
    ttl = max(request.TTL, MIN_TTL_S)
    while True:
        id = request.ID or secrets.randbelow(MAX_NUMBER) + 1
        try:
            revision = yield LeaseGrant(id, ttl)
            return LeaseGrantResponse(context.header(revision), id, ttl)
        except errors.LeaseExistsError:
            if request.ID:
                raise


def revoke(context: Context, request: LeaseRevokeRequest) -> Steps:
    if request.ID <= 0:
        raise CallError(status.NO_SUCH_LEASE)
    revision, _ = yield LeaseRevoke(request.ID)
    return LeaseRevokeResponse(context.header(revision))


def time_to_live(context: Context, request: LeaseTimeToLiveRequest) -> Steps:
    if request.ID <= 0:
        revision, *_ = yield _NOTHING
        return LeaseTimeToLiveResponse(context.header(revision), request.ID, TTL=-1)
    revision, left, granted, keys = yield LeaseTimeToLive(request.ID, request.keys)
    if left is None:
        return LeaseTimeToLiveResponse(context.header(revision), request.ID, TTL=-1)
    return LeaseTimeToLiveResponse(context.header(revision), request.ID, left, granted, list(keys))


def leases(context: Context, _: LeaseLeasesRequest) -> Steps:
    revision, ids = yield Leases()
    return LeaseLeasesResponse(context.header(revision), [LeaseStatus(id) for id in ids])


def keep_alive(context: Context, request: LeaseKeepAliveRequest) -> Steps:
    """One of them; of a lease that is gone without a TTL."""
    if request.ID <= 0:
        revision, *_ = yield _NOTHING
        return LeaseKeepAliveResponse(context.header(revision), request.ID)
    revision, ttl = yield LeaseKeepAlive(request.ID)
    return LeaseKeepAliveResponse(context.header(revision), request.ID, ttl or 0)


_NOTHING = Range(b"\0", count_only=True)  # only its revision counts
