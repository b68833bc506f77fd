"""The test command on two processors.

`python -m pytest`, with no files named, begins a second pytest for these FOLDERS and goes on itself with the
others. Most of the FOLDERS' tests only compute, most of the others wait for servers and terminals: so the two
halves, which take about as long, get by with a processor each. What the second one printed comes at the
end, and its failure is the run's. `python -m pytest tests` runs all in one process, one after the other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

FOLDERS = (
    "bench",
    "chaos",
    "course",
    "explore",
    "http",
    "linearizability",
    "mutants",
    "raft",
    "rpc",
    "sim",
    "storage",
)
ROOT = Path(__file__).parents[1]

_ENDED_S = 10.0  # for the second one to end after Ctrl-C
_FINE = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def wanted(config: pytest.Config) -> bool:
    """Were no files named, so that all tests are to run?"""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly


class Beside:
    """A plugin of the first pytest: the second one, from its beginning to its report."""

    def __init__(self, config: pytest.Config) -> None:
        self._output = tempfile.TemporaryFile()
        folders = [f"tests/{name}" for name in FOLDERS]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                *config.invocation_params.args,
                "-p",
                "no:cacheprovider",
                *folders,
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """What the second one runs is none of the first one's."""
        return True if collection_path in [ROOT / "tests" / name for name in FOLDERS] else None

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        try:
            status = self._process.wait(_ENDED_S if interrupted else None)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            return
        if status not in _FINE and exitstatus in _FINE:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        self._output.seek(0)
        status = self._process.returncode
        verdict = "as it should be" if status in _FINE else f"FAILED, exit status {status}"
        terminalreporter.section(f"beside it, {', '.join(FOLDERS)}: {verdict}")
        terminalreporter.write(self._output.read().decode(errors="replace"))

    def pytest_unconfigure(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self._output.close()
