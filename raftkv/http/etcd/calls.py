"""What a call is, apart from connections and from JSON.

A call is a generator: it yields what is to be done (an Operation of the database, or a Blocking that needs a thread), is sent
the result or is thrown the error, and returns the message that answers it. So it reads like a program that waits, and nobody
waits.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Callable, NamedTuple, Protocol, Union

from raftkv import Clerk
from raftkv.http.etcd.fields import Message
from raftkv.http.etcd.kv_messages import Header
from raftkv.http.password import Password
from raftkv.http.view import View
from raftkv.kvdb.operation import Operation


class Blocking(NamedTuple):
    """Something that waits, for at most a few seconds: done on a thread of its own. `is_brief`: for a second or two, and so not
    behind what takes longer."""

    run: Callable[[], Any]
    is_brief: bool = False


class Pause(NamedTuple):
    """Nothing, for so long at least."""

    seconds: float


class Next(NamedTuple):
    """The next that happens to a key, or the keys of a range, from the revision `start` on: a WatchResponse with events. The
    only step that may take for ever: when the client is gone it ends with Interrupted, as does Send."""

    key: bytes
    end: bytes = b""
    start: int = 0


class Send(NamedTuple):
    """A message of a stream that goes on."""

    message: Message


class Interrupted(Exception):
    """The client is gone."""


Step = Union[Operation, Blocking, Pause, Next, Send]
Steps = Generator[Step, Any, Message]
Resume = Callable[[Any, "BaseException | None"], None]  # with the result of a step, or its error


class Context(Protocol):
    """What calls have at hand. `password`: None if nobody needs one. carry_out() has a step done but for Send, and `resume`
    called on the thread of the server."""

    view: View
    clerk: Clerk
    password: Password | None

    def header(self, revision: int) -> Header:
        """Of an answer that was given at `revision`."""

    def carry_out(self, step: Step, resume: Resume) -> Callable[[], None] | None:
        """Returns what ends the step early, if it can be."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have it called on the thread of the server. Thread-safe."""


class Call(NamedTuple):
    """One that is asked and answered once."""

    request: type[Message]
    run: Callable[[Any, Any], Steps]  # (the context, the request)
