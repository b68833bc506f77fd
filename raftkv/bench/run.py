"""One run of a workload: clients in several processes begin together, and what they saw is added up."""

from __future__ import annotations

import math
import os
from time import perf_counter
from typing import Callable

from raftkv.bench.load import Job
from raftkv.bench.processes import ClientProcesses
from raftkv.bench.result import OnSlice, Result, Sum
from raftkv.bench.workloads import Workload

_SLOT_S = 0.25
_LONG_SLOT_S = 1.0  # of a run of more than
_LONG_S = 300.0  # this: nobody looks at so many dots
_NOTICE_S = 0.05  # to tell all processes when to begin


def run(
    config: str, workload: Workload, seed: int, on_begin: Callable[[float], None], on_slice: OnSlice
) -> Result:
    """Drive the cluster of the client's ini file. The workload is resolved.

    `on_begin` is called before the measurement with its first moment, in the time of perf_counter(). Ctrl-C
    ends the measurement early. Raises BenchError.
    """
    slot_s = min(workload.seconds, _SLOT_S if workload.seconds <= _LONG_S else _LONG_SLOT_S)
    slots = math.ceil(workload.seconds / slot_s)
    jobs = _jobs(config, workload, seed, slot_s, slots)
    with ClientProcesses(jobs) as clients:
        clients.wait_until_ready()
        begin = perf_counter() + _NOTICE_S + workload.warmup
        clients.tell({"begin": begin, "end": begin + workload.seconds})
        on_begin(begin)
        total = Sum(Result(workload, begin), len(jobs), slot_s, on_slice)
        try:
            for number, report in clients.reports():
                total.add(number, report)
        except KeyboardInterrupt:
            total.result.interrupted = True
        return total.finish()


def _jobs(config: str, workload: Workload, seed: int, slot_s: float, slots: int) -> list[Job]:
    """The clients dealt out to the connections, and those to the processes; idle ones have their own, so that
    they cost the others no more than they must."""
    clients = [len(range(at, workload.clients, workload.connections)) for at in range(workload.connections)]
    shares = [(clients[at :: workload.processes], 0) for at in range(workload.processes)]
    if workload.idle:
        shares.append(([], workload.idle))
    path = os.path.abspath(config)
    return [
        Job(path, workload, busy, idle, seed + number, slot_s, slots)
        for number, (busy, idle) in enumerate(shares)
    ]
