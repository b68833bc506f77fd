"""The simulator's own sabotages: which trap each stands for.

Most are caught within the first few seeds. What needs events that seldom come together would take the
simulator minutes: those are tried on a test of the suite here, and `python -m tests.sim --sabotages` says
after how many seeds the simulator catches them.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.mutants.mutant import Mutant
from tests.sim.sabotage import SABOTAGES

WITHIN = 100  # seeds, from 1 on


class Note(NamedTuple):
    """See Mutant."""

    traps: str
    change: str
    test: str = ""


NOTES: dict[str, Note] = {
    # durability
    "vote not durable": Note("1", "Persister.save stores the term without the vote"),
    "acknowledged before the fsync": Note("1 5", "promises leave while the disk writes"),
    "log not fsynced": Note("1 5", "entries are written and not synced"),
    "folder not fsynced after a rename": Note("5", "a new vote file may be the old one after a power cut"),
    "promises do not wait for the write before": Note("1", "a promise overtakes one that waits for the disk"),
    "damage taken for a torn tail": Note("6", "damage in the last log file is cut off, with all behind it"),
    "torn tail taken for damage": Note("6", "a node whose power was cut does not start again"),
    "log of another history kept after an install": Note("7", "what does not lead up to the snapshot stays"),
    "snapshot published before its fsync": Note("5 7", "it has its name before it is durable"),
    # elections
    "no election restriction": Note("2", "votes go to logs that are less complete (5.4.1)"),
    "two votes in a term": Note("1", "a vote is given to whoever asks"),
    "a member without its disk votes": Note(
        "9",
        "rejoin_term is not looked at",
        "tests/raft/test_election.py::test_a_member_that_lost_its_disk_neither_votes_nor_campaigns",
    ),
    "a member without its disk begins anew": Note("9", "a wiped member takes itself for a new one"),
    # replication
    "figure 8": Note("2", "entries of older terms are committed by counting"),
    "commit beyond what was verified": Note(
        "3",
        "a follower commits what this message did not compare",
        "tests/raft/test_replication.py::test_commit_goes_no_further_than_the_message_has_verified",
    ),
    "truncation without a conflict": Note("3", "a late AppendEntries cuts off what came after it"),
    "answers of an earlier term count": Note("3", "a reply of an earlier term is taken in"),
    "previous entry not compared": Note("3", "entries are appended whatever is before them"),
    "leader counts itself before its fsync": Note(
        "1 5",
        "a leader's own entries count at once",
        "tests/raft/test_durability.py::test_a_leader_counts_itself_only_once_durable",
    ),
    "stable though replaced meanwhile": Note(
        "1 3",
        "a write counts for the entries that replaced its own",
        "tests/raft/test_durability.py::test_entries_replaced_while_on_their_way_to_the_disk_are_not_taken_for_durable",
    ),
    "heartbeats commit what the follower may lack": Note("3", "a heartbeat carries the leader's own commit"),
    "match goes back": Note(
        "3",
        "a late reply moves match backwards",
        "tests/raft/test_replication.py::test_match_never_goes_back",
    ),
    # snapshots
    "snapshot over newer state": Note(
        "7",
        "an older snapshot is installed",
        "tests/raft/test_snapshots.py::test_an_older_snapshot_is_never_applied_over_newer_state",
    ),
    "appends while a snapshot is installed": Note(
        "7",
        "entries are stored before the snapshot before them",
        "tests/raft/test_snapshots.py::test_entries_wait_while_the_last_chunk_is_on_its_way_to_the_disk",
    ),
    "session table not in the snapshot": Note("7 8", "who begins from it knows no client"),
    "snapshot sees writes of later": Note("7", "no copy is kept of what changes while it is written"),
    "applied again after a restore": Note(
        "7",
        "entries that the snapshot holds are applied once more",
        "tests/unit/test_node.py::test_entries_that_a_newer_snapshot_holds_are_not_applied_after_it",
    ),
    "a damaged snapshot is sent for ever": Note(
        "6",
        "a leader never looks at its snapshot file, though a follower finds it damaged",
        "tests/unit/test_network.py::test_a_damaged_snapshot_is_not_sent_for_ever",
    ),
    # reads
    "read without a round": Note("4", "a leader does not ask whether it still leads"),
    "read before the no-op": Note("4", "a new leader reads before it knows what is committed"),
    "read confirmed by an earlier round": Note(
        "4",
        "an answer from before the read confirms it",
        "tests/raft/test_read_index.py::test_an_answer_to_an_earlier_round_does_not_confirm_a_read",
    ),
    # clients
    "duplicates applied again": Note("8", "a repeated command takes effect again"),
    "expired sessions served": Note("8", "a forgotten client is registered anew, without its answers"),
    "answer for another's entry": Note(
        "8",
        "who proposed an entry gets the answer of what replaced it",
        "tests/unit/test_proposals.py::test_an_entry_of_another_leader_at_the_same_index_is_another_one",
    ),
    "a retry gets a new number": Note("8", "Clerk numbers each attempt"),
    "in doubt, reported as not applied": Note(
        "8",
        "Clerk says NotApplied of what may have been",
        "tests/unit/test_clerk_session.py::test_a_write_that_is_in_flight_at_its_deadline_is_in_doubt",
    ),
    "acknowledged too far": Note("8", "Clerk acknowledges what it still waits for"),
}

#: What the simulator has and this table does not know yet is tried all the same.
MUTANTS: list[Mutant] = [
    Mutant(
        sabotage,
        note.traps,
        note.change,
        note.test,
        within=WITHIN,
    )
    for sabotage in SABOTAGES
    for note in [NOTES.get(sabotage.name, Note("", f"{sabotage.function}: see tests/sim/sabotage.py"))]
]
