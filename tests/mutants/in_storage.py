"""Mutants of the disk: what a crash, damage, a full disk or a failed fsync would lose."""

from __future__ import annotations

from tests.mutants.breaking import Edit, Function, Instead, always
from tests.mutants.mutant import SIMULATOR, Mutant


def _without_the_vote(save: Function) -> Function:
    return lambda persister, state, entries: save(persister, state and state._replace(vote=None), entries)


# fmt: off
MUTANTS: list[Mutant] = [
    Mutant("vote not durable", "1", "Persister.save stores the term without the vote", SIMULATOR,
           Instead("storage.persister:Persister.save", _without_the_vote)),
    Mutant("log not fsynced", "1 5", "entries are written and not synced", SIMULATOR,
           Edit("storage.segments", "A.sync()", "None")),
    Mutant("folder not fsynced after a rename", "5", "a new vote file may be the old one after a power cut",
           SIMULATOR,
           Edit("storage.sealed", "A.sync_folder(B)", "None")),
    Mutant("damage taken for a torn tail", "6", "damage in the last log file is cut off, with all behind it",
           SIMULATOR,
           Instead("storage.replay:is_torn", always(True))),
    Mutant("torn tail taken for damage", "6", "a node whose power was cut does not start again", SIMULATOR,
           Instead("storage.replay:is_torn", always(False))),
    Mutant("log of another history kept after an install", "7", "what does not lead up to the snapshot stays",
           SIMULATOR,
           Instead("storage.segments:SegmentedLog.follow", always(None))),
    Mutant("snapshot published before its fsync", "5 7", "it has its name before it is durable", SIMULATOR,
           Instead("storage.snapshot_file:SnapshotWriter.sync", always(None))),
    Mutant("fsync error ignored", "5", "a failed fsync counts as done",
           "storage/test_disk.py::test_errors_name_the_file",
           Edit("storage.disk", "try: _fsync(A)\nexcept OSError as E: ...",
                "try: _fsync(A)\nexcept OSError: pass")),
    Mutant("fsync retried", "5", "after a failed write or fsync the next one is tried",
           "storage/test_failures.py::test_each_operation_fails_once[kinds0-False]",
           Edit("storage.persister", "if A is not None: raise StorageError(A)", "pass")),
    Mutant("folder's fsync error ignored", "5", "a rename that is not durable counts as done",
           "storage/test_disk.py::test_a_folder_that_knows_no_fsync",
           Edit("storage.disk", "A.errno != errno.EINVAL", "False")),
    Mutant("vote file written in place", "5", "term and vote are truncated, then written",
           "storage/test_crashes.py::test_crash_at_every_operation",
           Edit("storage.sealed", "path + '.tmp'", "path")),
    Mutant("short writes count as done", "14", "on a disk that fills up, half an entry is acknowledged",
           "storage/test_disk.py::test_a_short_write_in_place_is_completed",
           Edit("storage.disk", "while A < len(B): ...", "pass")),
    Mutant("full disk swallowed", "14", "a write that fails counts as done",
           "storage/test_failures.py::test_the_disk_is_full_at_any_byte[False]",
           Edit("storage.segments", "A.write_at(B, C)", "try: A.write_at(B, C)\nexcept OSError: pass")),
    Mutant("full disk taken for a bug", "14", "a node whose disk is full ends with a traceback",
           "cluster/test_refusals.py::test_a_full_disk_ends_the_node_and_loses_nothing[follower]",
           Edit("kvdb.server", "not isinstance(A, StorageError)", "True")),
    Mutant("snapshot's term not stored", "1", "a node begins again in a term before that of its snapshot",
           "storage/test_install.py::test_a_snapshot_of_a_later_term_than_the_disk_knows",
           Edit("storage.persister", "A is not None and A.term > B.term", "False")),
    Mutant("removal of an empty file not durable", "5", "an empty log file can come back behind a torn one",
           "storage/test_torn_writes.py::test_an_empty_file_does_not_come_back_behind_a_torn_write",
           Edit("storage.segments", "self.X('segment-discarded'); self.Y.sync_folder(A)",
                "self.X('segment-discarded')")),
    Mutant("received snapshot not checked", "6", "a snapshot that was damaged on its way is installed",
           "storage/test_snapshots.py::test_a_damaged_one_is_asked_for_again",
           Edit("storage.snapshots", "A.verify()", "None")),
    Mutant("an older snapshot replaces a newer one", "7", "what was written slowly becomes the newest",
           "storage/test_snapshots.py::test_an_older_one_than_what_was_installed_meanwhile_is_given_up",
           Edit("storage.snapshots", "if A.newest is not None and B.index <= A.newest.index: ...", "pass")),
    Mutant("node.json not checked", "9", "a node starts on another node's disk",
           "storage/test_folder.py::test_two_members_whose_folders_were_swapped_are_both_refused",
           Edit("storage.identity", "A.node != B", "False")),
    Mutant("LOCK not taken", "9", "two processes use one data folder",
           "storage/test_folder.py::test_two_processes_on_a_folder",
           Edit("storage.disk", "A.flock(B, C)", "None")),
]
