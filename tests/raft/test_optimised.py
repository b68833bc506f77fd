"""The rules of safety hold under `python -O`, too, which takes assertions away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
from raftkv.errors import InvariantError
from raftkv.raft.invariants import check_delta, check_state, observe
from tests.raft.harness import entries, make_follower, make_steady_leader
"""
VIOLATIONS = {
    "a committed entry replaced": "make_steady_leader().raft.log.append(entries([7]))",
    "a commit beyond the log": "make_steady_leader().raft.log.commit_to(9)",
    "a compaction of what is not applied": "make_follower(terms=[1, 1], term=1).raft.log.compact(2)",
    "a state that contradicts itself": "raft = make_follower(term=1).raft; raft.leader = raft.id; check_state(raft)",
    "a term that goes back": "raft = make_follower(term=3).raft; seen = observe(raft); raft.term = 2; check_delta(seen, raft)",
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_is_noticed_without_assertions(violation: str) -> None:
    program = f"{BEGIN}\ntry:\n    {VIOLATIONS[violation]}\nexcept InvariantError:\n    print('noticed')\n"
    done = subprocess.run(
        [sys.executable, "-O", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "noticed\n", done
