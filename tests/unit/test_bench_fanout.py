"""One writer and those who watch: each write is told to all of them before the next one begins."""

from __future__ import annotations

from time import perf_counter

from raftkv.bench.clients import Running
from raftkv.bench.fanout import Fanout
from raftkv.bench.recorder import Recorder


def test_each_write_is_told_to_all_watchers_before_the_next(clerk, cluster):
    begin = perf_counter()
    recorder, running = Recorder(begin, begin + 60), Running(1)
    Fanout([clerk], 3, recorder).start(begin + 0.3, running)
    running.wait()
    written = len([method for _, method, _ in cluster.requests if method == "put"])
    taken = recorder.take()
    assert written and taken["errors"] == {}
    assert sum(count for _, count in taken["latencies"]["counts"]) == 3 * written
