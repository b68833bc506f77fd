"""maintenance/status, alarm, defragment, hash, snapshot, transfer-leadership and downgrade."""

from __future__ import annotations

import json
import zlib
from typing import Any

from raftkv.errors import InvalidChangeError
from raftkv.http.etcd import status as statuses
from raftkv.http.etcd.calls import Blocking, Context, Send, Steps
from raftkv.http.etcd.maintenance_messages import (
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    Empty,
    HashResponse,
    HeaderOnly,
    MoveLeaderRequest,
    SnapshotResponse,
    StatusResponse,
)
from raftkv.http.etcd.status import FAILED_PRECONDITION, UNIMPLEMENTED, CallError, Status
from raftkv.http.view import REFRESH_S
from raftkv.kvdb.ranges import ALL
from raftkv.kvdb.reads import Range

#: The version of etcd whose API this is: clients look at it to know what they may ask for.
VERSION = "3.5.11"

_BAD_TRANSFEREE = Status(FAILED_PRECONDITION, "etcdserver: bad leader transferee")


def status(context: Context, _: Empty) -> Steps:
    """Of the server whose front this is."""
    view = context.view
    yield Blocking(lambda: view.refresh(REFRESH_S), is_brief=True)
    own = view.own
    if own is None:
        raise CallError(statuses.STOPPED)
    leader = own["leader"] or 0
    problems = [*own.get("problems", []), *([] if leader else [str(statuses.NO_LEADER)])]
    role = next((row["role"] for row in view.members if row["id"] == own["id"]), "")
    return StatusResponse(
        context.header(own["revision"]),
        VERSION,
        own["data_bytes"],
        leader,
        own["commit_index"],
        own["term"],
        own["applied_index"],
        problems,
        own["data_bytes"],
        role == "learner",
    )


def alarm(context: Context, _: AlarmRequest) -> Steps:
    """Alarms are raised, and end, by themselves."""
    yield Blocking(lambda: context.view.refresh(REFRESH_S), is_brief=True)
    rows = [row for row in context.view.rows if row["alive"]]
    if not rows:
        raise CallError(statuses.TIMED_OUT)
    alarms = [AlarmMember(row["id"], NOSPACE) for row in rows if "NOSPACE" in (row["alarms"] or ())]
    return AlarmResponse(context.header(max([row["revision"] for row in rows], default=0)), alarms)


def defragment(_context: Context, _: Empty) -> Steps:
    """There is nothing to do."""
    yield from ()
    return HeaderOnly()


def hash_(context: Context, _: Empty) -> Steps:
    """Of all keys with all that is known of them, as of one revision: the same on all members."""
    page = Range(*ALL, paged=True)
    found, now, more = 0, 0, True
    while more:
        revision, rows, more, _count = yield page
        now = now or revision
        for row in rows:
            found = zlib.crc32(repr(row).encode(), found)
        if more:
            page = page._replace(key=rows[-1][0] + b"\0", revision=now)
    return HashResponse(context.header(now), found)


def snapshot(context: Context, _: Empty) -> Steps:
    """A stream: the keys and values, as `kvclient load` reads them."""
    dump = yield Blocking(context.clerk.dump)
    pieces = iter(dump)
    try:
        while True:
            rows = yield Blocking(lambda: next(pieces, None))
            if rows is None:
                break
            yield _blob(
                context, dump.revision, [{"key": _text(row.key), "value": _text(row.value)} for row in rows]
            )
    finally:
        dump.close()
    yield _blob(context, dump.revision, [{"end": True, "keys": dump.keys}])
    return Empty()


def _blob(context: Context, revision: int, lines: list[dict[str, Any]]) -> Send:
    text = "".join([json.dumps(line) + "\n" for line in lines])
    return Send(SnapshotResponse(context.header(revision), blob=text.encode()))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def transfer_leadership(context: Context, request: MoveLeaderRequest) -> Steps:
    def transfer() -> int:
        try:
            return context.clerk.transfer(request.targetID)
        except InvalidChangeError as error:
            raise CallError(Status(FAILED_PRECONDITION, f"etcdserver: {error}")) from None

    yield Blocking(lambda: context.view.refresh(REFRESH_S), is_brief=True)
    if not any(row["id"] == request.targetID and row["role"] == "voter" for row in context.view.members):
        raise CallError(_BAD_TRANSFEREE)
    yield Blocking(transfer)
    return HeaderOnly(context.header(0))


def downgrade(_context: Context, _: Empty) -> Steps:
    yield from ()
    raise CallError(Status(UNIMPLEMENTED, "etcdserver: there is no version to downgrade to"))
