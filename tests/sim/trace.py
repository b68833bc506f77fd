"""The lines of a replayed run: one event a line, in the words of tests/raft/trace.py."""

from __future__ import annotations

from typing import Any

from raftkv.errors import ProtocolError
from raftkv.node.hello import Hello
from raftkv.raft.core import Raft
from raftkv.raft.messages import (
    AppendEntries,
    Heartbeat,
    InstallSnapshot,
    Message,
    RequestPreVote,
    RequestVote,
)
from raftkv.raft.types import Role

from tests.raft.trace import format_message, format_raft, format_saved

_ROLE_OF = {
    AppendEntries: Role.LEADER,
    Heartbeat: Role.LEADER,
    InstallSnapshot: Role.LEADER,
    RequestVote: Role.CANDIDATE,
    RequestPreVote: Role.PRE_CANDIDATE,
}

__all__ = ["format_saved"]


def format_sent(raft: Raft | None, message: Message) -> str:
    return format_message(message, raft.role if raft is not None else None)


def format_received(message: Message) -> str:
    """Only a leader can have sent some messages, only a candidate others; the rest are answers."""
    return format_message(message, _ROLE_OF.get(type(message), Role.FOLLOWER))


def format_hello(id: int, hello: Hello, reply: Hello | ProtocolError) -> str:
    answer = "refused" if isinstance(reply, ProtocolError) else _who(reply)
    return f"n{hello.id} -> n{id} Hello {_who(hello)}: {answer}"


def _who(hello: Hello) -> str:
    return f"{hello.uid}{' (empty)' if hello.is_empty else ''}, start {hello.starts}"


def describe(id: int, raft: Raft | None) -> str:
    """`n1@3 leader`, or `n1` for a process that takes no part yet."""
    return f"n{id}" if raft is None else format_raft(raft)


def shorten(value: Any, limit: int = 100) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
