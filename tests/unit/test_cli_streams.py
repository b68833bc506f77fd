"""Programs that are started with their standard streams closed, as some service managers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WHAT_IT_SEES = """
import os, sys
from raftkv.cli.streams import open_standard_streams
open_standard_streams()
sys.stdin.read(), print("lost"), print("lost", file=sys.stderr)
inherited, next_free = [os.get_inheritable(number) for number in (0, 1, 2)], os.open(os.devnull, os.O_RDONLY)
print(inherited, next_free > 2, file=open(sys.argv[1], "w"))
"""


def run_closed(*args: str) -> int:
    """The exit status of a Python with none of the three streams."""
    return subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, *args], cwd=ROOT, timeout=60
    ).returncode


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_closed_standard_streams_are_opened_and_go_nowhere(tmp_path: Path) -> None:
    saw = tmp_path / "saw"
    assert run_closed("-c", WHAT_IT_SEES, str(saw)) == 0
    assert saw.read_text() == "[True, True, True] True\n"


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize("program", ["kvserver.py", "kvclient.py", "kvcluster.py", "kvbench.py"])
def test_a_program_without_them_ends_as_it_should(program: str, tmp_path: Path) -> None:
    missing, no_folder = str(tmp_path / "missing.ini"), tmp_path / "file"
    no_folder.touch()
    args = {
        "kvserver.py": [missing],
        "kvclient.py": ["--config", missing, "get", "k"],
        "kvcluster.py": ["--data-dir", str(no_folder)],
        "kvbench.py": ["--config", missing, "put1"],
    }[program]
    assert run_closed(f"bin/{program}", *args) == 2
