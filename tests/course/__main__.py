"""python -m tests.course: run course tests with many seeds, or one with its trace, and print the figures."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Callable

from tests.course import test_kv_3a, test_kv_3b, test_raft_2a, test_raft_2b, test_raft_2c, test_raft_2d
from tests.course.run import ROUNDS, Run

Test = Callable[[Run], None]
MODULES = (test_raft_2a, test_raft_2b, test_raft_2c, test_raft_2d, test_kv_3a, test_kv_3b)
TESTS: dict[str, Test] = {}
for module in MODULES:
    for name, test in vars(module).items():
        if name == "test_variant":
            TESTS.update({variant: partial(test, variant) for variant in vars(module)["VARIANTS"]})
        elif name.startswith("test_"):
            TESTS[name[len("test_") :]] = test


def main(argv: Sequence[str] | None = None) -> int:
    """0: all passed. 1: not all. 130: stopped by Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.course", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="TEST", help="as in the table, for example backup (default: all)"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--start", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        help=f"of most tests of lab 3 (default: {ROUNDS}, as the course)",
    )
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in TESTS]
    if unknown:
        parser.error(f"there is no test {unknown[0]}; the tests are {', '.join(TESTS)}")
    os.environ["RAFTKV_CHECK"] = "1"
    try:
        results = [_run_seeds(name, options) for name in options.names or TESTS]
    except KeyboardInterrupt:
        return 130
    return 0 if all(results) else 1


def _run_seeds(name: str, options: argparse.Namespace) -> bool:
    """Print one line: how many seeds passed, and the range of each figure."""
    start, seeds, failed = options.start, options.seeds, 0
    ranges: dict[tuple[str, float | None], list[float]] = {}
    for seed in range(start, start + seeds):
        run = Run(name, seed, print if options.trace else None, options.rounds)
        try:
            TESTS[name](run)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(
                f"{name} failed: python -m tests.course {name} --start {seed} --rounds {options.rounds} --trace",
                file=sys.stderr,
            )
        finally:
            run.close()
        for figure in run.figures:
            ranges.setdefault((figure.what, figure.limit), []).append(figure.value)
    figures = "; ".join(
        f"{what}: {_range(values)}{_limit(limit)}" for (what, limit), values in ranges.items()
    )
    print(f"{name:66} {seeds - failed}/{seeds}  {figures}", flush=True)
    return not failed


def _range(values: Sequence[float]) -> str:
    least, most = (
        f"{value:.3g}" if isinstance(value, float) else str(value) for value in (min(values), max(values))
    )
    return least if least == most else f"{least} to {most}"


def _limit(limit: float | None) -> str:
    return (
        ""
        if limit is None
        else f" (at most {limit:.4g})"
        if isinstance(limit, float)
        else f" (at most {limit})"
    )


if __name__ == "__main__":
    sys.exit(main())
