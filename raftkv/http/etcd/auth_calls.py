"""auth/*: there is one user, root, whose password is in the configuration of the fronts; and no others, nor roles."""

from __future__ import annotations

from raftkv.http.etcd.auth_messages import (
    AuthenticateRequest,
    AuthenticateResponse,
    AuthStatusResponse,
    NamedRequest,
    RolesResponse,
    UserListResponse,
)
from raftkv.http.etcd.calls import Context, Pause, Steps
from raftkv.http.etcd.maintenance_messages import Empty, HeaderOnly
from raftkv.http.etcd.status import FAILED_PRECONDITION, INVALID_ARGUMENT, UNIMPLEMENTED, CallError, Status
from raftkv.http.password import USER, WRONG_S
from raftkv.kvdb.reads import Range

NOT_ENABLED = Status(FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
WRONG_PASSWORD = Status(INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")
NO_ROOT = Status(FAILED_PRECONDITION, "etcdserver: root user does not exist")
NO_NAME = Status(INVALID_ARGUMENT, "etcdserver: user name is empty")
NO_ROLE_NAME = Status(INVALID_ARGUMENT, "etcdserver: role name is empty")
NO_USER = Status(FAILED_PRECONDITION, "etcdserver: user name not found")
NO_ROLE = Status(FAILED_PRECONDITION, "etcdserver: role name not found")
_ONLY_ROOT = Status(UNIMPLEMENTED, "etcdserver: there are no users but root, and no roles, yet")
_CONFIGURED = Status(
    FAILED_PRECONDITION, "etcdserver: authentication is enabled by the configuration of this server"
)

_NOW = Range(b"\0", count_only=True)


def status(context: Context, _: Empty) -> Steps:
    revision, *_rest = yield _NOW
    return AuthStatusResponse(context.header(revision), context.password is not None, 1)


def authenticate(context: Context, request: AuthenticateRequest) -> Steps:
    password = context.password
    if password is None:
        raise CallError(NOT_ENABLED)
    if not password.is_right(request.name, request.password):
        yield Pause(WRONG_S)
        raise CallError(WRONG_PASSWORD)
    revision, *_rest = yield _NOW
    return AuthenticateResponse(context.header(revision), password.token())


def enable(context: Context, _: Empty) -> Steps:
    if context.password is None:
        raise CallError(NO_ROOT)
    revision, *_rest = yield _NOW
    return HeaderOnly(context.header(revision))


def disable(context: Context, _: Empty) -> Steps:
    if context.password is not None:
        raise CallError(_CONFIGURED)
    revision, *_rest = yield _NOW
    return HeaderOnly(context.header(revision))


def user_list(context: Context, _: Empty) -> Steps:
    revision, *_rest = yield _NOW
    return UserListResponse(context.header(revision), [USER] if context.password is not None else [])


def user_get(context: Context, request: NamedRequest) -> Steps:
    if context.password is None or request.name != USER:
        raise CallError(NO_USER)
    revision, *_rest = yield _NOW
    return RolesResponse(context.header(revision), [USER])


def user_add(_context: Context, request: NamedRequest) -> Steps:
    yield from ()
    raise CallError(_ONLY_ROOT if request.name else NO_NAME)


def of_user(context: Context, request: NamedRequest) -> Steps:
    """Anything else about a user."""
    yield from ()
    known = context.password is not None and USER in (request.name, request.user)
    raise CallError(_ONLY_ROOT if known else NO_USER)


def role_list(context: Context, _: Empty) -> Steps:
    revision, *_rest = yield _NOW
    return RolesResponse(context.header(revision), [USER] if context.password is not None else [])


def role_add(_context: Context, request: NamedRequest) -> Steps:
    yield from ()
    raise CallError(_ONLY_ROOT if request.name else NO_ROLE_NAME)


def of_role(_context: Context, _: NamedRequest) -> Steps:
    """Anything else about a role."""
    yield from ()
    raise CallError(NO_ROLE)
