"""python -m tests.mutants: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.mutants import __doc__ as tutorial
from tests.mutants.mutant import Mutant
from tests.mutants.report import lines, markdown, summary
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
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/testing.md has it")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in BY_NAME]
    if unknown:
        parser.error(f"there is no mutant {unknown[0]!r}; --list says what there is")
    mutants = [BY_NAME[name] for name in options.names] or MUTANTS
    if options.list:
        print("\n".join(f"{mutant.name:45} {mutant.change}" for mutant in mutants))
        return 0
    results: dict[Mutant, Result] = {}
    started = time.monotonic()
    try:
        for mutant, result in try_all(mutants, options.jobs):
            results[mutant] = result
            print(f"{len(results):3}/{len(mutants)}  {mutant.name}: {summary(mutant, result)}", flush=True)
    except KeyboardInterrupt:
        return 130
    results = {mutant: results[mutant] for mutant in mutants}
    print("\n" + "\n".join(markdown(results) if options.markdown else lines(results)))
    missed = [mutant.name for mutant, result in results.items() if result.problem]
    print(f"\n{len(results) - len(missed)} of {len(results)} caught, in {time.monotonic() - started:.0f} s")
    if missed:
        print(f"not caught: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
