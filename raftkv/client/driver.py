"""Driver: carries out on real connections what a ClerkSession decides.

It runs on threads of our own, which no signal handler interrupts: `clerk`, which empties the inbox and keeps the
time, and `clerk-N`, which belongs to the ClientEnd of server N and reads its answers. `_lock` guards the session
and the counters for them. Nothing is sent and no Future is set while it is held.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable

from raftkv import errors, forks
from raftkv.client.command import Actions, Command, Done, Send, not_begun
from raftkv.client.connections import Connections
from raftkv.client.directory import Directory
from raftkv.client.loans import Loans
from raftkv.client.session import ClerkSession
from raftkv.client.window import Window
from raftkv.ini import Address
from raftkv.rpc.calls import Call
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.future import CallFuture

logger = logging.getLogger("raftkv.client")

_CLOSE_S = 2.0  # close() waits so long for our threads, one of which may be in somebody's callback
_LONG_S = 3600.0
_FIRST_ASK_S = 1.0  # not for a client that lives for a moment only
_ASK_EVERY_S = 5.0  # so old may be what we know of the members
_BATCH = 200  # events that are taken from the inbox at once

Event = Callable[[], Actions]  # called with the lock held


class _Attempt(Call):
    """An attempt that nobody waits for. (A Future more would cost more than all else.)"""

    __slots__ = ("_attempt", "_command", "_driver")

    def __init__(self, driver: Driver, send: Send) -> None:
        super().__init__(send.command.sent_at + send.timeout_s)
        self._driver = driver
        self._command = send.command
        self._attempt = send.attempt

    def resolve(self, ok: bool, result: Any) -> None:
        self._driver.report(self._command, self._attempt, result, None if ok else errors.RemoteError(*result))

    def fail(self, error: errors.RaftKVError) -> None:
        self._driver.report(self._command, self._attempt, None, error)


class _Question(Call):
    """Who the members are."""

    __slots__ = ("_driver", "_server")

    def __init__(self, driver: Driver, server: int, deadline: float) -> None:
        super().__init__(deadline)
        self._driver, self._server = driver, server

    def resolve(self, ok: bool, result: Any) -> None:
        if ok:
            self._driver.learn(self._server, result)

    def fail(self, error: errors.RaftKVError) -> None:
        """It is asked again."""


class Driver:
    """One client's session and its connections. Thread-safe: what callers use takes no lock.

    `ends` are those of the servers that `directory` knows. It grows and shrinks: copy it before a loop."""

    def __init__(self, servers: Mapping[int, Address], authkey: bytes, are_ids: bool = True) -> None:
        """`are_ids`: see Directory."""
        self.directory = Directory(servers, are_ids)
        self._connections = Connections(authkey, self._greet)
        self._connections.follow(self.directory.addresses)
        self.ends = self._connections.ends
        self.closed = False  # no more commands
        self.over = False  # nobody empties the inbox any more
        self.window = Window()
        self._generation = forks.generation
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()  # None: only look at the clock
        self._own_threads: set[int] = set()
        self._lock = threading.Lock()  # guards what follows
        self._session = ClerkSession(list(servers), random.Random(), directory=self.directory)
        self.loans = Loans(self._session, self.ends)
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0  # when `clerk` will wake by itself
        self._under_way = 0  # commands that the session knows
        self._told_by: int | None = None  # the leader that was asked for the members
        self._ask_at = float("inf")  # when to ask again

    # -- for callers -----------------------------------------------------------------------------------------

    def begin(self, command: Command) -> None:
        """Leaves a command in the inbox, and sees to it that somebody empties it. Its context gets to know its
        end: a CallFuture, or a queue.

        Raises ClosedError, or the command's error when no thread can be started.
        """
        self.check_open()
        if sys.is_finalizing():
            raise not_begun(command, "the interpreter is shutting down")
        if self._thread is None:
            thread = threading.Thread(target=self._drive, name="clerk", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise not_begun(command, str(error)) from None
        self._inbox.put(lambda: self._begin(command))
        if self.over:
            self.check_open()

    def hand_over(self, command: Command, result: Any, error: errors.RaftKVError | None) -> None:
        """What a caller who was alone says of its command."""
        self._inbox.put(lambda: self._handed_over(command, result, error))

    def abandon(self, command: Command) -> None:
        """Nobody waits for it any more."""
        self._inbox.put(lambda: self._abandon(command))

    def leader(self) -> int | None:
        """The server that is believed to lead. From any thread."""
        return self._session.leader

    def bind(self, server: int) -> None:
        """`server` has said something that only a member of our cluster can say. On a thread of ours."""
        with self._lock:
            self.directory.bind(server)

    def is_own_thread(self) -> bool:
        """Whether the calling thread is one of ours, which may take the lock, and must not wait."""
        return threading.get_ident() in self._own_threads

    def end_of(self, id: int) -> ClientEnd | None:
        """The end of the server with this id; the leader's, if that is not known."""
        number = self.directory.number_of(id)
        if number is None:
            number = self._session.leader
        return None if number is None else self.ends.get(number)

    def status_end(self, address: Address, label: str) -> ClientEnd:
        """The end of a server for `status`, which also those tell that are not of our cluster. Raises ClosedError."""
        self.check_open()
        return self._connections.status_end(address, label)

    def is_running(self) -> bool:
        return self._thread is not None and not self.closed

    def close(self) -> None:
        """Fail all commands under way, close the connections, end the threads. May be called twice."""
        self.begin_to_close()
        thread = self._thread
        if thread is None:
            for end in self._connections.all():
                end.close()
        elif not self.is_own_thread():
            thread.join(_CLOSE_S)

    def begin_to_close(self) -> None:
        """The same without waiting; a destructor may call it."""
        self.closed = True
        self._inbox.put(self._close_session)
        self.window.close()

    def check_open(self) -> None:
        if self.closed:
            raise errors.ClosedError("this Clerk was closed: make a new one")
        if self._generation != forks.generation:
            raise errors.ClosedError("this belongs to the process that forked this one")

    # -- attempts and outcomes: our own threads --------------------------------------------------------------

    def try_to_begin(self, command: Command) -> bool:
        """Begins a command in this thread, which is one of ours, if that can be done at once."""
        if self.closed or not self._lock.acquire(blocking=False):
            return False
        try:
            actions = self._begin(command)
            self._after(actions)
        finally:
            self._lock.release()
        self._perform(actions)
        return True

    def report(self, command: Command, attempt: int, result: Any, error: errors.RaftKVError | None) -> None:
        """What became of an attempt."""
        self._own_threads.add(threading.get_ident())
        with self._lock:
            if error is None:
                actions = self._session.answered(command, attempt, result, time.monotonic())
            else:
                actions = self._tell(command, attempt, None, error)
            self._after(actions)
            if error is None and not self._under_way and not self.closed:
                self.loans.lend()
        self._perform(actions)

    def _perform(self, actions: Actions) -> None:
        for action in actions:
            if type(action) is Send:
                self._send(action)
            else:
                self._deliver(action.command)

    def _send(self, send: Send) -> None:
        if send.command.done:
            return  # it was abandoned before it left
        call = _Attempt(self, send)
        end = self.ends.get(send.server)
        try:
            if end is None:
                raise errors.ClosedError("it is no member any more")
            end.begin(call, send.method, send.args)
        except errors.ConnectionLostError as error:
            # Too much waits to be sent, or no thread can be started; later there may be room, or another server.
            call.fail(errors.RemoteError(errors.OVERLOADED, str(error)))
        except errors.ClosedError as error:
            call.fail(error)

    def _deliver(self, command: Command) -> None:
        """Gives the caller the outcome."""
        context = command.context
        if type(context) is CallFuture:
            if command.error is not None:
                context.settle(None, command.error)
            elif command.convert is not None:
                context.settle(command.convert(command.result))
            else:
                context.settle(command.result)
        elif context is not None:
            context.put(None)

    # -- with the lock held ----------------------------------------------------------------------------------

    def _begin(self, command: Command) -> Actions:
        if self.loans.lane is not None:
            self._take_back()
        self.loans.count(alone=not self._under_way and type(command.context) is not CallFuture)
        self._under_way += 1
        if self.closed:
            command.done, command.error = True, errors.ClosedError("this Clerk was closed")
            return [Done(command)]
        return self._session.start(command, time.monotonic())

    def _tell(self, command: Command, attempt: int, result: Any, error: errors.RaftKVError | None) -> Actions:
        session, now = self._session, time.monotonic()
        if error is None:
            return session.answered(command, attempt, result, now)
        sent = getattr(error, "sent", not isinstance(error, errors.ClosedError))
        if isinstance(error, errors.RemoteError):
            return session.refused(command, attempt, error.code, str(error), error.detail, now)
        if isinstance(error, errors.CallTimeoutError):
            return session.timed_out(command, attempt, sent, now)
        if isinstance(error, errors.AuthenticationError):
            return session.unauthorised(command, attempt, str(error), now)
        return session.lost(command, attempt, sent, str(error), now)

    def _handed_over(self, command: Command, result: Any, error: errors.RaftKVError | None) -> Actions:
        self._take_back()
        if command.done and command.context is not None:
            command.context.put(None)  # its caller may not have been waiting yet when it ended
        return self._tell(command, 1, result, error)

    def _abandon(self, command: Command) -> Actions:
        self._take_back()
        return self._session.abandon(command, time.monotonic()) if command.order else []

    def _take_back(self) -> None:
        if self.loans.take_back() is not None:
            self._under_way += 1
            self._inbox.put(None)  # to plan its end

    def _after(self, actions: Actions) -> None:
        """After each event: counts who is done, follows the members, and sees to it that the session is woken in
        time."""
        for action in actions:
            if type(action) is Done:
                self._under_way -= 1
                if type(action.command.context) is CallFuture:
                    self.window.leave(action.command)
        leader = self._session.leader
        if leader is not None and leader != self._told_by:
            self._told_by = leader
            self._ask_at = time.monotonic() + _FIRST_ASK_S
            self._inbox.put(None)
        addresses = self.directory.addresses
        if addresses is not self._connections.addresses and self._connections.follow(addresses):
            self._inbox.put(None)
        wake_at = self._session.wake_at
        if wake_at is not None and wake_at < self._wakes_at:
            self._wakes_at = 0.0
            self._inbox.put(None)

    def _greet(self, server: int, guide: Any) -> None:
        """The first words of a server on a connection. Raises ProtocolError if it is of another cluster."""
        self._own_threads.add(threading.get_ident())
        with self._lock:
            self._session.greeted(server, guide)
            self._after([])

    def learn(self, server: int, guide: Any) -> None:
        """What the leader says of the members."""
        with self._lock:
            self._session.learn(server, guide)
            self._after([])

    def _due_at(self) -> float:
        """When there is something to do without an event."""
        wake_at = self._session.wake_at
        return min(self.loans.next_overdue_at(), self._ask_at, float("inf") if wake_at is None else wake_at)

    def _keep_time(self, now: float) -> Actions:
        actions: Actions = []
        for command in self.loans.overdue(now):
            actions += self._session.timed_out(command, 1, True, now)
        wake_at = self._session.wake_at
        if wake_at is not None and now >= wake_at:
            actions += self._session.wake(now)
        return actions

    def _due_questions(self, now: float) -> list[Callable[[], None]]:
        """See Connections.questions(); if that is due."""
        leader = self._session.leader
        if now < self._ask_at or self.closed:
            return []
        self._ask_at = now + _ASK_EVERY_S
        if leader is None:
            return []
        return self._connections.questions(leader, lambda server: _Question(self, server, now + _ASK_EVERY_S))

    def _close_session(self) -> Actions:
        self.closed = self.over = True
        self._take_back()
        return self._session.close(time.monotonic())

    # -- the thread `clerk` ----------------------------------------------------------------------------------

    def _drive(self) -> None:
        with self._lock:
            if self._thread is not None:
                return  # two callers began at once
            self._thread = threading.current_thread()
        self._own_threads.add(threading.get_ident())
        try:
            while not self.over:
                self._turn()
        except BaseException as error:
            logger.critical("the thread of a Clerk died", exc_info=error)
            self.closed = self.over = True
        self._end()

    def _turn(self) -> None:
        timeout_s = max(0.0, self._wakes_at - time.monotonic())
        events: list[Event | None] = []
        try:
            events.append(self._inbox.get(timeout=min(timeout_s, _LONG_S)))
            while len(events) < _BATCH and not self._inbox.empty():
                events.append(self._inbox.get_nowait())
        except queue.Empty:
            pass  # nothing came in time, or somebody else took it
        with self._lock:
            actions: Actions = []
            for event in events:
                if event is not None:
                    actions += event()
            actions += self._keep_time(time.monotonic())
            self._wakes_at = 0.0
            self._after(actions)
            questions = self._due_questions(time.monotonic())
            self._wakes_at = self._due_at()
            gone = self._connections.take_gone()
        self._perform(actions)
        for ask in questions:
            with contextlib.suppress(errors.RpcError, errors.ClosedError):
                ask()
        for end in gone:
            end.close()

    def _end(self) -> None:
        """Ends the connections, by which all commands under way end, and what came too late for that."""
        for end in self._connections.all():
            end.close()
        actions: Actions = []
        with self._lock:
            while not self._inbox.empty():
                event = self._inbox.get_nowait()
                if event is not None:
                    actions += event()
        self._perform(actions)
