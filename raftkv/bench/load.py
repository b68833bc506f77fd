"""One process full of clients. run.py starts it, several at a time, as `python -m raftkv.bench.load`.

It talks to run.py in lines of JSON. It reads a job (see Job), connects, writes {"ready": true}; reads
{"begin": t, "end": t}, in the time of perf_counter(), which all processes of a machine share; puts load on
the cluster from then on, and writes {"slot": n, ...}, what was recorded in the n-th slice of time from
`begin` on (numbers below 1 are the warm-up). The last one comes when every request has its answer, and has
"over". The process ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import sys
import threading
from concurrent.futures import Future
from time import perf_counter, sleep
from typing import Any, Callable, List

from raftkv import Clerk
from raftkv.bench.keys import key_name
from raftkv.bench.operations import Source, blocking, check, chooser, source
from raftkv.bench.recorder import Recorder
from raftkv.bench.workloads import Workload
from raftkv.errors import RaftKVError

_THREAD_BYTES = 512 * 1024  # of stack: a client needs little, and there may be hundreds


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process does: `clients` lists for each of its connections how many clients share it."""

    config: str  # the client's ini file
    workload: Workload
    clients: List[int]
    seed: int
    slot_s: float  # what is recorded is written so often, in seconds,
    slots: int  # and so many times

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        plain = json.loads(line)
        return cls(**{**plain, "workload": Workload(**plain["workload"])})


class _Running:
    """Counts the clients that are not done yet. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed = threading.Condition()

    def one_less(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify()

    def wait(self) -> None:
        """Until none is left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._count)


def main() -> None:
    """The process's body."""
    threading.stack_size(_THREAD_BYTES)
    _raise_file_limit()
    job = Job.from_json(sys.stdin.readline())
    with contextlib.ExitStack() as stack:
        clerks: List[Clerk] = []
        try:
            for _ in job.clients:
                clerks.append(stack.enter_context(Clerk.from_config(job.config)))
                _warm(clerks[-1], job.workload)
        except RaftKVError as error:
            _say({"failed": f"{type(error).__name__}: {error}"})
            return
        _say({"ready": True})
        times = json.loads(sys.stdin.readline() or "null")
        if times is None:
            return
        threading.Thread(target=_watch_parent, name="parent-watch", daemon=True).start()
        _put_load(job, clerks, times["begin"], times["end"])


def _warm(clerk: Clerk, workload: Workload) -> None:
    """Connect, find the leader, and open a session if there will be writes."""
    clerk.get(key_name(0))
    if workload.op not in ("get", "scan"):
        clerk.append(key_name(0), "")


def _put_load(job: Job, clerks: List[Clerk], begin: float, end: float) -> None:
    recorder = Recorder(begin, end)
    rng = random.Random(job.seed)
    choose = chooser(job.workload, rng)
    next_request = source(job.workload, choose, rng)
    starts: List[Callable[[], None]] = []
    running = _Running(sum(job.clients) * job.workload.in_flight)
    for clerk, clients in zip(clerks, job.clients):
        for _ in range(clients * job.workload.in_flight):
            if job.workload.blocking:
                call = blocking(clerk, job.workload, next_request)
                starts.append(_thread(call, recorder, end, running))
            else:
                starts.append(_callbacks(clerk, next_request, recorder, end, running))
    for start in starts:
        start()
    for slot in range(1 - int((begin - perf_counter()) / job.slot_s), job.slots):
        sleep(max(0.0, begin + slot * job.slot_s - perf_counter()))
        _say({"slot": slot, **recorder.take()})
    running.wait()
    _say({"slot": job.slots, "over": True, **recorder.take(over=True)})


def _thread(
    call: Callable[[], None], recorder: Recorder, end: float, running: _Running
) -> Callable[[], None]:
    """A client that waits for its answers in a thread of its own."""

    def body() -> None:
        succeeded, failed = recorder.succeeded, recorder.failed
        while True:
            asked = perf_counter()
            if asked >= end:
                break
            try:
                call()
            except RaftKVError as error:
                failed(error)
            else:
                succeeded((asked, perf_counter()))
        running.one_less()

    return threading.Thread(target=body, daemon=True).start


def _callbacks(
    clerk: Clerk, next_request: Source, recorder: Recorder, end: float, running: _Running
) -> Callable[[], None]:
    """A client whose next request is sent by the thread that reads the answer to the last one."""
    asked = 0.0
    succeeded, failed, submit = recorder.succeeded, recorder.failed, clerk.submit

    def answered(future: "Future[Any]") -> None:
        now = perf_counter()
        try:
            check(future.result())
        except RaftKVError as error:
            failed(error)
        else:
            succeeded((asked, now))
        ask(now)

    def ask(now: float) -> None:
        nonlocal asked
        if now >= end:
            running.one_less()
            return
        asked = now
        try:
            future = submit(*next_request())
        except RaftKVError as error:  # it cannot even be begun: there is no point in going on
            failed(error)
            running.one_less()
        else:
            future.add_done_callback(answered)

    return lambda: ask(perf_counter())


def _raise_file_limit() -> None:
    """A Clerk needs about ten file descriptors, and systems give a process 256 or 1024 of its own accord."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems call a number unlimited that they refuse
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _say(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _watch_parent() -> None:
    while os.read(0, 4096):
        sleep(0.1)
    os._exit(1)


if __name__ == "__main__":
    main()
