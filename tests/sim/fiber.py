"""Fibers: calls that stop in the middle and go on later, one at a time, when the simulator says so.

The product's threads make plain blocking calls. To let other things happen in the middle of one (another
message while an fsync runs, a crash between two writes), each runs on a thread of its own here, too, but only
while the simulator waits for it: `resume()` hands it the only turn, and gets that back when it suspends or
ends. So there is never more than one thread running, and nothing depends on how threads are scheduled.
threads.py makes of them what a node asks for.
"""

from __future__ import annotations

import _thread
import threading
from typing import Any, Callable

from tests.sim.disk import Crash


class Fiber:
    """One call of `target`. Made by Fibers.start(); begins with the first resume().

    When it has suspended, `wait_s` says for how many seconds of virtual time; None: until somebody wakes it.
    `idle`: it waits for something to do. `resumed` counts: a wake-up that comes late knows it by that.
    """

    def __init__(self, fibers: Fibers, name: str, target: Callable[..., None], args: tuple) -> None:
        self._fibers, self._target, self._args = fibers, target, args
        self._worker: _Worker | None = None
        self.name = name
        self.wait_s: float | None = None
        self.resumed = 0
        self.idle = self.killed = self.over = False

    def resume(self) -> None:
        """Let it run until it suspends or is `over`. What the target raises is raised here."""
        assert not self.over, "a fiber that has ended was resumed"
        fibers = self._fibers
        if self._worker is None:
            self._worker = fibers.take_worker()
            self._worker.fiber = self
        assert fibers.current is None, "a fiber resumed another one"
        fibers.current = self
        self.resumed += 1
        self._worker.switch()
        fibers.current = None
        if self.over:
            worker, self._worker = self._worker, None
            fibers.give_back(worker)
            error, worker.error = worker.error, None
            if error is not None:
                raise error

    def kill(self) -> None:
        """End it: suspend() raises Crash, also for whatever the target still does on its way out."""
        self.killed = True
        while self._worker is not None:
            try:
                self.resume()
            except Crash:
                pass  # what it was told to do
        self.over = True

    def suspend(self, wait_s: float | None) -> None:
        """Called by the fiber itself: go on after `wait_s` seconds, or when it is woken. Raises Crash when
        killed."""
        if not self.killed:
            self.wait_s = wait_s
            worker = self._worker
            assert worker is not None, "a fiber that does not run suspends itself"
            worker.switch_back()
        if self.killed:
            raise Crash


class Fibers:
    """All fibers of one simulation, and the threads they run on. `current`: the one that runs now."""

    def __init__(self) -> None:
        self.current: Fiber | None = None
        self._idle: list[_Worker] = []
        self._threads: list[threading.Thread] = []

    def start(self, name: str, target: Callable[..., None], *args: Any) -> Fiber:
        return Fiber(self, name, target, args)

    def take_worker(self) -> _Worker:
        if self._idle:
            return self._idle.pop()
        worker = _Worker()
        self._threads.append(threading.Thread(target=worker.run, name="fiber", daemon=True))
        self._threads[-1].start()
        return worker

    def give_back(self, worker: _Worker) -> None:
        self._idle.append(worker)

    def close(self) -> None:
        """End the threads. Every fiber has ended or was killed."""
        assert len(self._idle) == len(self._threads), "a fiber was left behind"
        for worker in self._idle:
            worker.fiber = None
            worker.wake()
        for thread in self._threads:
            thread.join()


class _Worker:
    """A thread that runs one fiber after the other, in turns with the simulator's own thread."""

    def __init__(self) -> None:
        self.fiber: Fiber | None = None
        self.error: BaseException | None = None
        self._its_turn, self._our_turn = _thread.allocate_lock(), _thread.allocate_lock()
        self._its_turn.acquire()
        self._our_turn.acquire()

    def wake(self) -> None:
        self._its_turn.release()

    def switch(self) -> None:
        """The simulator gives the turn away, and waits until it is back."""
        self._its_turn.release()
        self._our_turn.acquire()

    def switch_back(self) -> None:
        self._our_turn.release()
        self._its_turn.acquire()

    def run(self) -> None:
        while True:
            self._its_turn.acquire()
            fiber = self.fiber
            if fiber is None:
                return
            try:
                fiber._target(*fiber._args)
            except BaseException as error:  # it is raised in the thread that resumed this fiber
                self.error = error
            fiber.over = True
            self._our_turn.release()
