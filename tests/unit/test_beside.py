"""The second pytest of the test command (tests/beside.py): its failure is the run's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import beside

PASSES, FAILS = "def test_it(): pass\n", "def test_it(): assert 1 == 2\n"


def run(folder: Path, first: str, second: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The test command in a copy of the project, the only tests of which are `first` and `second`."""
    for name in (*beside.FOLDERS, "unit"):
        (folder / "tests" / name).mkdir(parents=True)
    for name in ("setup.cfg", "tests/__init__.py", "tests/conftest.py", "tests/beside.py"):
        shutil.copy(beside.ROOT / name, folder / name)
    (folder / "raftkv").symlink_to(beside.ROOT / "raftkv")
    (folder / "tests/unit/test_first.py").write_text(first)
    (folder / "tests/raft/test_second.py").write_text(second)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("first", "second", "arguments", "status"),
    [
        (PASSES, PASSES, (), 0),
        (PASSES, FAILS, (), 1),
        (FAILS, PASSES, (), 1),
        (PASSES, "import no_such_module\n", (), 1),
        (PASSES, FAILS, ("-k", "first"), 0),
        (PASSES, FAILS, ("-k", "second"), 1),
        (PASSES, PASSES, ("-k", "neither"), 5),
    ],
)
def test_the_run_fails_when_either_does(
    tmp_path: Path, first: str, second: str, arguments: tuple, status: int
) -> None:
    done = run(tmp_path, first, second, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout.count("beside it, ") == 1
    assert done.stdout.count("collected 1 item") == (1 if "import" in second else 2), "each test runs once"


def test_named_tests_run_in_one_process(tmp_path: Path) -> None:
    done = run(tmp_path, PASSES, FAILS, "tests")
    assert done.returncode == 1 and "beside it" not in done.stdout, done.stdout
    assert "1 failed, 1 passed" in done.stdout
