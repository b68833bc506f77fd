"""Measures workloads on a cluster, one after the other, and shows how it goes."""

from __future__ import annotations

import contextlib
import random
import threading
from time import perf_counter
from typing import Any

from raftkv.bench import report
from raftkv.bench.cpu import ServerTime
from raftkv.bench.histogram import Histogram
from raftkv.bench.operations import load_keys
from raftkv.bench.outage import LeaderKiller
from raftkv.bench.progress import Progress
from raftkv.bench.result import Result
from raftkv.bench.run import run
from raftkv.bench.target import Target
from raftkv.bench.workloads import Workload
from raftkv.errors import RaftKVError

_WATCH_S = 1.0
_SHOW_S = 1.0


class Session:
    """A cluster and what is shown of its measurement. For one thread."""

    def __init__(self, target: Target, progress: Progress) -> None:
        self._target = target
        self._progress = progress
        self._shown_at = 0.0  # the progress of loading keys, in the time of perf_counter()

    def measure(self, workload: Workload) -> tuple[Result, dict[str, Any]]:
        """Run a workload that is resolved. Returns the result, and also as a line of JSON has it.

        Raises BenchError, and what Clerk raises when the cluster is not there.
        """
        try:
            return self._measured(workload)
        finally:
            self._progress.clear()

    def _measured(self, workload: Workload) -> tuple[Result, dict[str, Any]]:
        target, progress = self._target, self._progress
        target.wait_until_ready()
        if workload.reads or workload.load:
            load_keys(target.clerk, workload, lambda done: self._show_loading(workload, done))
        term = target.term()
        progress.begin()
        with contextlib.ExitStack() as stack:
            cpu = ServerTime(target.pids())
            killer = stack.enter_context(LeaderKiller(target)) if workload.kill_leader else None
            watch = stack.enter_context(_LeaderWatch(target))

            def on_begin(begin: float) -> None:
                cpu.plan(begin, workload.seconds)
                if killer is not None:
                    killer.plan(begin, workload.seconds)

            def on_slice(latencies: Histogram, result: Result) -> None:
                progress.slice(latencies, result, watch.leader)

            progress.say(f"{workload.name:<8} warming up for {workload.warmup:g} s")
            result = run(target.config, workload, random.getrandbits(32), on_begin, on_slice)
            line = report.plain(result, target.nodes, target.term() - term)
            # An interrupted run did not come to the moment of the second reading.
            line["server_us"] = None if result.interrupted else cpu.us_per_op(result.operations)
            if killer is not None:
                line.update(killer.findings(result))
        return result, line

    def _show_loading(self, workload: Workload, done: int) -> None:
        now = perf_counter()
        if done in (0, workload.keys) or now - self._shown_at >= _SHOW_S:
            self._shown_at = now
            self._progress.say(f"{workload.name:<8} writing the keys: {done:,} of {workload.keys:,}")


class _LeaderWatch:
    """Asks once a second who leads, in a thread of its own, so that a silent server does not hold up the
    progress. A context manager."""

    def __init__(self, target: Target) -> None:
        self.leader: int | None = None
        self._target = target
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leader-watch", daemon=True)

    def __enter__(self) -> _LeaderWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                self.leader = self._target.leader()
            except RaftKVError:  # none can be asked, so none is known to lead
                self.leader = None
            self._stopped.wait(_WATCH_S)
