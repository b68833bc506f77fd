"""One run of a workload: starts processes of clients, has them begin together, adds up what they saw."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import queue
import subprocess
import sys
import threading
from time import perf_counter
from typing import Any, Callable, Dict, List, Optional, Tuple

import raftkv
from raftkv.bench.histogram import Histogram
from raftkv.bench.load import Job
from raftkv.bench.recorder import Gap, common_gaps
from raftkv.bench.workloads import Workload
from raftkv.errors import RaftKVError

_IMPORT_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(raftkv.__file__)))
_SLOT_S = 0.25
_LONG_SLOT_S = 1.0  # of a run of more than
_LONG_S = 300.0  # this: nobody looks at so many dots
_NOTICE_S = 0.05  # to tell all processes when to begin


class BenchError(RaftKVError):
    """A run could not be done, and has no result."""


@dataclasses.dataclass
class Slice:
    """What happened in a slice of time, `from_s` to `to_s` after the beginning, in seconds."""

    from_s: float
    to_s: float
    latencies: Histogram


@dataclasses.dataclass
class Result:
    """What was measured. `seconds` are fewer than the workload's if `interrupted`."""

    workload: Workload
    begin: float  # in the time of perf_counter(), as the gaps
    seconds: float = 0.0
    latencies: Histogram = dataclasses.field(default_factory=Histogram)  # of requests
    errors: Dict[str, Tuple[int, str]] = dataclasses.field(default_factory=dict)  # kind: how many, an example
    slices: List[Tuple[float, int, float, float]] = dataclasses.field(default_factory=list)
    gaps: List[Gap] = dataclasses.field(default_factory=list)  # when nobody had a success
    interrupted: bool = False

    @property
    def operations_per_s(self) -> float:
        """Successful operations, of which a batch has several, a second."""
        return self.latencies.count * self.workload.batch / self.seconds if self.seconds else 0.0

    @property
    def failures(self) -> int:
        """How many requests failed."""
        return sum(count for count, _ in self.errors.values())


def run(
    config: str,
    workload: Workload,
    seed: int,
    on_begin: Callable[[float], None],
    on_slice: Callable[[Slice, int], None],
) -> Result:
    """Drive the cluster of the client's ini file. The workload is resolved.

    `on_begin` is called before the measurement with its first moment, in the time of perf_counter(),
    `on_slice` with what comes in, and the number of errors so far. Ctrl-C ends the run early. Raises
    BenchError.
    """
    slot_s = min(workload.seconds, _SLOT_S if workload.seconds <= _LONG_S else _LONG_SLOT_S)
    slots = math.ceil(workload.seconds / slot_s)
    with _Clients(_jobs(config, workload, seed, slot_s, slots)) as clients:
        clients.wait_until_ready()
        begin = perf_counter() + _NOTICE_S + workload.warmup
        clients.tell({"begin": begin, "end": begin + workload.seconds})
        on_begin(begin)
        sum_ = _Sum(Result(workload, begin), len(clients.processes), slot_s, on_slice)
        try:
            for number, message in clients.messages():
                sum_.add(number, message)
        except KeyboardInterrupt:
            sum_.result.interrupted = True
        return sum_.finished()


def _jobs(config: str, workload: Workload, seed: int, slot_s: float, slots: int) -> List[Job]:
    """The clients dealt out to the connections, and those to the processes."""
    clients = [len(range(at, workload.clients, workload.connections)) for at in range(workload.connections)]
    return [
        Job(os.path.abspath(config), workload, clients[at :: workload.processes], seed + at, slot_s, slots)
        for at in range(workload.processes)
    ]


class _Clients:
    """The processes of clients. A context manager, at whose end they are gone."""

    def __init__(self, jobs: List[Job]) -> None:
        self.processes: List[subprocess.Popen[str]] = []
        self._jobs = jobs
        self._arrived: queue.SimpleQueue[Tuple[int, Any]] = queue.SimpleQueue()
        self._readers: List[threading.Thread] = []

    def __enter__(self) -> _Clients:
        try:
            for number, job in enumerate(self._jobs):
                self._start(number, job)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        for process, reader in zip(self.processes, self._readers):
            process.wait()
            reader.join()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def wait_until_ready(self) -> None:
        for _ in self.processes:
            _, message = self._next()
            if "failed" in message:
                raise BenchError(f"a client cannot use the cluster: {message['failed']}")

    def tell(self, message: Any) -> None:
        """All of them."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()

    def messages(self) -> Any:
        """(number of the process, message) of all, until all are done."""
        left = len(self.processes)
        while left:
            number, message = self._next()
            left -= message.get("over", False)
            yield number, message

    def _start(self, number: int, job: Job) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "raftkv.bench.load"],
            cwd=_IMPORT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us: we print what was measured so far
        )
        self.processes.append(process)
        reader = threading.Thread(target=self._read, args=(number, process), daemon=True)
        self._readers.append(reader)
        reader.start()
        assert process.stdin is not None
        process.stdin.write(job.to_json() + "\n")
        process.stdin.flush()

    def _read(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._arrived.put((number, json.loads(line)))
        self._arrived.put((number, None))

    def _next(self) -> Tuple[int, Any]:
        while True:
            number, message = self._arrived.get()
            if message is not None:
                return number, message
            status = self.processes[number].wait()
            if status:
                raise BenchError(f"a process of clients ended with exit status {status}; there is no result")


class _Sum:
    """Adds up the messages of all processes."""

    def __init__(
        self, result: Result, processes: int, slot_s: float, on_slice: Callable[[Slice, int], None]
    ) -> None:
        self.result = result
        self._slot_s = slot_s
        self._on_slice = on_slice
        self._gaps: List[List[Gap]] = [[] for _ in range(processes)]
        self._slots: Dict[int, List[Histogram]] = {}  # those that not all processes have reported

    def add(self, number: int, message: Any) -> None:
        result, slot = self.result, message["slot"]
        for kind, (count, example) in message["errors"].items():
            known, first = result.errors.get(kind, (0, example))
            result.errors[kind] = (known + count, first)
        if slot < 1:
            return
        self._gaps[number] += [(start, end) for start, end in message["gaps"]]
        reports = self._slots.setdefault(slot, [])
        reports.append(Histogram.from_plain(message["latencies"]))
        if len(reports) == len(self._gaps):
            self._complete(slot)

    def _complete(self, slot: int) -> None:
        result, total = self.result, Histogram()
        for report in self._slots.pop(slot):
            total.add(report)
        start, end = (slot - 1) * self._slot_s, min(slot * self._slot_s, result.workload.seconds)
        result.seconds = end
        result.latencies.add(total)
        p50, p99 = (total.percentile(percent) / 1e3 for percent in (50, 99))
        result.slices.append((end, round(total.count * result.workload.batch / (end - start)), p50, p99))
        self._on_slice(Slice(start, end, total), result.failures)

    def finished(self) -> Result:
        self.result.gaps = common_gaps(self._gaps)
        return self.result


def worst_gap(result: Result, since: Optional[float] = None) -> Gap:
    """The longest time without a success that ended after `since` (None: of all); (0, 0) if there is none."""
    gaps = [gap for gap in result.gaps if since is None or gap[1] > since]
    return max(gaps, key=lambda gap: gap[1] - gap[0], default=(0.0, 0.0))
