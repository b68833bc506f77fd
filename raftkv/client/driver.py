"""Driver: carries out on real connections what a ClerkSession decides.

**A caller's thread takes no lock.** A signal handler may raise at any place in it, the garbage collector may run
a destructor in it that calls us again, or it may be gone in a forked child. So a caller leaves what it wants in
the inbox, and waits for a signal of its own: both are single steps of a SimpleQueue. It waits a moment longer
than its deadline at most, whatever becomes of all others.

**A caller who is alone makes its commands itself**: it takes the Lane (see rpc/lane.py) out of the slot, sends
and reads, and puts it back. So as long as all goes well no other thread takes part. When another command comes,
or anything goes wrong, the Lane is taken back, and the command that is under way becomes one of the others.

**Our own threads** do all else: `clerk`, which empties the inbox and keeps the time, and `clerk-N`, which belongs
to the ClientEnd of server N and reads its answers. `_lock` guards the session and the counters for them. Nothing
is sent and no Future is set while it is held.
"""

from __future__ import annotations

import logging
import queue
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Callable

from raftkv import errors, forks
from raftkv.client.command import Actions, Command, Done, Send
from raftkv.client.session import ClerkSession, Loan
from raftkv.kvdb.commands import WRITES
from raftkv.rpc.calls import Call
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.future import CallFuture
from raftkv.rpc.lane import Lane

logger = logging.getLogger("raftkv.client")

#: So many commands of submit() may be without an answer. It blocks then, until a quarter of them have one: to
#: be woken for each would cost more than the command.
WINDOW = 1000
_ROOM_AGAIN = WINDOW * 3 // 4

_CONNECT_TIMEOUT_S = 1.5  # a little more than a lost first packet costs
_GRACE_S = 0.18  # between a command's deadline and the moment when it must have ended
_CLOSE_S = 2.0  # close() waits so long for our threads, one of which may be in somebody's callback
_ALONE = 2  # so many commands, each alone from beginning to end, and the next ones are made by their caller
_LONG_S = 3600.0
_BATCH = 200  # events that are taken from the inbox at once

Signal = queue.SimpleQueue  # of one caller: anything put there wakes it
Event = Callable[[], Actions]  # called with the lock held


class _Attempt(Call):
    """An attempt that nobody waits for. (A Future more would cost more than all else.)"""

    __slots__ = ("_attempt", "_command", "_driver")

    def __init__(self, driver: Driver, send: Send) -> None:
        super().__init__(time.monotonic() + send.timeout_s)
        self._driver = driver
        self._command = send.command
        self._attempt = send.attempt

    def resolve(self, ok: bool, result: Any) -> None:
        self._driver.report(self._command, self._attempt, result, None if ok else errors.RemoteError(*result))

    def fail(self, error: errors.RaftKVError) -> None:
        self._driver.report(self._command, self._attempt, None, error)


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
        self._generation = forks.generation
        # For callers; each use is a single step.
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()  # None: only look at the clock
        self._slot: list[Lane] = []
        self._submitted: dict[Command, None] = {}  # commands of submit() without an answer
        self._room: deque[Signal[None]] = deque()  # of those who wait until these are fewer
        self._closed = False  # no more commands
        self._over = False  # nobody empties the inbox any more
        self._own_threads: set[int] = set()
        # Guarded by _lock, which only our own threads take:
        self._lock = threading.Lock()
        self._session = ClerkSession(list(servers), random.Random())
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0  # when `clerk` will wake by itself
        self._under_way = 0  # commands that the session knows
        self._alone = 0  # commands in a row that were alone
        self._lane: Lane | None = None  # while it is lent
        # Were under way on a Lane, and how long: their callers say what became of them.
        self._orphans: list[tuple[Command, float]] = []

    # -- for callers -----------------------------------------------------------------------------------------

    def run(self, method: str, args: tuple[Any, ...]) -> Any:
        """The result of a command; raises its error."""
        now = time.monotonic()
        command = Command(method, args, now + self._timeout_s)
        if self._slot:
            try:
                lane = self._slot.pop()
            except IndexError:
                pass  # another thread was faster
            else:
                if self._run_alone(lane, command, now):
                    return command.result
        self._run_with_others(command)
        if command.error is not None:
            raise command.error
        return command.result

    def submit(self, method: str, args: tuple[Any, ...], keeps: object) -> CallFuture:
        """Begin a command without waiting for it. Waits only for room among those under way (see WINDOW).
        `keeps` lives until it has its outcome.

        Raises NotApplied if there is no room in time, or no thread can be started.
        """
        future = CallFuture(keeps)
        command = Command(method, args, time.monotonic() + self._timeout_s, future)
        ours = threading.get_ident() in self._own_threads
        if len(self._submitted) >= WINDOW:
            self._wait_for_room(command.deadline, ours)
        try:
            self._submitted[command] = None
            if ours and not self._closed and self._lock.acquire(blocking=False):  # from a Future's callback
                self._begin_at_once(command)
            else:
                self._post(lambda: self._begin(command), command)
        except BaseException:
            self._submitted.pop(command, None)
            self._inbox.put(lambda: self._abandon(command))
            raise
        return future

    def close(self) -> None:
        """Fail all commands under way, close the connections, end the threads. May be called twice."""
        self.begin_to_close()
        thread = self._thread
        if thread is None:
            for end in self.ends.values():
                end.close()
        elif threading.get_ident() not in self._own_threads:
            thread.join(_CLOSE_S)

    def begin_to_close(self) -> None:
        """The same without waiting; a destructor may call it."""
        self._closed = True
        self._inbox.put(self._close_session)
        for signal in list(self._room):
            signal.put(None)

    def is_closed(self) -> bool:
        return self._closed

    def is_running(self) -> bool:
        return self._thread is not None and not self._closed

    # -- a caller who is alone -------------------------------------------------------------------------------

    def _run_alone(self, lane: Lane, command: Command, now: float) -> bool:
        """Makes an attempt in this thread. False: the command must go the way of all others, or has begun
        to."""
        try:
            timeout_s = min(self._timeout_s, lane.context.timeout_s)
            if self._closed or not self._send_alone(lane, command, now):
                lane.give_back()
                return False
            ok, result = lane.receive(now + timeout_s, timeout_s)
            error: errors.RpcError | None = None if ok else errors.RemoteError(*result)
        except errors.RpcError as failure:
            ok, result, error = False, None, failure
        except BaseException:
            lane.spoil()
            lane.give_back()
            self._inbox.put(lambda: self._abandon(command))
            raise
        try:
            if ok:
                if command.seq:
                    lane.context.next_seq = command.seq + 1
                command.result = result
                if not lane.finish():
                    lane.give_back()
                    self._inbox.put(lambda: self._handed_over(command, result, None))
                return True
            command.context = queue.SimpleQueue()
            lane.give_back(error if not isinstance(error, errors.RemoteError) else None)
            self._inbox.put(lambda: self._handed_over(command, None, error))
        except BaseException:
            lane.spoil()
            lane.give_back()
            self._inbox.put(lambda: self._abandon(command))
            raise
        return False

    @staticmethod
    def _send_alone(lane: Lane, command: Command, now: float) -> bool:
        loan: Loan = lane.context
        args = command.args
        if command.method in WRITES:
            if not loan.client:
                return False  # it must register first
            command.seq = loan.next_seq
            args = (loan.client, command.seq, command.seq, *args)
        command.sent_at = now
        loan.used = True
        if lane.send(command, command.method, args):
            return True
        command.seq = 0
        return False

    # -- a caller among others -------------------------------------------------------------------------------

    def _run_with_others(self, command: Command) -> None:
        """Has the command done, if that has not begun, and waits until it is."""
        if threading.get_ident() in self._own_threads:
            raise self._not_begun(command, "this is a Clerk's own thread, which cannot wait: use submit()")
        try:
            if command.context is None:
                command.context = queue.SimpleQueue()
                self._post(lambda: self._begin(command), command)
            elif self._over and not command.done:
                raise self._never_ended(command, "this Clerk was closed")
            command.context.get(timeout=max(0.0, command.deadline - time.monotonic()) + _GRACE_S)
        except queue.Empty:
            raise self._never_ended(command, "no answer in time") from None
        except BaseException:
            self._inbox.put(lambda: self._abandon(command))
            raise

    def _post(self, event: Event, command: Command) -> None:
        """Leaves the beginning of a command in the inbox, and sees to it that somebody empties it."""
        if self._closed:
            raise errors.ClosedError("this Clerk was closed: make a new one")
        if self._generation != forks.generation:
            raise errors.ClosedError("this belongs to the process that forked this one")
        if sys.is_finalizing():
            raise self._not_begun(command, "the interpreter is shutting down")
        if self._thread is None:
            thread = threading.Thread(target=self._drive, name="clerk", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise self._not_begun(command, str(error)) from None
        self._inbox.put(event)
        if self._over:
            raise errors.ClosedError("this Clerk was closed: make a new one")

    def _wait_for_room(self, deadline: float, ours: bool) -> None:
        full = f"the command was not begun: {WINDOW} are waiting for an answer already"
        if ours:
            raise errors.NotApplied(full)
        while len(self._submitted) >= WINDOW and not self._closed:
            signal: Signal[None] = queue.SimpleQueue()
            self._room.append(signal)
            if len(self._submitted) < WINDOW or self._closed:
                return
            try:
                signal.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise errors.NotApplied(full) from None

    @staticmethod
    def _not_begun(command: Command, why: str) -> errors.RaftKVError:
        if command.method in WRITES:
            return errors.NotApplied(f"the {command.method} was not begun: {why}")
        return errors.UnavailableError(f"the {command.method} was not begun: {why}")

    @staticmethod
    def _never_ended(command: Command, why: str) -> errors.RaftKVError:
        if command.method in WRITES:
            return errors.OutcomeUnknown(
                f"the {command.method} may or may not take effect: {why}; read before you repeat it"
            )
        return errors.UnavailableError(f"the {command.method} has no answer: {why}")

    # -- attempts and outcomes: our own threads --------------------------------------------------------------

    def report(self, command: Command, attempt: int, result: Any, error: errors.RaftKVError | None) -> None:
        """What became of an attempt."""
        self._own_threads.add(threading.get_ident())
        with self._lock:
            actions = self._tell(command, attempt, result, error)
            self._after(actions)
            if error is None and self._alone >= _ALONE and not self._under_way:
                self._lend()
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
        try:
            self.ends[send.server].begin(call, send.method, send.args)
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
            elif command.method == "get":
                context.settle(command.result and command.result[0])
            else:
                context.settle(command.result)
        elif context is not None:
            context.put(None)

    def _begin_at_once(self, command: Command) -> None:
        """With the lock held, which it releases."""
        try:
            actions = self._begin(command)
            self._after(actions)
        finally:
            self._lock.release()
        self._perform(actions)

    # -- with the lock held ----------------------------------------------------------------------------------

    def _begin(self, command: Command) -> Actions:
        self._take_back()
        self._alone = (
            self._alone + 1 if not self._under_way and type(command.context) is not CallFuture else 0
        )
        self._under_way += 1
        if self._closed:
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
        """What a caller who was alone says of its command."""
        self._take_back()
        if command.done and command.context is not None:
            command.context.put(None)  # its caller may not have been waiting yet when it ended
        return self._tell(command, 1, result, error)

    def _abandon(self, command: Command) -> Actions:
        self._take_back()
        self._submitted.pop(command, None)
        return self._session.abandon(command, time.monotonic()) if command.order else []

    def _lend(self) -> None:
        loan = self._session.lend()
        if loan is not None and not self._closed:
            self._lane = self.ends[loan.leader].lend(self._slot, loan)

    def _take_back(self) -> None:
        """Ends the loan of the connection and the numbers, if there is one."""
        lane, self._lane = self._lane, None
        if lane is None:
            return
        lane.close()
        command: Command | None = lane.note
        if command is not None:
            self._under_way += 1
            self._orphans.append((command, command.sent_at + lane.context.timeout_s + _GRACE_S))
            self._inbox.put(None)  # to plan its end
        self._session.take_back(lane.context, command, time.monotonic())

    def _after(self, actions: Actions) -> None:
        """After each event: counts who is done, and sees to it that the session is woken in time."""
        for action in actions:
            if type(action) is Done:
                self._under_way -= 1
                if type(action.command.context) is CallFuture:
                    self._submitted.pop(action.command, None)
                    if self._room and len(self._submitted) <= _ROOM_AGAIN:
                        self._make_room()
        wake_at = self._session.wake_at
        if wake_at is not None and wake_at < self._wakes_at:
            self._wakes_at = 0.0
            self._inbox.put(None)

    def _make_room(self) -> None:
        while self._room:
            self._room.popleft().put(None)

    def _due_at(self) -> float:
        """When there is something to do without an event."""
        wake_at = self._session.wake_at
        return min([*(due_at for _, due_at in self._orphans), float("inf") if wake_at is None else wake_at])

    def _keep_time(self, now: float) -> Actions:
        actions: Actions = []
        for orphan in self._orphans[:]:
            command, due_at = orphan
            if command.done or command.attempt > 1:
                self._orphans.remove(orphan)
            elif now >= min(command.deadline + _GRACE_S, due_at):
                self._orphans.remove(orphan)  # its caller was interrupted, and could not even say that
                actions += self._session.timed_out(command, 1, True, now)
        wake_at = self._session.wake_at
        if wake_at is not None and now >= wake_at:
            actions += self._session.wake(now)
        return actions

    def _close_session(self) -> Actions:
        self._closed = self._over = True
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
            while not self._over:
                self._turn()
        except BaseException as error:
            logger.critical("the thread of a Clerk died", exc_info=error)
            self._closed = self._over = True
        self._end()

    def _turn(self) -> None:
        timeout_s = max(0.0, self._wakes_at - time.monotonic())
        events: list[Event | None] = []
        try:
            events.append(self._inbox.get(timeout=min(timeout_s, _LONG_S)))
            while len(events) < _BATCH:
                events.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        with self._lock:
            actions: Actions = []
            for event in events:
                if event is not None:
                    actions += event()
            actions += self._keep_time(time.monotonic())
            self._wakes_at = 0.0
            self._after(actions)
            self._wakes_at = self._due_at()
        self._perform(actions)

    def _end(self) -> None:
        """Ends the connections, by which all commands under way end, and what came too late for that."""
        for end in self.ends.values():
            end.close()
        actions: Actions = []
        with self._lock:
            while not self._inbox.empty():
                event = self._inbox.get_nowait()
                if event is not None:
                    actions += event()
        self._perform(actions)
