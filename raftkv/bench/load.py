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
from time import perf_counter, sleep
from typing import Any

from raftkv import Clerk
from raftkv.bench.clients import Running, start_callback, start_thread
from raftkv.bench.fanout import Fanout
from raftkv.bench.keys import key_name
from raftkv.bench.operations import Source, blocking, chooser, source
from raftkv.bench.recorder import Recorder
from raftkv.bench.workloads import Workload
from raftkv.errors import RaftKVError

_THREAD_BYTES = 512 * 1024  # of stack: a client needs little, and there may be hundreds


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process does: `clients` lists for each of its connections how many clients share it."""

    config: str  # the client's ini file
    workload: Workload
    clients: list[int]
    idle: int  # connections that nothing is asked on
    seed: int
    slot_s: float  # what is recorded is written so often, in seconds,
    slots: int  # and so many times

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        plain = json.loads(line)
        return cls(**{**plain, "workload": Workload(**plain["workload"])})


def main() -> None:
    """The process's body."""
    threading.stack_size(_THREAD_BYTES)
    _raise_file_limit()
    job = Job.from_json(sys.stdin.readline())
    rng = random.Random(job.seed)
    next_request = source(job.workload, chooser(job.workload, rng), rng)
    with contextlib.ExitStack() as stack:
        try:
            clerks = [stack.enter_context(_connected(job)) for _ in job.clients]
            for _ in range(job.idle):
                stack.enter_context(_connected(job))
        except RaftKVError as error:
            _say({"failed": f"{type(error).__name__}: {error}"})
            return
        _say({"ready": True})
        times = json.loads(sys.stdin.readline() or "null")
        if times is not None:
            threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
            _put_load(job, clerks, next_request, times["begin"], times["end"])


def _connected(job: Job) -> Clerk:
    """A Clerk that knows the leader, and has a session if there will be writes."""
    clerk = Clerk.from_config(job.config)
    try:
        clerk.get(key_name(0))
        if job.workload.op not in ("get", "scan"):
            clerk.append(key_name(0), "")
    except BaseException:
        clerk.close()
        raise
    return clerk


def _put_load(job: Job, clerks: list[Clerk], next_request: Source, begin: float, end: float) -> None:
    workload, recorder = job.workload, Recorder(begin, end)
    if workload.op == "watch":
        running = Running(1)
        Fanout(clerks, sum(job.clients), recorder).start(end, running)
    else:
        running = Running(sum(job.clients) * workload.in_flight)
        for clerk, clients in zip(clerks, job.clients):
            for _ in range(clients * workload.in_flight):
                if workload.blocking:
                    start_thread(blocking(clerk, workload, next_request), recorder, end, running)
                else:
                    start_callback(clerk, next_request, recorder, end, running)
    for slot in range(1 - int((begin - perf_counter()) / job.slot_s), job.slots):
        sleep(max(0.0, begin + slot * job.slot_s - perf_counter()))
        _say({"slot": slot, **recorder.take()})
    running.wait()
    _say({"slot": job.slots, "over": True, **recorder.take(over=True)})


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


def _end_with_parent() -> None:
    while os.read(0, 4096):
        sleep(0.1)
    os._exit(1)


if __name__ == "__main__":
    main()
