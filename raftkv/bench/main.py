"""kvbench: measure a cluster, a running one or one of its own."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any, ContextManager, Dict, List, NoReturn, Optional

from raftkv import __version__
from raftkv.bench import report, target, workloads
from raftkv.bench.run import BenchError, Result
from raftkv.bench.session import Session
from raftkv.cli.cluster_files import MAX_NODES
from raftkv.cli.commands import DONE, exit_status
from raftkv.errors import ConfigError, RaftKVError

FAILED = 1  # operations failed, or the run did
INTERRUPTED = 130  # what shells make of a program that Ctrl-C ended


class _Stop(BaseException):
    """SIGTERM. Not an Exception: nothing but main() is to catch it."""


def main(argv: Optional[List[str]] = None) -> int:
    """Run the benchmark. Returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        signal.signal(signal.SIGTERM, _stop)
        chosen = _chosen(args)
        with _target(args) as cluster:
            return _measure_all(args, chosen, cluster)
    except BenchError as error:
        return _complain(error, FAILED)
    except RaftKVError as error:
        return _complain(error, exit_status(error))
    except (KeyboardInterrupt, _Stop):
        print(file=sys.stderr)
        return INTERRUPTED


def _measure_all(args: argparse.Namespace, chosen: List[workloads.Workload], cluster: target.Target) -> int:
    status = DONE
    session = Session(cluster, report.Progress())
    if not args.json:
        report.print_heading()
    for workload in chosen:
        result, line = session.measure(workload)
        report.print_json(line) if args.json else report.print_row(line)
        if not _explain(result, line):
            status = FAILED
        if result.interrupted:
            return INTERRUPTED
    return status


def _explain(result: Result, line: Dict[str, Any]) -> bool:
    """Say in words what a row cannot. Returns whether the result is one to be content with."""
    name = result.workload.name
    for kind, (count, example) in sorted(result.errors.items()):
        _say(f"{name}: {count} failed with {kind}; one of them: {example}")
    if "worst_gap_ms" in line:
        _say(
            f"{name}: the leader was killed; no client had a success for {line['worst_gap_ms']:g} ms, "
            f"and the first one after that came {line['recovery_ms']:g} ms after the kill"
        )
    elif line["elections"]:
        _say(f"{name}: {line['elections']} elections during the run")
    if not result.latencies.count:
        _say(f"{name}: no operation succeeded")
    return bool(result.latencies.count) and (result.workload.kill_leader or not result.failures)


def _chosen(args: argparse.Namespace) -> List[workloads.Workload]:
    """Raises ConfigError."""
    options = {name: getattr(args, name) for name in _OPTIONS}
    chosen = [workloads.changed(workloads.find(name), options) for name in args.names or ["put"]]
    if any(workload.kill_leader for workload in chosen) and args.local is None:
        raise ConfigError("a leader is killed only in a cluster of our own: give --local N")
    return chosen


def _target(args: argparse.Namespace) -> ContextManager[target.Target]:
    if args.local is None:
        if args.set or args.data_dir:
            raise ConfigError("--set and --data-dir are for a cluster of our own: give --local N")
        return target.running(args.config)
    return target.local(args.local, args.set, args.data_dir)


def _complain(error: Exception, status: int) -> int:
    _say(str(error))
    return status


def _say(text: str) -> None:
    print(f"kvbench: {text}", file=sys.stderr)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise _Stop


# -- the command line ----------------------------------------------------------------------------------------

_OPTIONS = (  # those that change a workload
    "clients", "connections", "processes", "in_flight", "batch", "value_size", "keys", "seconds", "warmup",
    "workload", "scan_rows", "load", "kill_leader",
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kvbench",
        description="Measure a raftkv cluster: a running one (--config), or one of its own (--local).",
    )
    parser.add_argument("names", metavar="WORKLOAD", nargs="*", help="...")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", metavar="FILE", help="the client.ini of a running cluster")
    where.add_argument("--local", metavar="N", type=_integer(1, MAX_NODES), help="start a cluster of N nodes")
    parser.add_argument("--set", metavar="SECTION.OPTION=VALUE", type=_setting, action="append", default=[])
    parser.add_argument("--data-dir", metavar="DIR")
    number = _integer(1, 10_000_000)
    for name in (
        "clients",
        "connections",
        "processes",
        "in-flight",
        "batch",
        "value-size",
        "keys",
        "scan-rows",
    ):
        parser.add_argument(f"--{name}", metavar="N", type=number)
    parser.add_argument("--seconds", metavar="S", type=_seconds)
    parser.add_argument("--warmup", metavar="S", type=_seconds)
    parser.add_argument("--workload", choices=sorted(workloads.READ_SHARES))
    parser.add_argument("--load", action="store_true", default=None)
    parser.add_argument("--kill-leader", action="store_true", default=None)
    parser.add_argument("--json", action="store_true", help="print each result as one line of JSON")
    parser.add_argument("--version", action="version", version=f"raftkv {__version__}")
    return parser


def _integer(minimum: int, maximum: int) -> Any:
    def integer(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {minimum} to {maximum}, not {text!r}"
            )
        return int(text)

    return integer


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 to 86400, not {text!r}")
    return value


def _setting(text: str) -> Any:
    name, equals, value = text.partition("=")
    section, dot, option = name.partition(".")
    if not equals or not dot or section not in ("raft", "limits"):
        raise argparse.ArgumentTypeError(
            f"must be raft.OPTION=VALUE or limits.OPTION=VALUE, as in the ini files, not {text!r}"
        )
    return section, option, value


if __name__ == "__main__":
    sys.exit(main())
