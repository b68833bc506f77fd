"""What came of the mutants, for people: lines, and the table of docs/testing.md."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.run import Result

_WIDTH = 110

Results = dict[Mutant, Result]


def summary(mutant: Mutant, result: Result) -> str:
    """One line."""
    if result.problem:
        return f"NOT CAUGHT: {result.problem}"
    return f"caught {_after(mutant, result)}: {result.complaint}"[:_WIDTH]


def lines(results: Results) -> list[str]:
    """A table for a terminal."""
    return [
        f"{mutant.name:45} {mutant.traps:6} "
        f"{'NOT CAUGHT' if result.problem else _after(mutant, result):34} {mutant.test or 'simulator'}"
        for mutant, result in results.items()
    ]


def markdown(results: Results) -> list[str]:
    """The table of docs/testing.md."""
    head = ["| sabotage | traps | what is broken | caught by |", "| --- | --- | --- | --- |"]
    return head + [
        f"| {mutant.name} | {mutant.traps.replace(' ', ', ')} | {mutant.change} | {_cell(mutant, result)} |"
        for mutant, result in results.items()
    ]


def _cell(mutant: Mutant, result: Result) -> str:
    if result.problem:
        return "**not caught**"
    if mutant.test:
        return f"`{mutant.test.replace('tests/', '', 1)}`, {result.seconds:.0f} s"
    return f"simulator, {_seeds(mutant, result)}"


def _after(mutant: Mutant, result: Result) -> str:
    within = f"in {result.seconds:.1f} s"
    return within if mutant.test else f"{_seeds(mutant, result)}, {within}"


def _seeds(mutant: Mutant, result: Result) -> str:
    return f"after {result.seeds} {'seed' if result.seeds == 1 else 'seeds'} (of {mutant.within})"
