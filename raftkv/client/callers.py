"""Callers: what a caller's thread does for its command. It takes no lock.

A signal handler may raise at any place in it, the garbage collector may run a destructor in it that calls us
again, or it may be gone in a forked child. So a caller leaves what it wants in the Driver's inbox, and waits for
a signal of its own: both are single steps of a SimpleQueue. It waits a moment longer than its deadline at most,
whatever becomes of all others.

A caller who is alone makes its commands itself: it takes the Lane (see rpc/lane.py) out of the slot, sends and
reads, and puts it back. So as long as all goes well no other thread takes part.
"""

from __future__ import annotations

import queue
import time
from typing import Any, Callable

from raftkv import errors
from raftkv.client.command import Command, never_ended, not_begun
from raftkv.client.driver import Driver
from raftkv.client.loan import Loan
from raftkv.client.loans import GRACE_S
from raftkv.kvdb.operation import Operation
from raftkv.rpc.future import CallFuture
from raftkv.rpc.lane import Lane


class Callers:
    """Of one Driver. Thread-safe. `timeout_s` bounds a command with all its retries."""

    def __init__(self, driver: Driver, timeout_s: float) -> None:
        self._driver = driver
        self._timeout_s = timeout_s
        self._slot = driver.loans.slot

    def run(self, operation: Operation, timeout_s: float | None = None) -> Any:
        """The result of an operation that was checked; raises its error. `timeout_s`: another one than usual."""
        now = time.monotonic()
        command = Command(operation, now + (timeout_s or self._timeout_s))
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

    def submit(self, operation: Operation, convert: Callable[[Any], Any] | None, keeps: object) -> CallFuture:
        """Begin an operation that was checked, without waiting for it; only for room among those under way (see window.py).
        The Future gets what `convert` makes of its result, or that itself. `keeps` lives until then.

        Raises NotApplied if there is no room in time, or no thread can be started.
        """
        driver, future = self._driver, CallFuture(keeps)
        command = Command(operation, time.monotonic() + self._timeout_s, future)
        command.convert = convert
        ours = driver.is_own_thread()
        try:
            driver.window.enter(command, may_wait=not ours)
            if not ours or not driver.try_to_begin(command):
                driver.begin(command)
        except BaseException:
            driver.window.leave(command)
            driver.abandon(command)
            raise
        return future

    # -- alone -----------------------------------------------------------------------------------------------

    def _run_alone(self, lane: Lane, command: Command, now: float) -> bool:
        """Makes an attempt in this thread. False: the command must go the way of all others, or has begun
        to."""
        driver = self._driver
        try:
            if driver.closed or not self._send(lane, command, now):
                lane.give_back()
                return False
            error = self._receive(lane, command, now)
            if error is None:
                if not lane.finish():
                    lane.give_back()
                    driver.hand_over(command, command.result, None)
                return True
            command.context = queue.SimpleQueue()
            lane.give_back(None if isinstance(error, errors.RemoteError) else error)
            driver.hand_over(command, None, error)
            return False
        except BaseException:
            lane.spoil()
            lane.give_back()
            driver.abandon(command)
            raise

    @staticmethod
    def _send(lane: Lane, command: Command, now: float) -> bool:
        loan: Loan = lane.context
        args = command.args
        if command.numbered:
            if not loan.name:
                return False  # it must ask for a birth first
            command.seq = loan.next_seq
            args = (loan.name, loan.birth, command.seq, command.seq, *args)
        command.sent_at = now
        loan.used = True
        if lane.send(command, command.method, args):
            return True
        command.seq = 0
        return False

    def _receive(self, lane: Lane, command: Command, now: float) -> errors.RpcError | None:
        """Sets the command's result, or returns what there is instead."""
        timeout_s = min(command.deadline - now, lane.context.timeout_s)
        try:
            ok, result = lane.receive(now + timeout_s, timeout_s)
        except errors.RpcError as error:
            return error
        if not ok:
            return errors.RemoteError(*result)
        if command.seq:
            lane.context.next_seq = command.seq + 1
        command.result = result
        return None

    # -- among others ----------------------------------------------------------------------------------------

    def _run_with_others(self, command: Command) -> None:
        """Has the command done, if that has not begun, and waits until it is."""
        driver = self._driver
        if driver.is_own_thread():
            raise not_begun(command, "this is a Clerk's own thread, which cannot wait: use submit()")
        try:
            if command.context is None:
                command.context = queue.SimpleQueue()
                driver.begin(command)
            elif driver.over and not command.done:
                raise never_ended(command, "this Clerk was closed")
            command.context.get(timeout=max(0.0, command.deadline - time.monotonic()) + GRACE_S)
        except queue.Empty:
            raise never_ended(command, "no answer in time") from None
        except BaseException:
            driver.abandon(command)
            raise
