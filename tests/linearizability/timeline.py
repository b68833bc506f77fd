"""Operations as text: one row each, a bar from its invoke to its answer, in the order of the events.

The bars are drawn to order, not to scale: each event has a column of its own, so what overlaps in time
overlaps on paper and what does not does not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.linearizability.history import NEVER, Operation

MAX_ROWS = 40
MAX_TEXT = 40  # characters of one value
_WIDTH = 60  # characters for the bars, as far as their events fit in there


def timeline(operations: Sequence[Operation], marked: Operation | None = None) -> str:
    """The operations in the order of their invokes; of more than MAX_ROWS the last. `marked` gets an
    arrow."""
    rows = sorted(operations, key=lambda o: o.invoked)[-MAX_ROWS:]
    events = sorted({o.invoked for o in rows} | {o.returned for o in rows})
    step = max(1, min(5, _WIDTH // len(events)))
    column = {event: number * step for number, event in enumerate(events)}
    names = [f"process {o.process}" for o in rows]
    texts = [describe(o) for o in rows]
    name_width, text_width = max(map(len, names)), max(map(len, texts))
    lines: list[str] = []
    if len(operations) > len(rows):
        lines.append(f"(the last {len(rows)} of {len(operations)})")
    for operation, name, text in zip(rows, names, texts):
        bar = " " * column[operation.invoked] + "|"
        bar = bar.ljust(column[operation.returned], "~" if operation.returned == NEVER else "-")
        bar += ">" if operation.returned == NEVER else "|"
        times = f"{operation.invoke_time:.6g} .. " + (
            "" if operation.return_time is None else f"{operation.return_time:.6g}"
        )
        arrow = "  <-- fits nowhere" if operation == marked else ""
        line = f"{name:<{name_width}}  {text:<{text_width}}  {bar:<{column[events[-1]] + 1}}  {times}{arrow}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def describe(operation: Operation) -> str:
    """What was asked, and what the answer was."""
    if operation.f in ("get", "delete"):
        asked = operation.f
    elif operation.f == "cas":
        asked = f"cas {quoted(operation.value[0])} to {quoted(operation.value[1])}"
    else:
        asked = f"{operation.f} {quoted(operation.value)}"
    if operation.outcome != "ok":
        return f"{asked}: {'failed' if operation.outcome == 'fail' else 'no answer'}"
    if operation.f == "get":
        return f"{asked}: {quoted(operation.result)}"
    if operation.result is None:
        return f"{asked}: done"
    if operation.f == "delete":
        return f"{asked}: {'it existed' if operation.result else 'it did not exist'}"
    return f"{asked}: {'swapped' if operation.result else 'not equal'}"


def quoted(value: str | None) -> str:
    """A value in ASCII, long ones cut in the middle."""
    if value is None:
        return "(absent)"
    if len(value) <= MAX_TEXT:
        return json.dumps(value)
    half = MAX_TEXT // 2
    return f"{json.dumps(value[:half])}...{json.dumps(value[-half:])} ({len(value)} characters)"
