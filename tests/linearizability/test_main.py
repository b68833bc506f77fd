"""python -m tests.linearizability FILE: what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def line(process: int, type_: str, f: str, value: Any) -> str:
    return json.dumps({"process": process, "type": type_, "f": f, "key": "x", "value": value, "time": 0.0})


GOOD = [line(1, "invoke", "put", "a"), line(1, "ok", "put", "a"), line(2, "invoke", "get", None)]


def run(*args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.linearizability", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "last, status, says",
    [
        (line(2, "ok", "get", "a"), 0, "ok: 2 operations"),
        (line(2, "ok", "get", "b"), 1, "violation"),
        ("{not JSON", 2, "line 4"),
        (line(3, "ok", "get", "a"), 2, "line 4"),
    ],
    ids=["good", "bad", "no JSON", "an answer to nothing"],
)
def test_a_file(tmp_path: Path, last: str, status: int, says: str) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join([*GOOD, last]) + "\n")
    done = run(str(file))
    assert done.returncode == status
    assert says in (done.stderr if status == 2 else done.stdout)
    assert "Traceback" not in done.stderr


def test_undecided_is_an_exit_status_of_its_own(tmp_path: Path) -> None:
    """Thirty appends at once, read in the order in which they were not begun: there are 30! to try."""
    file = tmp_path / "history.jsonl"
    appends = [line(n, "invoke", "append", f"{n};") for n in range(30)]
    appends += [line(n, "ok", "append", f"{n};") for n in range(30)]
    read = "".join(f"{n};" for n in reversed(range(30)))
    file.write_text(
        "\n".join([*appends, line(99, "invoke", "get", None), line(99, "ok", "get", read)]) + "\n"
    )
    done = run("--time-limit", "0", str(file))
    assert (done.returncode, done.stdout[:7]) == (3, "unknown")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none.jsonl"))
    assert done.returncode == 2 and "cannot be read" in done.stderr and "Traceback" not in done.stderr
