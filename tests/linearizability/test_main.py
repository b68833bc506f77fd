"""python -m tests.linearizability FILE: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.linearizability.__main__ import main


def line(process: int, type_: str, f: str, value: Any) -> str:
    return json.dumps({"process": process, "type": type_, "f": f, "key": "x", "value": value, "time": 0.0})


GOOD = [line(1, "invoke", "put", "a"), line(1, "ok", "put", "a"), line(2, "invoke", "get", None)]


@pytest.mark.parametrize(
    "last, status, says",
    [
        (line(2, "ok", "get", "a"), 0, "ok: 2 operations"),
        (line(2, "ok", "get", "b"), 1, "violation"),
        ("{not JSON", 2, "line 4"),
        (line(3, "ok", "get", "a"), 2, "line 4"),
        (None, 2, "cannot be read"),
    ],
    ids=["good", "bad", "no JSON", "an answer to nothing", "no file"],
)
def test_a_file(
    tmp_path: Path, last: str | None, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "history.jsonl"
    if last is not None:
        file.write_text("\n".join([*GOOD, last]) + "\n")
    assert main([str(file)]) == status
    out, err = capsys.readouterr()
    assert says in (err if status == 2 else out)


def test_undecided_is_an_exit_status_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty appends at once, read in the order in which they were not begun: there are 30! to try."""
    file = tmp_path / "history.jsonl"
    events = [line(n, type_, "append", f"{n};") for type_ in ("invoke", "ok") for n in range(30)]
    read = "".join(f"{n};" for n in reversed(range(30)))
    events += [line(99, "invoke", "get", None), line(99, "ok", "get", read)]
    file.write_text("\n".join(events) + "\n")
    assert main(["--time-limit", "0", str(file)]) == 3
    assert capsys.readouterr().out.startswith("unknown: 31 operations on 1 keys; given up on the key")
