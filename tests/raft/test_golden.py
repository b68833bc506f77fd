"""Golden traces: what a cluster does, message by message, recorded in testdata/*.txt and compared.

They show a reader what Raft does, and show a change of it as a diff. To record them anew:

    RAFTKV_UPDATE_GOLDEN=1 python -m pytest tests/raft/test_golden.py

and then read the diff: each changed line is a changed behaviour. script.py describes the language.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.raft.script import play

SCRIPTS = sorted((Path(__file__).parent / "testdata").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_golden_trace(path: Path) -> None:
    recorded = path.read_text(encoding="utf-8")
    played = play(recorded)
    if os.environ.get("RAFTKV_UPDATE_GOLDEN") == "1":
        path.write_text(played, encoding="utf-8")
    else:
        assert played.splitlines() == recorded.splitlines(), f"{path.name} differs: see {__name__}"


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 4
