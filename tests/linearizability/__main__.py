"""python -m tests.linearizability FILE: is the history in FILE (JSON lines) linearizable?

Exit status: 0 it is; 1 it is not; 2 bad usage, or FILE is not a history; 3 unknown (not decided within the
limits).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.linearizability.checker import TIME_LIMIT_S, check
from tests.linearizability.history import HistoryError, read_history
from tests.linearizability.search import OK, UNKNOWN, VIOLATION


def main(argv: Sequence[str] | None = None) -> int:
    """Checks one file and prints the report on standard output. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.linearizability",
        description="Checks a history of get, put, append, delete and cas for linearizability.",
        epilog="Exit status: 0 ok; 1 violation; 2 bad usage or no history; 3 unknown. "
        "The format of FILE is defined in tests/linearizability/history.py.",
    )
    parser.add_argument("file", metavar="FILE", help="the history, JSON lines")
    parser.add_argument(
        "--time-limit",
        metavar="S",
        type=float,
        default=TIME_LIMIT_S,
        help="seconds to search (default %(default)g)",
    )
    arguments = parser.parse_args(argv)
    try:
        operations = read_history(arguments.file)
    except OSError as error:
        print(f"{arguments.file}: cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except HistoryError as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 2
    result = check(operations, arguments.time_limit)
    print(result)
    return {OK: 0, VIOLATION: 1, UNKNOWN: 3}[result.verdict]


if __name__ == "__main__":
    sys.exit(main())
