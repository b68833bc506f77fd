"""What is asked of the members: the hello of a client, and what an operator wants, with its options and their check."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from raftkv.errors import InvalidRequestError
from raftkv.ini import host_problem
from raftkv.kvdb.limits import MAX_NUMBER
from raftkv.kvdb.operation import Operation

_ADDRESSES = {"client_address": str, "peer_address": str}

#: action -> its options, all of which must be given, and their types. The actions are methods of MemberAdmin.
ACTIONS: dict[str, dict[str, type]] = {
    "list": {},
    "add": {"id": int, **_ADDRESSES, "learner": bool},
    "remove": {"id": int},
    "promote": {"id": int},
    "swap": {"old": int, "new": int},
    "move": {"id": int, **_ADDRESSES, "http_address": str},  # "": it stays as it is
    "transfer": {"id": int, "leader": int},  # id 0: to any; nothing is done if `leader` leads no more
}


class Hello(NamedTuple("Hello", []), Operation):
    """What a client asks first, of any server. The result is a dict, as far as this server knows: "id", "leader", "members"
    and "cluster_id" as Members.guide() has them, and "applied", an index with which a session can begin (see
    session_table.py)."""

    __slots__ = ()
    name = "hello"


class Member(NamedTuple("Member", [("action", str), ("options", "dict[str, Any]")]), Operation):
    """What an operator asks. The leader answers; see members.py."""

    __slots__ = ()
    name = "member"

    def check(self) -> int:
        check_action(self.action, self.options)
        return 0


def check_action(action: Any, options: Any) -> None:
    """Raises InvalidRequestError unless that can be asked."""
    if type(action) is not str or action not in ACTIONS:
        raise InvalidRequestError(f"members are asked for by one of {', '.join(ACTIONS)}")
    types = ACTIONS[action]
    if type(options) is not dict or set(options) != set(types):
        raise InvalidRequestError(f"member {action} takes {', '.join(types) or 'nothing'}")
    for name, value in options.items():
        if type(value) is not types[name]:
            raise InvalidRequestError(f"{name} must be of type {types[name].__name__}")
        if type(value) is int:
            _check_id(name, value, lowest=0 if action == "transfer" else 1)
        elif type(value) is str and (value or action != "move"):
            _check_address(name, value)
    if action == "move" and not any(map(options.get, (*_ADDRESSES, "http_address"))):
        raise InvalidRequestError("member move takes at least one address")


def _check_id(name: str, id: int, lowest: int) -> None:
    if not lowest <= id <= MAX_NUMBER:
        raise InvalidRequestError(f"{name} must be the id of a member: a whole number from 1 on")


def _check_address(name: str, text: str) -> None:
    host, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
        raise InvalidRequestError(f"{name} must be HOST:PORT, such as 127.0.0.1:7001, not {text[:80]!r}")
    problem = host_problem(host)
    if problem:
        raise InvalidRequestError(f"{name}: {host[:80]} {problem}")
