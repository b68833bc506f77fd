"""python -m tests.explore: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Optional

from tests.explore import __doc__ as tutorial
from tests.explore.scenario import Scenario
from tests.explore.scenarios import BY_NAME
from tests.explore.search import Limits, Result, Search
from tests.explore.trace import readable, told
from tests.mutants.breaking import in_force
from tests.mutants.table import BY_NAME as MUTANTS


def main(argv: Sequence[str] | None = None) -> int:
    """0: nothing was wrong. 1: something was. 130: stopped by Ctrl-C."""
    options = _parser().parse_args(argv)
    for name, known in [*((name, BY_NAME) for name in options.names), (options.mutant, {None: 0, **MUTANTS})]:
        if name not in known:
            _parser().error(f"there is no {name!r}; see --list, and python -m tests.mutants --list")
    scenarios = [BY_NAME[name].with_more(options.more) for name in options.names or BY_NAME]
    if options.list:
        print("\n".join(f"{each.name:15} {each.about}" for each in scenarios))
        return 0
    try:
        if options.replay is not None:
            return _replay(scenarios[0], options.replay, options.mutant)
        return _explore(scenarios, options)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.explore", description=tutorial, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="only these (default: all)")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all together (default: 10)")
    parser.add_argument(
        "--states", type=int, default=3_000_000, help="of a scenario, at most (default: 3,000,000)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--more", type=int, default=0, help="add this to each bound")
    parser.add_argument("--mutant", help="break the product first")
    parser.add_argument("--replay", type=_numbers, metavar="PATH", help="say what happens on a path")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)


@contextmanager
def _broken(mutant: str | None) -> Iterator[None]:
    if mutant is None:
        yield
    else:
        with in_force(MUTANTS[mutant].breakage):
            yield


def explore(scenario: Scenario, limits: Limits, mutant: Optional[str] = None) -> Result:  # noqa: UP045
    with _broken(mutant):
        return Search(scenario).run(limits)


def _replay(scenario: Scenario, path: Sequence[int], mutant: str | None) -> int:
    last = ""
    with _broken(mutant):
        for last in told(scenario, path):
            print(last)
    return 1 if last.startswith("VIOLATION") else 0


def _explore(scenarios: Sequence[Scenario], options: argparse.Namespace) -> int:
    turns = -(-len(scenarios) // options.jobs)
    limits = Limits(options.states, options.minutes * 60 / turns)
    results: dict[str, Result] = {}
    print("| scenario | states | transitions | depth | states/s | outcome |", "| --- " * 6 + "|", sep="\n")
    with ProcessPoolExecutor(options.jobs) as pool:
        todo = {pool.submit(explore, each, limits, options.mutant): each for each in scenarios}
        for future in as_completed(todo):
            scenario, result = todo[future], future.result()
            results[scenario.name] = result
            print(_row(scenario, result), flush=True)
    for scenario in scenarios:
        if results[scenario.name].violation:
            _print_violation(scenario, results[scenario.name], options)
    states = sum(result.states for result in results.values())
    deepest = max(result.depth for result in results.values())
    print(f"\n{states:,} distinct states, up to {deepest} events deep (and those of the scripts)")
    return 1 if any(result.violation for result in results.values()) else 0


def _row(scenario: Scenario, result: Result) -> str:
    outcome = "all within the bounds" if result.is_complete else "not all"
    if result.violation:
        outcome = "VIOLATION"
    pace = result.states / max(result.seconds, 1e-9)
    cells = (
        scenario.name,
        f"{result.states:,}",
        f"{result.transitions:,}",
        f"{result.depth}",
        f"{pace:,.0f}",
    )
    return f"| {' | '.join(cells)} | {outcome} |"


def _print_violation(scenario: Scenario, result: Result, options: argparse.Namespace) -> None:
    print(f"\n{scenario.name}: {readable(result.violation)}")
    with _broken(options.mutant):
        print("\n".join(f"    {line}" for line in told(scenario, result.path)))
    path = ",".join(map(str, result.path))
    rest = f" --more {options.more}" if options.more else ""
    rest += f' --mutant "{options.mutant}"' if options.mutant else ""
    print(f"to see it again: python -m tests.explore {scenario.name} --replay {path or ','}{rest}")


if __name__ == "__main__":
    sys.exit(main())
