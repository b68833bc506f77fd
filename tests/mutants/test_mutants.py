"""The machinery itself: what is caught is said to be, and what is not, is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import main, verdict
from tests.mutants.breaking import Breakage, Edit, Instead, in_force
from tests.mutants.mutant import Mutant
from tests.mutants.run import ROOT, run_test, try_one
from tests.mutants.table import BY_NAME, MUTANTS

HARMLESS = Instead("raft.log:RaftLog.is_up_to_date", lambda original: lambda *args: original(*args))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_can_be_put_in_force_and_its_test_exists(mutant: Mutant) -> None:
    """Who changes the product sees here which mutants have to follow."""
    with in_force(mutant.breakage):
        pass
    assert mutant.change and mutant.traps.replace(" ", "").isdigit() or not mutant.traps
    if mutant.test:
        file, _, name = mutant.test.partition("::")
        source = (ROOT / "tests" / file).read_text()
        assert f"def {name.partition('[')[0]}(" in source, f"there is no {mutant.test}"


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["two votes in a term", "LOCK not taken"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = "| {} | {} | {} | {} | caught"
    for name in ("two votes in a term", "LOCK not taken"):
        _, traps, change, test, *_ = BY_NAME[name]
        assert any(line.startswith(row.format(name, traps, change, test or "simulator")) for line in lines)
    assert lines[-1].startswith("2 of 2 caught")


@pytest.mark.parametrize("test", ["", "storage/test_folder.py::test_two_processes_on_a_folder"])
@pytest.mark.parametrize(
    "breakage",
    [
        HARMLESS,
        Instead("raft.log:RaftLog.no_such_method", lambda original: original),
        Edit("raft.log", "no(such) + piece", "None"),
        Edit("raft.log", "A + B", "A - B"),  # more than one
    ],
)
def test_a_mutant_that_breaks_nothing_or_cannot_be_applied_is_not_caught(
    test: str, breakage: Breakage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BY_NAME, "lost", Mutant("lost", "", "nothing", test, breakage, within=1))
    monkeypatch.setattr("tests.mutants.run.run_test", lambda test, mutant: (0, "1 passed"))
    result = try_one(BY_NAME["lost"])
    assert result.problem and verdict(result) == "NOT CAUGHT"


@pytest.mark.parametrize(("test", "status"), [("test_passes", 0), ("test_fails", 1), ("test_is_missing", 4)])
def test_a_test_has_failed_only_if_it_ran_and_said_so(test: str, status: int, tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("def test_passes(): pass\ndef test_fails(): assert 1 == 2\n")
    found, words = run_test(f"{file}::{test}")
    assert found == status, words
    assert test != "test_fails" or words == "assert 1 == 2"
