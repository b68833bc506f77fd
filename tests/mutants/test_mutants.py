"""The machinery itself: what is caught is said to be, and what is not, is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import report
from tests.mutants.__main__ import main
from tests.mutants.mutant import Mutant
from tests.mutants.run import ROOT, run_test, try_one
from tests.mutants.table import BY_NAME, MUTANTS
from tests.sim.patch import Sabotage


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_it_changes_is_there(mutant: Mutant) -> None:
    """Who changes the product sees here which mutants have to follow."""
    with mutant.sabotage.applied():
        pass
    assert mutant.change and mutant.traps.replace(" ", "").isdigit() or not mutant.traps
    if mutant.test:
        file, _, name = mutant.test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), f"there is no {mutant.test}"


def test_one_of_the_simulators_and_one_of_the_suites(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["two votes in a term", "LOCK not taken"]
    assert main([*names, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("| two votes in a term | 1 | ") and "simulator, after" in line for line in lines
    )
    assert any(line.startswith("| LOCK not taken | 9 | ") and "test_folder.py::" in line for line in lines)
    assert lines[-1].startswith("2 of 2 caught")


def harmless(test: str = "") -> Mutant:
    """It changes nothing that matters."""
    sabotage = Sabotage("harmless", BY_NAME["LOCK not taken"].sabotage.owner, "release", "fd >= 0", "fd > -1")
    return Mutant(sabotage, "", "nothing", test, within=1)


def test_what_breaks_nothing_is_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BY_NAME, "harmless", harmless())
    monkeypatch.setattr("tests.sim.runner.BY_NAME", {"harmless": harmless().sabotage})
    result = try_one(harmless())
    assert result.problem == "not in 1 seeds"
    assert report.summary(harmless(), result) == "NOT CAUGHT: not in 1 seeds"


@pytest.mark.parametrize(("test", "status"), [("test_passes", 0), ("test_fails", 1), ("test_is_missing", 4)])
def test_a_test_has_failed_only_if_it_ran_and_said_so(test: str, status: int, tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("def test_passes(): pass\ndef test_fails(): assert 1 == 2\n")
    found, words = run_test(f"{file}::{test}")
    assert found == status, words
    assert test != "test_fails" or words == "assert 1 == 2"


@pytest.mark.parametrize("test", ["", BY_NAME["LOCK not taken"].test], ids=["simulator", "test"])
@pytest.mark.parametrize("piece", [{"old": "no such piece"}, {"new": "if ("}], ids=["missing", "broken"])
def test_a_mutant_that_cannot_be_applied_is_not_caught(
    test: str, piece: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage = BY_NAME["LOCK not taken"].sabotage._replace(name="lost", **piece)
    monkeypatch.setattr("tests.sim.runner.BY_NAME", {"lost": sabotage})
    result = try_one(Mutant(sabotage, "", "nothing", test, within=1))
    assert result.problem and not result.complaint


def test_the_documentation_has_a_row_for_each() -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.count("|") == 5]
    missing = [mutant.name for mutant in MUTANTS if mutant.name not in rows]
    assert not missing, (
        f"docs/testing.md lacks them; python -m tests.mutants --markdown prints its table: {missing}"
    )
    assert f"{len(MUTANTS)} of {len(MUTANTS)} caught" in text
