"""Workers: a few threads for what has to wait."""

from __future__ import annotations

import queue
from typing import Callable

from raftkv.threads import start_thread

MAX_WORKERS = 32

Job = Callable[[], None]


class Workers:
    """Threads are started when they are needed, and stay. A job must not raise. do() is for one thread."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._idle: queue.SimpleQueue[None] = queue.SimpleQueue()  # an item for each thread that waits
        self._count = 0

    def do(self, job: Job) -> None:
        """Have it done, when a thread is free. Raises ResourceError if there is none and none can be started."""
        try:
            self._idle.get_nowait()
        except queue.Empty:
            if self._count < MAX_WORKERS:
                start_thread(self._work, "http-worker")
                self._count += 1
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            self._idle.put(None)
