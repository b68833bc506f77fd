"""The command line of kvbench."""

from __future__ import annotations

import argparse
from typing import Any, Callable

from raftkv import __version__
from raftkv.bench import compare, workloads
from raftkv.bench.workloads import Workload
from raftkv.cli.cluster_files import MAX_NODES
from raftkv.errors import ConfigError

_EPILOG = f"""\
workloads (default: put), one after the other, each with a row of its own:
  put get append cas scan mixed     with the options below (default: 1 client)
  put1 put64 put256 get1 get64      so many clients
  inflight                          2 processes with 1000 puts under way each
  batch                             16 clients, 100 puts in a request
  outage                            kills the leader while 1 client writes

A client is a closed loop: it asks for the next operation when the last one is answered. The keys are
{workloads.KEY_RANGE}; what a running cluster holds under these is overwritten.

exit status: 0 done; 1 operations failed, or a run did; 2 bad usage or input; 3 cluster unavailable;
4 not authorised; 130 Ctrl-C, which still prints what was measured so far."""

_OPTIONS = (  # those that change a workload
    "clients", "connections", "processes", "idle", "in_flight", "batch", "value_size", "keys", "seconds",
    "warmup", "workload", "scan_rows", "load", "kill_leader",
)  # fmt: skip


def parse(argv: Any) -> tuple[argparse.Namespace, list[Workload]]:
    """The options, and the workloads with those that concern them. Raises ConfigError; bad usage ends the
    program, as argparse does."""
    args = _parser().parse_args(argv)
    options = {name: getattr(args, name) for name in _OPTIONS}
    names = args.names or (compare.WORKLOADS if args.compare else ["put"])
    chosen = [workloads.changed(workloads.find(name), options) for name in names]
    if args.local is None:
        if any(workload.kill_leader for workload in chosen):
            raise ConfigError("a leader is killed only in a cluster of our own: give --local N")
        if args.set:
            raise ConfigError("--set is for a cluster of our own: give --local N")
    return args, chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kvbench",
        usage="%(prog)s (--local N | --config FILE) [OPTION...] [WORKLOAD...]",
        description="Measure a raftkv cluster: one of its own, or one that runs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="WORKLOAD", nargs="*", help="see below")
    _add_cluster(parser.add_argument_group("the cluster"))
    _add_shape(parser.add_argument_group("the load"))
    _add_output(parser.add_argument_group("what is shown"))
    return parser


def _add_cluster(group: Any) -> None:
    where = group.add_mutually_exclusive_group(required=True)
    nodes = _integer(1, MAX_NODES)
    where.add_argument("--local", metavar="N", type=nodes, help="start N nodes in a temporary folder")
    where.add_argument("--config", metavar="FILE", help="use a running cluster; its client.ini")
    _add(group, "--data-dir", "DIR", str, "where the temporary folder is made: the disk that is measured")
    group.add_argument(
        "--set",
        metavar="SECTION.OPTION=VALUE",
        type=_setting,
        action="append",
        default=[],
        help="an option of the servers of --local, such as raft.max_raft_state=-1; may be repeated",
    )


def _add_shape(group: Any) -> None:
    number = _integer(1, 10_000_000)
    _add(group, "--clients", "N", number, "closed loops")
    _add(group, "--connections", "N", number, "that the clients share (default: one a process)")
    _add(group, "--processes", "N", number, "of clients (default: one a processor, at most 4)")
    _add(
        group,
        "--idle",
        "N",
        _integer(0, 10_000_000),
        "connections more, of clients that only stay connected (default 0)",
    )
    _add(group, "--in-flight", "K", number, "requests that each client has under way (default 1)")
    _add(group, "--batch", "B", number, "operations in a request: a pipeline (default 1)")
    _add(group, "--value-size", "BYTES", number, "default 16")
    _add(group, "--keys", "N", number, "how many keys there are (default 10000)")
    _add(group, "--scan-rows", "N", number, "that a scan reads (default 100)")
    _add(group, "--seconds", "S", _seconds(0.1), "of measurement (default 5)")
    _add(group, "--warmup", "S", _seconds(0.0), "seconds of load before it that do not count (default 1)")
    shares = sorted(workloads.READ_SHARES)
    group.add_argument(
        "--workload", choices=shares, help="of mixed: YCSB's, with 50, 95 or 100 %% reads (default a)"
    )
    flag: dict[str, Any] = {"action": "store_true", "default": None}
    group.add_argument("--load", help="write all keys before, also if the workload reads nothing", **flag)
    group.add_argument(
        "--kill-leader", help="kill -9 the leader after a third of the time; with --local", **flag
    )


def _add_output(group: Any) -> None:
    group.add_argument("--json", action="store_true", help="print each result as one line of JSON")
    group.add_argument("--quiet", action="store_true", help="no progress on standard error")
    group.add_argument(
        "--compare", action="store_true", help="measure the machine, too, and say how far from it we are"
    )
    group.add_argument("--version", action="version", version=f"raftkv {__version__}")


def _add(group: Any, name: str, metavar: str, kind: Callable[[str], Any], what: str) -> None:
    group.add_argument(name, metavar=metavar, type=kind, help=what)


def _integer(minimum: int, maximum: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {minimum} to {maximum}, not {text!r}"
            )
        return int(text)

    return integer


def _seconds(minimum: float) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not minimum <= value <= 86_400:
            raise argparse.ArgumentTypeError(
                f"must be a number of seconds from {minimum:g} to 86400, not {text!r}"
            )
        return value

    return seconds


def _setting(text: str) -> tuple[str, str, str]:
    name, equals, value = text.partition("=")
    section, dot, option = name.partition(".")
    if not equals or not dot or section not in ("raft", "limits"):
        raise argparse.ArgumentTypeError(
            f"must be raft.OPTION=VALUE or limits.OPTION=VALUE, as in the ini files, not {text!r}"
        )
    return section, option, value
