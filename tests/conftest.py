"""For every test: the paper's invariants are checked at each release of a node's mutex, in this process and
in every server that it starts (they inherit the environment).

Ctrl-C and SIGHUP work, whoever runs the tests: a shell starts what it puts into the background with SIGINT
ignored, nohup with SIGHUP ignored, and all that is started from there inherits that. So it does a standard input
that is closed.

A test that waits without end fails after PATIENCE_S seconds."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raftkv.cli.streams import open_standard_streams

from tests.beside import Beside, wanted

open_standard_streams()
os.environ["RAFTKV_CHECK"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


PATIENCE_S = 240  # four times what the longest test takes


def pytest_configure(config: pytest.Config) -> None:
    if wanted(config):
        config.pluginmanager.register(Beside(config))


def _give_up(*_: Any) -> None:
    pytest.fail(f"it had not ended after {PATIENCE_S} s")


@pytest.fixture(autouse=True)
def ends_in_time() -> Iterator[None]:
    """Of what a test waits for, most has no bound of its own: the next line of a process, above all."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """As tmp_path, but every user of the machine may enter it; pytest closes its own to others."""
    with tempfile.TemporaryDirectory(prefix="raftkv-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
