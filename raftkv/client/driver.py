"""Driver: carries out on real connections what a ClerkSession decides.

Threads. Whoever calls run() sends the request and reads the answer himself (see ClientEnd): as long as all
goes well no other thread takes part. When a first attempt fails, and for submit(), things go on where the
answer is read, and on two kinds of threads of our own: `clerk-N`, which belongs to the ClientEnd of server N,
and `clerk-timer`, which is started when something has to be done later.

`_lock` guards the session and the counters. Nothing is sent and no Future is set while it is held.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from raftkv import errors
from raftkv.client.command import Actions, Command, Done, Send
from raftkv.client.session import ClerkSession
from raftkv.rpc.calls import AsyncCall
from raftkv.rpc.client import ClientEnd

#: So many commands of submit() may be without an answer. It blocks then, until a quarter of them have one: to
#: be woken for each would cost more than the command.
WINDOW = 1000
_ROOM_AGAIN = WINDOW * 3 // 4

_CONNECT_TIMEOUT_S = 1.5  # a little more than a lost first packet costs


class _Attempt(AsyncCall):
    """An attempt that nobody waits for. (A Future more would cost more than all else.)"""

    __slots__ = ("_attempt", "_command", "_driver")

    def __init__(self, driver: Driver, send: Send) -> None:
        super().__init__(time.monotonic() + send.timeout_s)
        self._driver = driver
        self._command = send.command
        self._attempt = send.attempt

    def resolve(self, ok: bool, result: Any) -> None:
        driver = self._driver
        if ok:
            driver.perform(driver.report(self._command, self._attempt, result))
        else:
            self.fail(errors.RemoteError(*result))

    def fail(self, error: errors.RaftKVError) -> None:
        driver = self._driver
        driver.perform(driver.report_failure(self._command, self._attempt, error))


class Driver:
    """One client's session and its connections. Thread-safe.

    `timeout_s` bounds a command with all its retries.
    """

    def __init__(self, servers: Mapping[int, tuple[str, int]], authkey: bytes, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.ends = {
            server: ClientEnd(address, authkey, name=f"clerk-{server}", connect_timeout_s=_CONNECT_TIMEOUT_S)
            for server, address in servers.items()
        }
        self._lock = threading.Lock()
        self._session = ClerkSession(list(servers), random.Random())
        self._submitted = 0  # commands of submit() without an answer
        self._room = threading.Condition(self._lock)  # _submitted fell to _ROOM_AGAIN, or close()
        self._planned = threading.Condition(self._lock)  # wake_at became earlier than _timer_at, or close()
        self._timer_at: float | None = None  # when clerk-timer will wake
        self._timer: threading.Thread | None = None
        self._closed = False

    def run(self, method: str, args: tuple[Any, ...]) -> Any:
        """The result of a command; raises its error.

        The calling thread makes the first attempt itself, if that can be made now.
        """
        now = time.monotonic()
        command = Command(method, args, now + self._timeout_s)
        with self._lock:
            self._check_open()
            actions = self._session.start(command, now)
            self._after(actions)
            first = actions[0] if len(actions) == 1 else None
            if type(first) is not Send or first.command is not command:
                first, command.context = None, threading.Event()
        try:
            if first is not None:
                actions = self._attempt(first)
            self.perform(actions)
            if not command.done:
                command.context.wait()
        except BaseException:  # Ctrl-C
            self._abandon(command)
            raise
        if command.error is not None:
            raise command.error
        return command.result

    def submit(self, method: str, args: tuple[Any, ...]) -> Future[Any]:
        """Begin a command without waiting for it. Waits only for room among those under way (see WINDOW).

        Raises NotApplied if there is none in time.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        now = time.monotonic()
        command = Command(method, args, now + self._timeout_s, future)
        with self._lock:
            if self._submitted >= WINDOW:
                self._wait_for_room(command.deadline)
            self._check_open()
            self._submitted += 1
            actions = self._session.start(command, now)
            self._after(actions)
        self.perform(actions)
        return future

    def close(self) -> None:
        """Fail all commands under way, close the connections, join the threads. May be called twice."""
        with self._lock:
            self._closed = True
            actions = self._session.close(time.monotonic())
            self._room.notify_all()
            self._planned.notify_all()
        self.perform(actions)
        for end in self.ends.values():
            end.close()
        if self._timer is not None:
            self._timer.join()

    # -- attempts and outcomes -------------------------------------------------------------------------------

    def _attempt(self, send: Send) -> Actions:
        """Makes an attempt in this thread. When it fails, somebody else makes the next one."""
        command = send.command
        try:
            result = self.ends[send.server].call(send.method, send.args, send.timeout_s)
        except errors.RaftKVError as error:
            command.context = threading.Event()
            return self.report_failure(command, send.attempt, error)
        return self.report(command, send.attempt, result)

    def perform(self, actions: Actions) -> None:
        for action in actions:
            if type(action) is Send:
                self._send(action)
            else:
                self._deliver(action.command)

    def _send(self, send: Send) -> None:
        call = _Attempt(self, send)
        try:
            self.ends[send.server].begin(call, send.method, send.args)
        except errors.ConnectionLostError as error:  # not sent, since too much waits to be sent
            call.fail(errors.RemoteError(errors.OVERLOADED, str(error)))
        except errors.ClosedError as error:
            call.fail(error)

    def report(self, command: Command, attempt: int, result: Any) -> Actions:
        with self._lock:
            actions = self._session.answered(command, attempt, result, time.monotonic())
            self._after(actions)
        return actions

    def report_failure(self, command: Command, attempt: int, error: BaseException) -> Actions:
        session, now = self._session, time.monotonic()
        sent = getattr(error, "sent", not isinstance(error, errors.ClosedError))
        with self._lock:
            if isinstance(error, errors.RemoteError):
                actions = session.refused(command, attempt, error.code, str(error), error.detail, now)
            elif isinstance(error, errors.CallTimeoutError):
                actions = session.timed_out(command, attempt, sent, now)
            elif isinstance(error, errors.AuthenticationError):
                actions = session.unauthorised(command, attempt, str(error), now)
            else:
                actions = session.lost(command, attempt, sent, str(error), now)
            self._after(actions)
        return actions

    def _abandon(self, command: Command) -> None:
        with self._lock:
            actions = self._session.abandon(command, time.monotonic())
            self._after(actions)
        self.perform(actions)

    @staticmethod
    def _deliver(command: Command) -> None:
        """Gives the caller the outcome. (One who made the attempt himself sees it.)"""
        context = command.context
        if type(context) is Future:
            if command.error is not None:
                context.set_exception(command.error)
            elif command.method == "get":
                context.set_result(command.result and command.result[0])
            else:
                context.set_result(command.result)
        elif context is not None:
            context.set()

    # -- with the lock held ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise errors.ClosedError("this Clerk was closed: make a new one")

    def _wait_for_room(self, deadline: float) -> None:
        while self._submitted >= WINDOW and not self._closed:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise errors.NotApplied(
                    f"the command was not begun: {WINDOW} are waiting for an answer already"
                )
            self._room.wait(remaining_s)

    def _after(self, actions: Actions) -> None:
        """After each event: counts who is done, and sees to it that the session is woken in time."""
        for action in actions:
            if type(action) is Done and type(action.command.context) is Future:
                self._submitted -= 1
                if self._submitted == _ROOM_AGAIN:
                    self._room.notify_all()
        if self._session.wake_at is not None:
            self._plan(self._session.wake_at)

    def _plan(self, wake_at: float) -> None:
        if self._closed or (self._timer_at is not None and self._timer_at <= wake_at):
            return
        if self._timer is None:
            self._timer = threading.Thread(target=self._keep_time, name="clerk-timer", daemon=True)
            self._timer.start()
        self._planned.notify()

    # -- the timer -------------------------------------------------------------------------------------------

    def _keep_time(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                self._timer_at = wake_at = self._session.wake_at
                if self._closed:
                    return
                if wake_at is None or now < wake_at:
                    self._planned.wait(None if wake_at is None else wake_at - now)
                    continue
                actions = self._session.wake(now)
                self._after(actions)
            self.perform(actions)
