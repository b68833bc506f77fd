"""This tree against another one, both measured in turns: so a machine whose speed drifts is fair to both.

    python -m raftkv.bench.pairs ../other-tree put1 put64 --pairs 20
    python -m raftkv.bench.pairs ../other-tree put64 --at-once --seconds 5 --pairs 6

On a machine that others use, too, the median of 20 pairs in turns still strays by 5 %. Measured at once, both have the same share of
the machine at each moment; the rates are then those of half a machine.
Short runs may see no snapshot, which is written after each 32 MiB of log: put64 takes `--seconds 10` for that.

A row a workload: the medians of both, and the median of the ratios pair by pair, this one to the other, for the
rate and for the processor time of all servers an operation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

_HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_KEYS = ("ops_per_s", "server_us")


def main(argv: list[str] | None = None) -> int:
    """Measure, and print the table. Returns the exit status: 1 if a run failed."""
    parser = argparse.ArgumentParser("raftkv.bench.pairs", description=__doc__.partition("\n")[0])
    parser.add_argument("other", metavar="TREE", help="another checkout of raftkv")
    parser.add_argument("workloads", metavar="WORKLOAD", nargs="+", help="as for kvbench")
    parser.add_argument("--pairs", metavar="N", type=int, default=20, help="how many of each (default 20)")
    parser.add_argument(
        "--seconds", metavar="S", default="1", help="of each measurement, and before it (default 1)"
    )
    parser.add_argument("--nodes", metavar="N", default="3", help="of each cluster (default 3)")
    parser.add_argument("--at-once", action="store_true", help="measure both at the same time")
    args = parser.parse_args(argv)
    runs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    try:
        for pair in range(args.pairs):
            order = 1 if pair % 2 else -1  # each of them is first in turns
            with ThreadPoolExecutor(2 if args.at_once else 1) as pool:
                ours, other = [*pool.map(partial(_measure, args), [_HERE, args.other][::order])][::order]
            runs.append((ours, other))
    except subprocess.CalledProcessError as error:
        print(f"pairs: kvbench ended with {error.returncode}: {error.stderr.strip()}", file=sys.stderr)
        return 1
    print(f"{'':<12}{'rate':>10}{'other':>10}{'ratio':>8}{'server us':>12}{'other':>10}{'ratio':>8}")
    for name in args.workloads:
        print(
            f"{name:<12}" + "".join(_columns(runs, name, key, width) for key, width in zip(_KEYS, (10, 12)))
        )
    return 0


def _measure(args: argparse.Namespace, tree: str) -> dict[str, Any]:
    """The results of one run in `tree`, by workload."""
    command = [sys.executable, "bin/kvbench.py", "--local", args.nodes, "--json", "--quiet"]
    command += ["--seconds", args.seconds, "--warmup", args.seconds, *args.workloads]
    done = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True)
    return {line["workload"]: line for line in map(json.loads, done.stdout.splitlines())}


def _columns(runs: list[tuple[dict[str, Any], dict[str, Any]]], name: str, key: str, width: int) -> str:
    pairs = [(ours[name].get(key), other[name].get(key)) for ours, other in runs]
    known = [(ours, other) for ours, other in pairs if ours and other]
    if not known:
        return f"{'-':>{width}}{'-':>10}{'-':>8}"
    ours, other = (statistics.median(column) for column in zip(*known))
    ratio = statistics.median(ours / other for ours, other in known)
    return f"{ours:>{width},.1f}{other:>10,.1f}{ratio:>8.3f}"


if __name__ == "__main__":
    sys.exit(main())
