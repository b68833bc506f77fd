"""The outage that clients see when the leader is killed with SIGKILL."""

from __future__ import annotations

import threading
from time import perf_counter

from raftkv.bench.errors import BenchError
from raftkv.bench.result import Result
from raftkv.bench.target import Target

KILL_AT = 1 / 3  # of the time


class LeaderKiller:
    """Kills the leader of a local cluster in the middle of a run, from a thread of its own. A context manager
    round the run, at whose end the node is started again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._thread: threading.Thread | None = None
        self._called_off = threading.Event()
        self._killed: int | None = None
        self._killed_at = self._dead_at = 0.0  # in the time of perf_counter()

    def __enter__(self) -> LeaderKiller:
        return self

    def __exit__(self, *_: object) -> None:
        self._called_off.set()
        if self._thread is not None:
            self._thread.join()
        if self._killed is not None:
            assert self._target.cluster is not None
            self._target.cluster.nodes[self._killed].start()

    def plan(self, begin: float, seconds: float) -> None:
        """Kill it after a third of the run that begins at `begin` (perf_counter) and takes `seconds`."""
        self._thread = threading.Thread(
            target=self._kill, args=(begin + seconds * KILL_AT,), name="leader-killer", daemon=True
        )
        self._thread.start()

    def _kill(self, at: float) -> None:
        if self._called_off.wait(max(0.0, at - perf_counter())):
            return
        leader = self._target.leader()
        if leader is not None:
            assert self._target.cluster is not None
            self._killed_at = perf_counter()
            self._target.cluster.nodes[leader].kill()
            self._dead_at, self._killed = perf_counter(), leader

    def findings(self, result: Result) -> dict[str, float]:
        """`worst_gap_ms`, the longest time in which no client had a success, and `recovery_ms`, from the kill
        to the first success after the silence that it caused. For after the run. Raises BenchError."""
        if self._killed is None:
            if result.interrupted:
                return {}
            raise BenchError("there was no leader to kill when its time had come")
        if self._killed_at >= result.begin + result.seconds and not result.interrupted:
            raise BenchError("the leader was killed only after the end of the run: give more --seconds")
        return {
            "worst_gap_ms": round(result.worst_gap_s() * 1e3, 1),
            "recovery_ms": round(result.recovery_s(self._killed_at, self._dead_at) * 1e3, 1),
        }
