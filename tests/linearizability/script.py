"""Histories of one key, written down shortly: one event a line, `process what`.

a put 1      an invoke; so are: get, append 1, delete, cas 1 2 (- for an absent key)
a ok         an answer; `ok 1` to a get that read 1, `ok -` to one that found nothing, `ok yes` and `ok no` to
             delete and cas
a info       nobody knows what became of it
a fail       it certainly has no effect
"""

from __future__ import annotations

from typing import Any

from tests.linearizability.history import Operation, operations_of

_ANSWERS = {"-": None, "yes": True, "no": False}


def history(text: str, key: str = "x") -> list[Operation]:
    """The operations of a history in that notation."""
    events: list[dict[str, Any]] = []
    asked: dict[str, str] = {}
    for time, line in enumerate(text.strip().splitlines()):
        process, word, *rest = line.split()
        values = [_ANSWERS.get(value, value) for value in rest]
        type_ = word if word in ("ok", "info", "fail") else "invoke"
        if type_ == "invoke":
            asked[process] = word
        value = values if word == "cas" else values[0] if values else None
        events.append(
            {"process": process, "type": type_, "f": asked[process], "key": key, "value": value, "time": time}
        )
    return operations_of(events)
