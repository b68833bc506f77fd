"""Fibers: calls that stop in the middle and go on later, one at a time, when the simulator says so.

The product's threads make plain blocking calls. To let other things happen in the middle of one (another
message while an fsync runs, a crash between two writes), a call that stops keeps its thread, and another thread
goes on with the simulation: pump(). So there is never more than one thread running, whoever has the turn, and
nothing depends on how threads are scheduled. A call that never stops costs no switch of threads, nor does a stop
in which nothing else happens.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from tests.sim.disk import Crash


class Fiber:
    """One call of `target`. Made by Fibers.start(); begin() begins it.

    `idle`: it waits for something to do. `resumed` counts: a wake-up that comes late knows it by that.
    """

    def __init__(
        self,
        fibers: Fibers,
        on_suspend: Callable[[Fiber, float | None], bool],
        target: Callable[..., None],
        args: tuple,
    ) -> None:
        self._fibers, self._on_suspend, self._target, self._args = fibers, on_suspend, target, args
        self._turn: _Turn | None = None  # of the thread that it is suspended on
        self._killer: _Turn | None = None
        self.resumed = 0
        self.idle = self.killed = self.over = False

    def begin(self) -> bool:
        """Run it to its end; meanwhile it may suspend, and others run. Raises what the target raises. False:
        it was killed."""
        fibers = self._fibers
        self.resumed = 1
        fibers.current = self
        try:
            self._target(*self._args)
        except Crash:
            if self._killer is None:
                raise
        finally:
            self.over = True
            fibers.current = None
        if self._killer is None:
            return True
        fibers.give_turn(self._killer)
        return False

    def resume(self) -> None:
        """Let it go on. Returns when it has ended, or suspended again, or later: others may have run."""
        fibers = self._fibers
        assert self._turn is not None and fibers.current is None, "a fiber resumed another one"
        self.resumed += 1
        fibers.give_turn(self._turn)

    def kill(self) -> None:
        """End it: suspend() raises Crash, also for whatever the target still does on its way out."""
        self.killed = True
        if self._turn is not None and not self.over:
            before, self._killer = self._fibers.current, self._fibers.has_turn
            self._fibers.switch(self._turn)
            self._fibers.current = before
        self.over = True

    def suspend(self, wait_s: float | None) -> None:
        """Called by the fiber itself: go on after `wait_s` seconds, or when it is woken. Raises Crash when
        killed."""
        if not self.killed:
            fibers = self._fibers
            fibers.current = None
            if self._on_suspend(self, wait_s):
                self.resumed += 1
            else:
                self._turn = fibers.has_turn
                fibers.switch(fibers.take_spare())
            fibers.current = self
        if self.killed:
            raise Crash


class _Turn:
    """A thread's place in the queue: it runs when it is given the turn."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()
        self.give, self.wait = self._lock.release, self._lock.acquire


class Fibers:
    """All fibers of one simulation, and the threads they run on. `current`: the one that runs now."""

    def __init__(self) -> None:
        self.current: Fiber | None = None
        self.has_turn = self._main = _Turn()
        self._spare: list[_Turn] = []  # of threads that wait for something to do
        self._threads: list[threading.Thread] = []
        self._more: Callable[[], bool] = lambda: False
        self._step: Callable[[], None] = lambda: None
        self._error: BaseException | None = None
        self._closing = False

    def start(
        self, on_suspend: Callable[[Fiber, float | None], bool], target: Callable[..., None], *args: Any
    ) -> Fiber:
        """`on_suspend(fiber, wait_s)` is called whenever it is about to suspend, for so many seconds of virtual
        time, or until somebody wakes it. Returns whether that time has passed already."""
        return Fiber(self, on_suspend, target, args)

    @property
    def in_pump(self) -> bool:
        """Is this one of the threads that fibers run on?"""
        return self.has_turn is not self._main

    def pump(self, more: Callable[[], bool], step: Callable[[], None]) -> None:
        """Call step() as long as more(). For the simulator's own thread; all fibers run in here. Raises what
        step() raises."""
        self._more, self._step = more, step
        self.switch(self.take_spare())
        error, self._error = self._error, None
        if error is not None:
            raise error

    @property
    def goes_on(self) -> bool:
        """Is more to be pumped?"""
        return self._more()

    def call(self, action: Callable[..., None], *args: Any) -> None:
        """The same, for one call: until it has returned, or suspended."""
        todo = [action]
        self.pump(lambda: bool(todo), lambda: todo.pop()(*args))

    def close(self) -> None:
        """End the threads. Every fiber has ended or was killed."""
        assert len(self._spare) == len(self._threads), "a fiber was left behind"
        self._closing = True
        for turn in self._spare:
            turn.give()
        for thread in self._threads:
            thread.join()

    # -- turns -----------------------------------------------------------------------------------------------

    def switch(self, turn: _Turn) -> None:
        """Give the turn away, and go on when it has come back."""
        mine = self.has_turn
        self.has_turn = turn
        turn.give()
        mine.wait()

    def give_turn(self, turn: _Turn) -> None:
        """The same; and until then this thread is free for whatever comes."""
        self._spare.append(self.has_turn)
        self.switch(turn)

    def take_spare(self) -> _Turn:
        if self._spare:
            return self._spare.pop()
        turn = _Turn()
        self._threads.append(threading.Thread(target=self._run, args=(turn,), name="fiber", daemon=True))
        self._threads[-1].start()
        return turn

    def _run(self, turn: _Turn) -> None:
        """The body of each thread."""
        turn.wait()
        while not self._closing:
            try:
                if self._more():
                    self._step()
                    continue
            except BaseException as error:  # it is raised in the simulator's own thread
                self._error = error
            if not self._closing:
                self.give_turn(self._main)


@contextmanager
def on_one_processor(number: int = -1) -> Iterator[None]:
    """Fibers hand over the turn faster if no other processor is involved: this thread, and those that it starts,
    run on that one of those that they may run on."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {before[number % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
