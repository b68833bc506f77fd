"""kvbench: measure a cluster, a running one or one of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from raftkv.bench import compare, floor, report, target
from raftkv.bench.arguments import parse
from raftkv.bench.errors import BenchError
from raftkv.bench.progress import Progress
from raftkv.bench.result import Result
from raftkv.bench.session import Session
from raftkv.bench.workloads import Workload
from raftkv.cli.outcome import DONE, INTERRUPTED, STOPS, Terminated, exit_status
from raftkv.cli.streams import open_standard_streams
from raftkv.errors import RaftKVError

FAILED = 1  # operations failed, or the run did


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark. Returns the exit status, as `kvbench --help` lists them."""
    open_standard_streams()
    try:
        args, workloads = parse(argv)
        signal.signal(signal.SIGTERM, _stop)
        if args.local is None:
            cluster = target.running(args.config)
        else:
            cluster = target.local(args.local, args.set, args.data_dir)
        with cluster as found:
            try:
                return _measure_all(args, workloads, found)
            finally:
                _ignore_signals()  # nothing interrupts the stopping of the nodes
    except BenchError as error:
        return _complain(error, FAILED)
    except RaftKVError as error:
        return _complain(error, exit_status(error))
    except STOPS:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has had enough; the flush at exit must not fail, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _measure_all(args: Any, workloads: list[Workload], cluster: target.Target) -> int:
    progress = Progress(sys.stderr, args.quiet)
    if "RAFTKV_CHECK" in os.environ and cluster.cluster is not None:
        _say("RAFTKV_CHECK is set: the servers check themselves all the time, and are slow")
    session, status = Session(cluster, progress), DONE
    show = _Comparison(args, cluster, progress) if args.compare else _Rows(args)
    for workload in workloads:
        result, line = session.measure(workload)
        if not result.seconds:  # Ctrl-C during the warm-up
            return INTERRUPTED
        show.result(result, line)
        if not _explain(result, line):
            status = FAILED
        if result.interrupted:
            return INTERRUPTED
    return status


class _Rows:
    """Shows results one by one."""

    def __init__(self, args: Any) -> None:
        self._json = args.json
        if not args.json:
            print(report.heading(), flush=True)

    def result(self, result: Result, line: dict[str, Any]) -> None:
        print(report.to_json(line) if self._json else report.row(line), flush=True)


class _Comparison:
    """Shows results beside what the machine allows, which is measured first."""

    def __init__(self, args: Any, cluster: target.Target, progress: Progress) -> None:
        self._json, self._nodes = args.json, cluster.nodes
        progress.say("measuring the disk and the loopback network")
        with target.temporary_folder(args.data_dir) as folder:
            self._floor = floor.measure(folder)
        progress.clear()
        if args.json:
            print(report.to_json(compare.plain(self._floor, self._nodes)), flush=True)
        else:
            rows = (compare.text(row) for row in compare.floor_rows(self._floor, self._nodes))
            print(compare.heading(), *rows, sep="\n", flush=True)

    def result(self, result: Result, line: dict[str, Any]) -> None:
        row = compare.row(result, self._floor, self._nodes)
        line.update(floor=row.floor, ratio_to_floor=round(row.ratio or 0.0, 3))
        print(report.to_json(line) if self._json else compare.text(row), flush=True)


def _explain(result: Result, line: dict[str, Any]) -> bool:
    """Say in words what a row cannot. Returns whether the result is one to be content with."""
    name = result.workload.name
    for kind, (count, example) in sorted(result.errors.items()):
        _say(f"{name}: {count} failed with {kind}; one of them: {example}")
    if "worst_gap_ms" in line:
        _say(
            f"{name}: the leader was killed; no client had a success for {line['worst_gap_ms']:g} ms "
            f"at the most, and for {line['recovery_ms']:g} ms after the kill"
        )
    elif line["elections"]:
        _say(f"{name}: {line['elections']} elections during the run")
    if not result.latencies.count:
        _say(f"{name}: no operation succeeded")
    return bool(result.latencies.count) and (result.workload.kill_leader or not result.failures)


def _complain(error: Exception, status: int) -> int:
    _say(str(error))
    return status


def _say(text: str) -> None:
    print(f"kvbench: {text}", file=sys.stderr)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise Terminated


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
