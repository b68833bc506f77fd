"""SimThreads: what node/threads.py is to a real node. Its threads are fibers, its time is the simulated host's.

Who waits for a lock, a condition or the end of a sleep is suspended, where a real thread would stop the whole
simulation. With a plan that has preemption, other threads may run before a lock is taken.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from tests.sim.fiber import Fiber

if TYPE_CHECKING:
    from tests.sim.process import Process

SWITCH_S = 0.0005  # from one thread to another, at most
JOIN_EVERY_S = 0.001


class SimThreads:
    """The threads of one process."""

    def __init__(self, process: Process) -> None:
        self._process, self._fibers = process, process.world.fibers
        self._sleeping: list[Fiber] = []
        self.stopping = False

    def clock(self) -> float:
        return self._process.host.clock()

    def lock(self) -> SimLock:
        return SimLock(self)

    def condition(self, lock: SimLock) -> SimCondition:
        return SimCondition(self, lock)

    def start(self, name: str, target: Callable[..., None], *args: Any) -> None:
        self._process.begin(name, target, *args)

    def repeat(self, name: str, wait_s: float, action: Callable[[], float]) -> None:
        """Each call on a fiber of its own: none is suspended in between, which would cost two switches."""
        process = self._process

        def turn() -> None:
            if not self.stopping:
                again_after(action())

        def again_after(seconds: float) -> None:
            process.world.schedule(process.until_tick_s() if name == "ticker" else seconds, process.run, turn)

        again_after(wait_s)

    def sleep(self, seconds: float) -> bool:
        fiber = self.current()
        if not self.stopping:
            self._sleeping.append(fiber)
            fiber.suspend(seconds)
            if fiber in self._sleeping:
                self._sleeping.remove(fiber)
        return self.stopping

    def stop(self) -> None:
        self.stopping = True
        sleeping, self._sleeping = self._sleeping, []
        for fiber in sleeping:
            self.wake(fiber)

    def join(self, timeout_s: float) -> bool:
        fiber, deadline = self.current(), self._process.world.now + timeout_s
        while self._process.fibers != [fiber] and self._process.world.now < deadline:
            fiber.suspend(JOIN_EVERY_S)
        return self._process.fibers == [fiber]

    def fail(self, error: BaseException) -> None:
        raise error

    def current(self) -> Fiber:
        fiber = self._fibers.current
        assert fiber is not None, "nobody can wait here but a fiber"
        return fiber

    # -- for locks and conditions ----------------------------------------------------------------------------

    def wake(self, fiber: Fiber) -> None:
        """It goes on as soon as its processor has come to it."""
        process = self._process
        process.go_on_after(process.rng.random() * SWITCH_S, fiber)

    def maybe_preempt(self) -> None:
        """Another thread may run now."""
        process, fiber = self._process, self._fibers.current
        often = process.world.plan.preemption / 10
        if fiber is not None and often and process.rng.random() < often:
            fiber.suspend(process.rng.random() * SWITCH_S)


class SimLock:
    def __init__(self, threads: SimThreads) -> None:
        self._threads = threads
        self._held = False
        self._waiting: deque[Fiber] = deque()

    def acquire(self, blocking: bool = True) -> bool:
        self._threads.maybe_preempt()
        while self._held:
            if not blocking:
                return False
            fiber = self._threads.current()
            self._waiting.append(fiber)
            fiber.suspend(None)
        self._held = True
        return True

    def release(self) -> None:
        """Whoever waits is woken, and may find that another one was quicker."""
        self._held = False
        if self._waiting:
            self._threads.wake(self._waiting.popleft())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class SimCondition:
    """Its lock is held round every call."""

    def __init__(self, threads: SimThreads, lock: SimLock) -> None:
        self._threads, self._lock = threads, lock
        self._waiting: deque[Fiber] = deque()

    def wait(self) -> None:
        fiber = self._threads.current()
        self._waiting.append(fiber)
        self._lock.release()
        fiber.idle = True
        fiber.suspend(None)
        fiber.idle = False
        self._lock.acquire()

    def notify(self) -> None:
        if self._waiting:
            self._threads.wake(self._waiting.popleft())

    def notify_all(self) -> None:
        while self._waiting:
            self.notify()
