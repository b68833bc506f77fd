"""Requests: what calls want done, carried out by a Clerk, and its results back on the thread of the server."""

from __future__ import annotations

import logging
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any, Callable

from raftkv import Clerk, errors
from raftkv.client.watch import Watch
from raftkv.http.etcd.calls import Blocking, Next, Pause, Resume, Send, Step
from raftkv.http.together import Part, gather, results_of
from raftkv.http.web.server import HttpServer
from raftkv.http.workers import Workers
from raftkv.kvdb.operation import Operation

log = logging.getLogger("raftkv.http")

#: So many are under way at once; more wait here, for a Clerk would make the thread of the server wait.
MAX_UNDER_WAY = 800
MAX_WAIT_S = 7.0  # for a thread: who waited so long is answered that it is too late
ALONE = 8  # so many operations in a row, each alone, and the next ones go another way


class Requests:
    """Only for the thread of the server.

    What a turn has read is handed to the Clerk together, as few operations (together.py): each costs threads of the Clerk more
    than parsing its request does.
    """

    def __init__(self, clerk: Clerk, server: HttpServer) -> None:
        self._clerk, self._server = clerk, server
        self._call_soon, self._defer = server.call_soon, server.defer
        self._workers, self._brief = Workers(), Workers()
        self._under_way = self._alone = 0
        self._waiting: deque[Part] = deque()

    def carry_out(self, step: Step, resume: Resume) -> Callable[[], None] | None:
        """See Context."""
        assert not isinstance(step, Send), "what is sent is not for others to do"
        if isinstance(step, Next):
            return self._watch(step, resume)
        if isinstance(step, Pause):
            self._server.call_later(step.seconds, lambda: resume(None, None))
            return None
        if isinstance(step, Blocking):
            self._run(step, resume)
            return None
        if not self._waiting:
            self._defer(self._submit_waiting)
        self._waiting.append((step, resume))
        return None

    def _submit_waiting(self) -> None:
        is_alone = not self._under_way and len(self._waiting) == 1
        self._alone = self._alone + 1 if is_alone else 0
        if self._alone >= ALONE:
            self._run_alone(*self._waiting.popleft())
            return
        taken: list[Part] = []
        while self._waiting and self._under_way < MAX_UNDER_WAY:
            taken.append(self._waiting.popleft())
            self._under_way += 1
        for operation, parts in gather(taken):
            self._submit(operation, partial(self._done_together, operation, parts))

    def _run_alone(self, operation: Operation, resume: Resume) -> None:
        """In a thread that waits for it: the Clerk lends its connection to who is alone (client/loans.py), so that fewer threads
        take turns."""
        self._under_way += 1
        step = Blocking(lambda: self._clerk.run_operation(operation))
        self._run(step, lambda result, error: self._done(resume, result, error))

    def _submit(self, operation: Operation, done: Resume) -> None:
        def call_back(future: Future[Any]) -> None:
            error = future.exception()
            result = None if error is not None else future.result()
            self._call_soon(lambda: done(result, error))

        try:
            self._clerk.submit_operation(operation).add_done_callback(call_back)
        except errors.RaftKVError as error:
            failure = error
            self._call_soon(lambda: done(None, failure))

    def _done_together(
        self, operation: Operation, parts: list[Part], result: Any, error: BaseException | None
    ) -> None:
        if len(parts) > 1 and isinstance(error, (errors.InvalidRequestError, errors.RefusedError)):
            for each, resume in parts:  # together they are too large, or one of them is wrong
                self._submit(each, partial(self._done, resume))
            return
        results = [None] * len(parts) if error is not None else results_of(operation, parts, result)
        for (_, resume), own in zip(parts, results):
            self._done(resume, own, error)

    def _done(self, resume: Resume, result: Any, error: BaseException | None) -> None:
        self._under_way -= 1
        if self._waiting and self._under_way == MAX_UNDER_WAY - 1:
            self._submit_waiting()
        resume(result, error)

    def _watch(self, step: Next, resume: Resume) -> Callable[[], None]:
        watch: Watch | None = None

        def look() -> None:
            nonlocal watch
            if watch is None:
                return  # it is over
            response, error = None, None
            try:
                response = watch.get(timeout=0)
            except errors.RaftKVError as failure:
                error = failure
            if response is not None or error is not None:
                end()
                resume(response, error)

        def end() -> None:
            nonlocal watch
            if watch is not None:
                watch.cancel()
                watch = None

        watch = self._clerk.watch(
            step.key, step.end or None, start_revision=step.start, notify=lambda: self._call_soon(look)
        )
        return end

    def _run(self, step: Blocking, resume: Resume) -> None:
        asked_at = time.monotonic()

        def run() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                if time.monotonic() > asked_at + MAX_WAIT_S:
                    raise errors.UnavailableError("no thread was free in time")
                result = step.run()
            except Exception as failure:
                error = failure
            self._call_soon(lambda: resume(result, error))

        try:
            (self._brief if step.is_brief else self._workers).do(run)
        except errors.ResourceError as error:
            failure = error
            self._call_soon(lambda: resume(None, failure))
