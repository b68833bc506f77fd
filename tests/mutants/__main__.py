"""python -m tests.mutants: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.mutants import __doc__ as tutorial
from tests.mutants.mutant import Mutant
from tests.mutants.run import Result, try_all
from tests.mutants.table import BY_NAME, MUTANTS


def main(argv: Sequence[str] | None = None) -> int:
    """0: all were caught. 1: not all. 130: stopped by Ctrl-C."""
    parser = argparse.ArgumentParser(
        "python -m tests.mutants",
        description=tutorial,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="MUTANT", help="only these (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in BY_NAME]
    if unknown:
        parser.error(f"there is no mutant {unknown[0]!r}; --list says what there is")
    mutants = [BY_NAME[name] for name in options.names] or MUTANTS
    if options.list:
        print("\n".join(f"{mutant.name:50} {mutant.change}" for mutant in mutants))
        return 0
    results: dict[str, Result] = {}
    started = time.monotonic()
    try:
        for mutant, result in try_all(mutants, options.jobs):
            results[mutant.name] = result
            why = f": {result.problem}" if result.problem else ""
            print(f"{len(results):3}/{len(mutants)}  {mutant.name} {verdict(result)}{why}", flush=True)
    except KeyboardInterrupt:
        return 130
    print("\n| mutant | traps | what is broken | caught by | outcome |", "| --- " * 5 + "|", sep="\n")
    for mutant in mutants:
        print(row(mutant, results[mutant.name]))
    missed = [mutant.name for mutant in mutants if results[mutant.name].problem]
    print(f"\n{len(mutants) - len(missed)} of {len(mutants)} caught, in {time.monotonic() - started:.0f} s")
    if missed:
        print(f"not caught: {', '.join(missed)}")
    return 1 if missed else 0


def verdict(result: Result) -> str:
    if result.problem:
        return "NOT CAUGHT"
    return f"caught{f' by seed {result.seeds}' if result.seeds else ''} in {result.seconds:.1f} s"


def row(mutant: Mutant, result: Result) -> str:
    """Its line in the table."""
    cells = (mutant.name, mutant.traps, mutant.change, mutant.test or "simulator", verdict(result))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
