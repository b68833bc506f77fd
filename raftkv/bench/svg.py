"""Line charts as SVG, in nothing but text: readable in light and in dark surroundings, since they bring their
own white background."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 360  # of one chart, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 58, 48  # what is kept free round the lines
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito's
_MARKED = 40  # a line of so many points or fewer shows each as a dot
_TICK_GAP_X, _TICK_GAP_Y = 40, 18  # pixels between the labels of two ticks, at least

Point = tuple[float, Optional[float]]  # a y of None breaks the line
Tick = tuple[float, str]


class Series(NamedTuple):
    """One line."""

    name: str
    points: Sequence[Point]


class Axis(NamedTuple):
    """What an axis shows. A logarithmic one leaves out what is not above 0."""

    label: str
    log: bool = False
    ticks: Sequence[Tick] | None = None  # None: found by themselves


class _Scale:
    """Where a value stands between two pixels."""

    def __init__(self, axis: Axis, values: Sequence[float], first: float, last: float) -> None:
        low, high = min(values, default=1.0), max(values, default=1.0)
        if axis.log:
            self._shape: Callable[[float], float] = math.log10
        else:
            low, self._shape = min(0.0, low), float
        if axis.ticks is None:
            self.ticks = _log_ticks(low, high) if axis.log else _linear_ticks(low, high)
            low, high = min(low, self.ticks[0][0]), max(high, self.ticks[-1][0])
        else:
            self.ticks = [tick for tick in axis.ticks if low <= tick[0] <= high]
        start, end = self._shape(low), self._shape(high)
        self._start, self._first = start, first
        self._factor = (last - first) / (end - start) if end > start else 0.0

    def __call__(self, value: float) -> float:
        return self._first + (self._shape(value) - self._start) * self._factor


def line_chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """The inside of an SVG of WIDTH x HEIGHT pixels."""
    shown = [Series(name, [point for point in points if _fits(point, x, y)]) for name, points in series]
    points = [point for one in shown for point in one.points]
    to_x = _Scale(x, [px for px, _ in points], _LEFT, WIDTH - _RIGHT)
    to_y = _Scale(y, [py for _, py in points if py is not None], HEIGHT - _BOTTOM, _TOP)
    parts = [_text(_LEFT, 22, title, size=15), *_grid(to_x, to_y)]
    parts += [
        _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 10, x.label, anchor="middle"),
        f'<g transform="translate(16 {(_TOP + HEIGHT - _BOTTOM) / 2}) rotate(-90)">'
        + _text(0, 0, y.label, anchor="middle")
        + "</g>",
    ]
    at_x = float(_LEFT)
    for number, one in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        parts += _line(one.points, to_x, to_y, colour)
        parts.append(_rule(at_x, 40, at_x + 18, 40, colour, 3))
        parts.append(_text(at_x + 24, 44, one.name))
        at_x += 48 + 7 * len(one.name)
    return "\n".join(parts)


def document(charts: Sequence[str]) -> str:
    """A whole SVG file, with the charts one below the other."""
    height = HEIGHT * len(charts)
    body = "\n".join(
        f'<g transform="translate(0 {HEIGHT * number})">\n{chart}\n</g>'
        for number, chart in enumerate(charts)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def short_number(value: float) -> str:
    """0.25, 1024, 10k, 1.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and abs(value) >= 10_000:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


# -- ticks ---------------------------------------------------------------------------------------------------


def _linear_ticks(low: float, high: float) -> list[Tick]:
    """Multiples of 1, 2 or 5 times a power of ten, about six of them, from not above `low` to not below
    `high`."""
    span = (high - low) or 1.0
    rough = span / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil((low + span) / step)
    return [(number * step, short_number(number * step)) for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[Tick]:
    """Powers of ten; with what is between them too, if there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    before = max((value for value in values if value <= low), default=values[0])
    after = min((value for value in values if value >= high), default=values[-1])
    return [(value, short_number(value)) for value in values if before <= value <= after]


# -- pieces --------------------------------------------------------------------------------------------------


def _fits(point: Point, x: Axis, y: Axis) -> bool:
    px, py = point
    return not (x.log and px <= 0) and not (y.log and py is not None and py <= 0)


def _grid(to_x: _Scale, to_y: _Scale) -> list[str]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for at, label in _spread(to_x, _TICK_GAP_X):
        parts += [_rule(at, _TOP, at, bottom), _text(at, bottom + 16, label, anchor="middle", size=11)]
    for at, label in _spread(to_y, _TICK_GAP_Y):
        parts += [_rule(_LEFT, at, right, at), _text(_LEFT - 6, at + 4, label, anchor="end", size=11)]
    return [
        *parts,
        _rule(_LEFT, bottom, right, bottom, "#444444"),
        _rule(_LEFT, _TOP, _LEFT, bottom, "#444444"),
    ]


def _spread(scale: _Scale, gap: float) -> list[tuple[float, str]]:
    """The ticks' pixels and labels, without those that would be drawn over the one before."""
    result: list[tuple[float, str]] = []
    for value, label in sorted(scale.ticks):
        at = scale(value)
        if not result or abs(at - result[-1][0]) >= gap:
            result.append((at, label))
    return result


def _line(points: Sequence[Point], to_x: _Scale, to_y: _Scale, colour: str) -> list[str]:
    pieces: list[list[str]] = [[]]
    for px, py in points:
        if py is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{to_x(px):.1f},{to_y(py):.1f}")
    style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"'
    parts = [f'<polyline points="{" ".join(piece)}" {style}/>' for piece in pieces if len(piece) > 1]
    few = len(points) <= _MARKED
    for piece in pieces:
        for dot in piece if few or len(piece) == 1 else ():
            at_x, at_y = dot.split(",")
            parts.append(f'<circle cx="{at_x}" cy="{at_y}" r="3" fill="{colour}"/>')
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str = "#e2e2e2", width: float = 1) -> str:
    at = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {at} stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {at} fill="#222222">{escape(text)}</text>'
