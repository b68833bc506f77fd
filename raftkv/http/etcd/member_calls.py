"""member/list, add, remove, update and promote. The id of a member is that of its server's ini file."""

from __future__ import annotations

from typing import Any, Callable

from raftkv.errors import InvalidChangeError
from raftkv.http.etcd.calls import Blocking, Context, Steps
from raftkv.http.etcd.member_messages import (
    Member,
    MemberAddRequest,
    MemberAddResponse,
    MemberIdRequest,
    MemberListRequest,
    MembersResponse,
    MemberUpdateRequest,
)
from raftkv.http.etcd.status import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, CallError, Status
from raftkv.http.view import REFRESH_S, Row

_NO_SUCH_MEMBER = Status(NOT_FOUND, "etcdserver: member not found")
_BAD_URLS = Status(INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")


def member_list(context: Context, request: MemberListRequest) -> Steps:
    view = context.view
    if not request.linearizable:
        yield Blocking(lambda: view.refresh(REFRESH_S), is_brief=True)
    rows = view.members
    if request.linearizable or not rows:
        rows = yield Blocking(context.clerk.member_list)
    return MembersResponse(context.header(0), _members(rows))


def member_add(context: Context, request: MemberAddRequest) -> Steps:
    """The server has been started, and waits: it is known by the address of its peers' port."""
    address = _address(request.peerURLs)
    clerk = context.clerk
    rows = yield Blocking(clerk.member_list)
    waiting = [row for row in rows if row["role"] == "waiting" and row["peer_address"] == address]
    if not waiting:
        raise CallError(
            Status(
                FAILED_PRECONDITION,
                f"etcdserver: no server with an empty disk waits at {address}: start it first, with [cluster] join = the peer "
                "address of any member in its file",
            )
        )
    new = waiting[0]
    added = _member(new)
    added.isLearner = request.isLearner
    rows = yield _change(
        lambda: clerk.member_add(
            new["id"], new["client_address"], new["peer_address"], learner=request.isLearner
        )
    )
    return MemberAddResponse(context.header(0), added, _members(rows))


def member_remove(context: Context, request: MemberIdRequest) -> Steps:
    yield from _find(context, request.ID)
    rows = yield _change(lambda: context.clerk.member_remove(request.ID))
    return MembersResponse(context.header(0), _members(rows))


def member_promote(context: Context, request: MemberIdRequest) -> Steps:
    row = yield from _find(context, request.ID)
    if row["role"] != "learner":
        raise CallError(Status(FAILED_PRECONDITION, "etcdserver: can only promote a learner member"))
    rows = yield _change(lambda: context.clerk.member_promote(request.ID))
    return MembersResponse(context.header(0), _members(rows))


def member_update(context: Context, request: MemberUpdateRequest) -> Steps:
    address = _address(request.peerURLs)
    yield from _find(context, request.ID)
    rows = yield _change(lambda: context.clerk.member_move(request.ID, peer_address=address))
    return MembersResponse(context.header(0), _members(rows))


def _find(context: Context, id: int) -> Any:
    rows = yield Blocking(context.clerk.member_list)
    for row in rows:
        if row["id"] == id and row["role"] != "waiting":
            return row
    raise CallError(_NO_SUCH_MEMBER)


def _change(run: Callable[[], Any]) -> Blocking:
    def checked() -> Any:
        try:
            return run()
        except InvalidChangeError as error:
            raise CallError(Status(FAILED_PRECONDITION, f"etcdserver: {error}")) from None

    return Blocking(checked)


def _address(urls: list[str]) -> str:
    """The first one as "host:port"."""
    if not urls or not urls[0].startswith(("http://", "https://")):
        raise CallError(_BAD_URLS)
    return urls[0].partition("://")[2].rstrip("/")


def _members(rows: list[Row]) -> list[Member]:
    return [_member(row) for row in rows if row["role"] != "waiting"]


def _member(row: Row) -> Member:
    return Member(
        ID=row["id"],
        name=f"node{row['id']}",
        peerURLs=_urls(row["peer_address"]),
        clientURLs=_urls(row["http_address"]),
        isLearner=row["role"] == "learner",
    )


def _urls(address: str) -> list[str]:
    return [f"http://{address}"] if address else []
