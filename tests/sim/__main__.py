"""python -m tests.sim: run many seeds, or one with its trace. See the package's docstring."""

from __future__ import annotations

import argparse
import sys

from tests.sim import __doc__ as tutorial
from tests.sim.plan import SIZES
from tests.sim.report import Report
from tests.sim.runner import Case, fresh_start, run, run_many
from tests.sim.server_faults import PLACES
from tests.sim.shrink import Shrinker


def main(argv: list[str] | None = None) -> int:
    """0: nothing was wrong. 1: something was. 130: stopped by Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        if options.shrink is not None:
            return _shrink(_case(options, options.shrink))
        if options.replay is not None:
            return 1 if run(_case(options, options.replay), print).failure else 0
        return _run_many(options)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.sim", description=tutorial, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, help="how many (default: 1000, or as many as --minutes allows)")
    parser.add_argument("--start", type=int, help="the first seed (default: of the clock)")
    parser.add_argument("--minutes", type=float, help="end after so many")
    parser.add_argument("--servers", type=_numbers, default=SIZES, help="sizes of clusters (default: 1 to 7)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed, and print all that happens")
    parser.add_argument(
        "--shrink", type=int, metavar="SEED", help="find the few faults that make a seed fail"
    )
    parser.add_argument("--events", type=int, help="the faults end after so many (default: the seed decides)")
    parser.add_argument(
        "--only", type=_numbers, help="only these faults strike (numbers as in the trace, or: none)"
    )
    parser.add_argument("--mutant", help="break the product first (python -m tests.mutants --list)")
    parser.add_argument("--places", type=_places, default=(), help="where servers die (default: anywhere)")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(int(word) for word in text.split(","))


def _places(text: str) -> tuple[str, ...]:
    places = tuple(text.split(","))
    if not {*places} <= {*PLACES}:
        raise argparse.ArgumentTypeError(f"some of: {', '.join(PLACES)}")
    return places


def _case(options: argparse.Namespace, seed: int) -> Case:
    return Case(seed, options.servers, options.events, options.only, options.mutant, options.places)


def _run_many(options: argparse.Namespace) -> int:
    start = options.start if options.start is not None else fresh_start()
    seeds = options.seeds if options.seeds is not None or options.minutes is not None else 1000
    print(f"seeds from {start} on", flush=True)
    report = Report()
    try:
        for outcome in run_many(_case(options, start), seeds, options.minutes, options.jobs):
            report.add(outcome)
    finally:
        print(report.summary())
    return 1 if report.failures else 0


def _shrink(case: Case) -> int:
    outcome = Shrinker(case, lambda line: print(line, flush=True)).shrink()
    if outcome.failure is None:
        print(f"seed {case.seed} does not fail")
        return 0
    print(f"the smallest that was found: {outcome.case.command()}\n    {outcome.failure}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
