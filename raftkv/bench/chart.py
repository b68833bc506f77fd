"""Draws a chart from what kvbench --json printed:

python -m raftkv.bench.chart --x clients --y ops_per_s results.jsonl -o rate.svg
python -m raftkv.bench.chart --x keys --y p50_us --y p99_us --log-x results.jsonl -o out.svg
python -m raftkv.bench.chart --x nodes --y ops_per_s --by workload results.jsonl -o nodes.svg

Lines with the same x are runs of the same thing: their median is drawn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

from raftkv.bench.picture import write
from raftkv.bench.svg import Axis, Series, document, line_chart, short_number
from raftkv.cli.commands import BAD_INPUT, DONE
from raftkv.errors import ConfigError

_FEW = 12  # values of x: each gets a tick of its own

Lines = list[dict[str, Any]]


def main(argv: list[str] | None = None) -> int:
    """Draw the chart. Returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        lines = [line for path in args.files for line in _read(path)]
        series = _series(lines, args.x, args.y, args.by)
        values = sorted({x for one in series for x, _ in one.points})
        ticks = [(value, short_number(value)) for value in values] if len(values) <= _FEW else None
        x = Axis(args.x_label or args.x, log=args.log_x, ticks=ticks)
        y = Axis(args.y_label or ", ".join(args.y), log=args.log_y)
        write(args.output, document([line_chart(args.title or f"{y.label} by {x.label}", x, y, series)]))
    except ConfigError as error:
        print(f"chart: {error}", file=sys.stderr)
        return BAD_INPUT
    return DONE


def _read(path: str) -> Lines:
    lines = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                line = json.loads(text) if text.strip() else {}
                if not isinstance(line, dict):
                    raise ConfigError(f"{path}: line {number} is no JSON object")
                lines.append(line)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: line {number} is not JSON: {error}") from None
    return lines


def _series(lines: Lines, x: str, ys: list[str], by: str | None) -> list[Series]:
    """One for each of `ys` and value of the field `by`. Raises ConfigError if there is nothing to draw."""
    series = []
    groups = list(dict.fromkeys(line.get(by or "") for line in lines))
    for group in groups:
        for y in ys:
            found: dict[float, list[float]] = {}
            for line in lines:
                if line.get(by or "") == group and _is_number(line.get(x)) and _is_number(line.get(y)):
                    found.setdefault(line[x], []).append(line[y])
            name = y if not by else str(group) if len(ys) == 1 else f"{group} {y}"
            if found:
                series.append(Series(name, [(at, statistics.median(found[at])) for at in sorted(found)]))
    if not series:
        raise ConfigError(f"no line has numbers for both {x} and {' or '.join(ys)}")
    return series


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m raftkv.bench.chart", description="Draw a chart from lines of JSON that kvbench printed."
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="lines of JSON")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the SVG file to write")
    parser.add_argument("--x", metavar="FIELD", required=True, help="what the x axis shows, such as clients")
    parser.add_argument(
        "--y",
        metavar="FIELD",
        action="append",
        required=True,
        help="what a line shows, such as p99_us; may be repeated",
    )
    parser.add_argument("--by", metavar="FIELD", help="a line of its own for each value of this field")
    parser.add_argument("--log-x", action="store_true", help="a logarithmic x axis")
    parser.add_argument("--log-y", action="store_true", help="a logarithmic y axis")
    parser.add_argument("--title", metavar="TEXT")
    parser.add_argument("--x-label", metavar="TEXT")
    parser.add_argument("--y-label", metavar="TEXT")
    return parser


if __name__ == "__main__":
    sys.exit(main())
