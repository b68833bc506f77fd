"""Mutants of the disk: what a crash, damage, a full disk or a failed fsync would lose."""

from __future__ import annotations

from raftkv.kvdb import server as kv_server
from raftkv.node import joining, member
from raftkv.storage import disk, identity, persister, sealed, segments, snapshots

from tests.mutants.mutant import Mutant
from tests.sim.patch import Sabotage

MUTANTS: list[Mutant] = [
    Mutant(
        Sabotage(
            "fsync error ignored",
            disk._File,
            "sync",
            "raise OSError(error.errno, error.strerror, self._path) from None",
            "pass",
        ),
        "5",
        "a failed fsync counts as done",
        "tests/storage/test_disk.py::test_errors_name_the_file",
    ),
    Mutant(
        Sabotage(
            "fsync retried",
            persister.Persister,
            "save",
            "with self.guard:",
            "self.guard._failure = None\n    with self.guard:",
        ),
        "5",
        "after a failed write or fsync the next one is tried",
        "tests/storage/test_failures.py::test_each_operation_fails_once[kinds0-False]",
    ),
    Mutant(
        Sabotage(
            "folder's fsync error ignored",
            disk.Disk,
            "sync_folder",
            "if error.errno != errno.EINVAL:",
            "if False:",
        ),
        "5",
        "a rename that is not durable counts as done",
        "tests/storage/test_disk.py::test_a_folder_that_knows_no_fsync",
    ),
    Mutant(
        Sabotage(
            "vote file written in place",
            sealed,
            "replace_file",
            'temporary = path + ".tmp"',
            "temporary = path",
        ),
        "5",
        "term and vote are truncated, then written",
        "tests/storage/test_crashes.py::test_crash_at_every_operation",
    ),
    Mutant(
        Sabotage(
            "short writes count as done", disk._File, "write_at", "while written < len(data):", "while False:"
        ),
        "14",
        "on a disk that fills up, half an entry is acknowledged",
        "tests/storage/test_disk.py::test_a_short_write_in_place_is_completed",
    ),
    Mutant(
        Sabotage(
            "full disk swallowed",
            segments.SegmentedLog,
            "append",
            'file.write_at(segment.size, b"".join([MARKER, *lines, bytes(zeros)]))',
            'try:\n        file.write_at(segment.size, b"".join([MARKER, *lines, bytes(zeros)]))\n'
            "    except OSError:\n        pass",
        ),
        "14",
        "a write that fails counts as done",
        "tests/storage/test_failures.py::test_the_disk_is_full_at_any_byte[False]",
    ),
    Mutant(
        Sabotage(
            "full disk taken for a bug",
            kv_server,
            "_end",
            "if not isinstance(error, StorageError):",
            "if True:",
        ),
        "14",
        "a node whose disk is full ends with a traceback",
        "tests/cluster/test_refusals.py::test_a_full_disk_ends_the_node_and_loses_nothing[follower]",
    ),
    Mutant(
        Sabotage(
            "snapshot's term not stored",
            persister.Persister,
            "_recover",
            "if snapshot is not None and snapshot.term > self.hard_state.term:",
            "if False:",
        ),
        "1",
        "a node begins again in a term before that of its snapshot",
        "tests/storage/test_install.py::test_a_snapshot_of_a_later_term_than_the_disk_knows",
    ),
    Mutant(
        Sabotage(
            "removal of an empty file not durable",
            segments.SegmentedLog,
            "_settle",
            "self._disk.sync_folder(self._folder)",
            "pass",
        ),
        "5",
        "an empty log file can come back behind a torn one",
        "tests/storage/test_torn_writes.py::test_an_empty_file_does_not_come_back_behind_a_torn_write",
    ),
    Mutant(
        Sabotage(
            "received snapshot not checked",
            snapshots._Incoming,
            "check",
            "reader.verify()\n",
            "pass\n",
        ),
        "6",
        "a snapshot that was damaged on its way is installed",
        "tests/storage/test_snapshots.py::test_a_damaged_one_is_asked_for_again",
    ),
    Mutant(
        Sabotage(
            "an older snapshot replaces a newer one",
            snapshots.SnapshotStore,
            "_publish",
            "if self.newest is not None and snapshot.index <= self.newest.index:",
            "if False:",
        ),
        "7",
        "what was written slowly becomes the newest",
        "tests/storage/test_snapshots.py::test_an_older_one_than_what_was_installed_meanwhile_is_given_up",
    ),
    Mutant(
        Sabotage(
            "node.json not checked",
            identity,
            "check_identity",
            "if identity.node != node_id:",
            "if False:",
        ),
        "9",
        "a node starts on another node's disk",
        "tests/storage/test_folder.py::test_two_members_whose_folders_were_swapped_are_both_refused",
    ),
    Mutant(
        Sabotage(
            "LOCK not taken",
            disk._Lock,
            "_acquire",
            "fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            "pass",
        ),
        "9",
        "two processes use one data folder",
        "tests/storage/test_folder.py::test_two_processes_on_a_folder",
    ),
    Mutant(
        Sabotage(
            "a lost disk's backup is accepted",
            joining.Joining,
            "_meet",
            "elif not knows_you and hello.state != NEW:",
            "elif False:",
        ),
        "9",
        "an older disk of a member that has rejoined may take part",
        "tests/unit/test_member.py::test_the_disk_that_was_lost_first_is_refused_after_the_second_was_lost",
    ),
    Mutant(
        Sabotage(
            "members not remembered",
            member.Member,
            "_remember",
            "self._persister.remember_peer(peer, *known)",
            "pass",
        ),
        "9",
        "after a restart a member knows no other one's disk",
        "tests/unit/test_member.py::test_who_said_hello_is_remembered_before_the_answer_leaves",
    ),
    Mutant(
        Sabotage(
            "who answers is not remembered",
            joining.Joining,
            "heard",
            "self.known.setdefault(reply.id, Acquaintance(reply.uid, self.state == NEW, reply.rejoin_term))",
            "pass",
        ),
        "9",
        "of two new members one waits for ever",
        "tests/unit/test_joining.py::test_two_of_three_new_members_found_the_cluster_whoever_is_first",
    ),
    Mutant(
        Sabotage(
            "the next disk is not told from the last",
            joining.Joining,
            "answer",
            "term = max(term, known.rejoin_term + 1)",
            "pass",
        ),
        "9",
        "a member that loses its disk twice within a term rejoins as if it had lost one",
        "tests/unit/test_member.py::test_the_next_disk_gets_a_higher_rejoin_term_even_if_no_term_has_passed",
    ),
]
