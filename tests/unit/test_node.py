"""RaftNode: what leaves when, what is applied by whom, and how it ends. No thread runs unless a test says
so."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable

import pytest
from raftkv.errors import NotLeaderError, StorageError
from raftkv.node import applier
from raftkv.node.interfaces import RoleChange
from raftkv.node.node import RaftNode
from raftkv.raft.configuration import Configuration
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVoteReply,
    RequestPreVote,
    RequestVote,
    SnapshotReply,
    VoteReply,
)
from raftkv.raft.types import COMMAND, Entry, HardState, Role, Snapshot
from raftkv.storage.persister import Persister

from tests.unit.hand_threads import HandLock, HandThreads

VOTERS = (1, 2, 3)


class Wire:
    """A network that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def enqueue(self, messages: Sequence[Message]) -> None:
        self.sent += messages

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> list[Message]:
        sent, self.sent = self.sent, []
        return sent


class Commands:
    """A state machine: the list of the commands, and a list of all that was asked of it."""

    def __init__(self) -> None:
        self.state: list[Any] = []
        self.calls: list[Any] = []
        self.before_apply: Callable[[], None] = lambda: None
        self.before_close: Callable[[], None] = lambda: None  # of a snapshot's view

    def apply(self, entries: list[Entry], contexts: list[Any]) -> None:
        self.before_apply()
        self.state += [entry.data for entry in entries if entry.kind == COMMAND]
        self.calls.append(
            ("apply", entries[0].index, entries[-1].index, [c for c in contexts if c is not None])
        )

    def read(self, contexts: list[Any]) -> None:
        self.calls.append(("read", contexts, list(self.state)))

    def refuse(self, proposals: list[Any], reads: list[Any]) -> None:
        self.calls.append(("refuse", proposals, reads))

    def role_changed(self, change: RoleChange) -> None:
        """Not looked at here."""

    def takes_long(self, entries: list[Entry]) -> bool:
        return False

    def snapshot_bytes(self) -> int:
        return len(self.state)

    def begin_snapshot(self) -> View:
        return View(self)

    def restore(self, records: Iterable[Any]) -> None:
        self.state = [command for record in records for command in record]
        self.calls.append(("restore", list(self.state)))

    def encode_record(self, record: Any) -> bytes:
        return line_of(record)


class View:
    def __init__(self, machine: Commands) -> None:
        self._machine = machine
        self._rest: list[Any] = [list(machine.state)]

    def next_chunk(self, n: int) -> list[Any]:
        rest, self._rest = self._rest, []
        return rest

    def close(self) -> None:
        self._machine.before_close()


def line_of(record: Any) -> bytes:
    return b'["%b"]\n' % '","'.join(record).encode() if record else b"[]\n"


class Bench:
    """A node of three on a real disk. Its threads run when a test runs them."""

    def __init__(
        self,
        folder: Path,
        max_raft_state: int = -1,
        snapshot_growth: float = 0.0,
        persister: Persister | None = None,
    ) -> None:
        self.folder = folder
        self.persister = persister or open_disk(folder)
        self.wire, self.machine = Wire(), Commands()
        self.deaths: list[BaseException] = []
        self.threads = HandThreads(self.deaths.append)
        snapshot = self.persister.snapshot or Snapshot(0, 0, Configuration(VOTERS))
        self.raft = Raft(
            1, RaftLog(snapshot, self.persister.entries), self.persister.hard_state, rng=random.Random(1)
        )
        self.relieved: list[Any] = []  # threads
        self.node = RaftNode(
            self.raft,
            self.persister,
            self.wire,
            self.machine,
            self.threads,
            id=1,
            max_raft_state=max_raft_state,
            snapshot_growth=snapshot_growth,
            relieve=self.relieved.append,
        )
        self.node.start()
        self.threads.started.clear()

    @property
    def machine_lock(self) -> HandLock:
        return self.threads.locks[1]

    def lead(self) -> None:
        """Win the election of term 1, and commit the no-op."""
        self.threads.now = 5.0
        self.node.tick()
        self.node.step([PreVoteReply(2, 1, 0, 1, True)])
        self.node.log_writer.write_waiting()
        self.node.step([VoteReply(2, 1, 1, True)])
        self.node.log_writer.write_waiting()
        self.node.step([AppendAccepted(2, 1, 1, 1)])
        assert self.node.get_state() == (1, True) and self.raft.log.commit == 1
        self.wire.take()
        self.machine.calls.clear()

    def close(self) -> None:
        self.node.stop()
        self.persister.close()


def open_disk(folder: Path) -> Persister:
    return Persister(str(folder), node_id=1, cluster="c")


@pytest.fixture
def bench(tmp_path: Path) -> Iterable[Bench]:
    bench = Bench(tmp_path / "data")
    yield bench
    bench.close()


def entry(index: int, term: int = 1) -> Entry:
    return Entry.create(index, term, COMMAND, f"{index}@{term}")


def append(*entries: Entry, prev_term: int = 0, commit: int = 0, sender: int = 2) -> AppendEntries:
    first, last = entries[0], entries[-1]
    return AppendEntries(sender, 1, last.term, first.index - 1, prev_term, entries, commit)


def snapshot_message(index: int, record: list[str], folder: Path, **changes: Any) -> InstallSnapshot:
    """A whole snapshot in one chunk, made by another disk."""
    source = open_disk(folder)
    snapshot = Snapshot(index, 1, Configuration(VOTERS))
    source.write_snapshot(snapshot, [line_of(record)])
    reader = source.open_snapshot()
    assert reader is not None
    message = InstallSnapshot(2, 1, 1, snapshot, 0, reader.read(0, reader.size), True)
    reader.close()
    source.close()
    return message._replace(**changes)


# -- promises ------------------------------------------------------------------------------------------------


def test_a_vote_leaves_when_it_is_durable(bench: Bench) -> None:
    bench.node.step([RequestVote(2, 1, 1, 0, 0)])
    assert bench.wire.take() == [] and bench.node.log_writer.has_work
    bench.node.log_writer.write_waiting()
    assert bench.persister.hard_state == HardState(1, 2)
    assert bench.wire.take() == [VoteReply(1, 2, 1, True)]


def test_a_promise_that_needs_no_disk_waits_for_those_before_it(bench: Bench) -> None:
    bench.node.step([append(entry(1))])
    bench.node.step([RequestPreVote(3, 1, 1, 0, 0)])
    assert bench.wire.take() == []
    bench.node.log_writer.write_waiting()
    assert bench.wire.take() == [AppendAccepted(1, 2, 1, 1), PreVoteReply(1, 3, 1, 2, False)]
    bench.node.step([RequestPreVote(3, 1, 1, 0, 0)])
    assert bench.wire.take() == [PreVoteReply(1, 3, 1, 2, False)], "the disk is idle, nothing to wait for"


def test_the_answer_to_a_heartbeat_waits_for_no_disk(bench: Bench) -> None:
    bench.node.step([append(entry(1))])
    bench.node.step([Heartbeat(2, 1, 1, 0, 9)])
    assert bench.wire.take() == [HeartbeatReply(1, 2, 1, 9)]


def test_a_promise_made_while_the_disk_is_busy_waits_for_the_next_write(bench: Bench) -> None:
    save = bench.persister.save

    def save_and_receive(*args: Any) -> None:
        save(*args)
        bench.node.step([RequestPreVote(3, 1, 1, 0, 0)])

    bench.persister.save = save_and_receive  # type: ignore[method-assign]
    bench.node.step([append(entry(1))])
    bench.node.log_writer.write_waiting()
    assert bench.wire.take() == [AppendAccepted(1, 2, 1, 1)] and bench.node.log_writer.has_work
    bench.node.log_writer.write_waiting()
    assert bench.wire.take() == [PreVoteReply(1, 3, 1, 2, False)]


def test_the_disk_ends_with_the_entries_that_replaced_those_waiting_for_it(bench: Bench) -> None:
    bench.node.step([append(entry(1), entry(2), entry(3))])
    bench.node.step([append(entry(2, 2), prev_term=1, sender=3)])
    bench.node.log_writer.write_waiting()
    bench.persister.close()
    again = open_disk(bench.folder)
    assert [str(each) for each in again.entries] == ["1@1", "2@2"] and again.hard_state == HardState(2)
    again.close()


def test_a_failed_write_lets_no_promise_leave(bench: Bench) -> None:
    def fail(*args: Any) -> None:
        raise StorageError("the disk is on fire")

    bench.persister.save = fail  # type: ignore[method-assign]
    bench.node.step([RequestVote(2, 1, 1, 0, 0)])
    with pytest.raises(StorageError, match="the disk is on fire"):
        bench.node.log_writer.write_waiting()
    bench.node.step([RequestPreVote(3, 1, 1, 0, 0)])
    assert bench.wire.take() == []


# -- who writes ----------------------------------------------------------------------------------------------


@pytest.fixture
def quick(bench: Bench) -> Bench:
    """A leader on a quick disk, whose threads may write what is alone."""
    bench.lead()
    return bench


def test_a_lone_entry_is_written_by_the_thread_that_brings_it(quick: Bench) -> None:
    quick.node.propose(["a"], ["client"])
    assert quick.persister.last_index == 2 and not quick.node.log_writer.has_work
    assert [type(message) for message in quick.wire.take()] == [AppendEntries]
    quick.node.step([AppendAccepted(2, 1, 1, 2)])
    assert quick.machine.calls == [("apply", 2, 2, ["client"])]


def test_a_lone_entry_of_a_follower_is_acknowledged_at_once(bench: Bench) -> None:
    bench.node.step([append(entry(1))])
    bench.node.log_writer.write_waiting()  # it was not alone: the term had to be stored with it
    bench.wire.take()
    bench.node.step([append(entry(2), prev_term=1, commit=1)])
    assert bench.wire.take() == [AppendAccepted(1, 2, 1, 2)] and not bench.node.log_writer.has_work


def test_several_entries_are_left_to_the_log_writer(quick: Bench) -> None:
    quick.node.propose(["a", "b"], [None, None])
    assert quick.persister.last_index == 1 and quick.node.log_writer.has_work


def test_entries_after_uncommitted_ones_are_left_to_the_log_writer(quick: Bench) -> None:
    quick.node.propose(["a"], [None])
    quick.node.propose(["b"], [None])
    assert quick.persister.last_index == 2 and quick.node.log_writer.has_work


def test_a_slow_disk_is_left_to_the_log_writer(quick: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    save = quick.persister.save

    def slow_save(*args: Any) -> None:
        save(*args)
        quick.threads.now += 0.002

    monkeypatch.setattr(quick.persister, "save", slow_save)
    quick.node.propose(["a"], [None])
    quick.node.step([AppendAccepted(2, 1, 1, 2)])
    quick.node.propose(["b"], [None])
    assert quick.persister.last_index == 2 and quick.node.log_writer.has_work


def test_a_term_is_left_to_the_log_writer(bench: Bench) -> None:
    bench.node.step([append(entry(1))])
    assert bench.persister.hard_state.term == 0 and bench.node.log_writer.has_work


def test_a_lone_entry_waits_while_another_thread_writes(
    quick: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = quick.persister.save

    def receive_more(*args: Any) -> None:
        monkeypatch.setattr(quick.persister, "save", save)
        # committed without this disk:
        quick.node.step([AppendAccepted(2, 1, 1, 2), AppendAccepted(3, 1, 1, 2)])
        assert quick.raft.log.commit == 2
        quick.node.propose(["b"], [None])
        assert quick.persister.last_index == 1, "two threads wrote at a time"
        save(*args)

    quick.node.step([AppendAccepted(3, 1, 1, 1)])
    monkeypatch.setattr(quick.persister, "save", receive_more)
    quick.node.propose(["a"], [None])
    assert quick.persister.last_index == 2 and quick.node.log_writer.has_work
    quick.node.log_writer.write_waiting()
    assert quick.persister.last_index == 3


def ticking(bench: Bench, monkeypatch: pytest.MonkeyPatch, tick_s: float, ticks: int) -> list[list[str]]:
    """From now on each write takes `ticks` ticks. Returns what problems() says at each, as they come."""
    save, said = bench.persister.save, []  # type: ignore[var-annotated]

    def save_slowly(*args: Any) -> None:
        for _ in range(ticks):
            bench.threads.now += tick_s
            bench.node.tick()
            said.append(bench.node.problems())
        save(*args)

    monkeypatch.setattr(bench.persister, "save", save_slowly)
    return said


def test_a_thread_that_hangs_in_a_lone_write_is_relieved_once(
    quick: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking(quick, monkeypatch, 0.02, 4)
    quick.node.propose(["a"], [None])
    assert quick.relieved == [threading.get_ident()]


def test_the_log_writer_needs_no_relief(quick: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(quick, monkeypatch, 0.02, 4)
    quick.node.propose(["a", "b"], [None, None])
    quick.node.log_writer.write_waiting()
    assert quick.persister.last_index == 3 and not quick.relieved


def test_a_disk_that_hangs_is_reported_while_it_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = ticking(bench, monkeypatch, 0.2, 4)
    bench.node.step([append(entry(1))])
    bench.node.log_writer.write_waiting()
    assert said[:2] == [[], []] and ["0.6 s" in sentences[0] for sentences in said[2:]] == [True, False]
    assert bench.node.problems() == []
    assert [record.levelname for record in caplog.records if "finished a write" in record.message] == [
        "WARNING"
    ]
    assert "writing the log took 0.8 s" in caplog.records[-1].message


def test_the_ticker_never_writes(quick: Bench) -> None:
    quick.raft.propose(["a"])
    quick.threads.now += 0.01
    quick.node.tick()
    assert quick.node.log_writer.has_work and quick.persister.last_index == 1


def start_log_writer(bench: Bench) -> queue.SimpleQueue[None]:
    """Start that thread, and wait until it waits for work. The queue gets an item when it does so again."""
    bench.threads.really_start("log-writer", bench.node.log_writer.run)
    bench.threads.waits.get(timeout=5)
    return bench.threads.waits


def test_the_log_writer_is_woken_for_what_waits(bench: Bench) -> None:
    waits = start_log_writer(bench)
    bench.node.step([RequestVote(2, 1, 1, 0, 0)])
    waits.get(timeout=5)  # else nobody woke it
    assert bench.persister.hard_state == HardState(1, 2)


def test_the_log_writer_is_woken_for_what_came_while_another_thread_wrote(
    quick: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = quick.persister.save

    def receive_more(*args: Any) -> None:
        monkeypatch.setattr(quick.persister, "save", save)
        quick.node.propose(["b"], [None])
        save(*args)

    waits = start_log_writer(quick)
    monkeypatch.setattr(quick.persister, "save", receive_more)
    quick.node.propose(["a"], [None])
    waits.get(timeout=5)  # else nobody woke it
    assert quick.persister.last_index == 3


# -- applying ------------------------------------------------------------------------------------------------


def test_entries_committed_while_a_thread_applies_are_applied_by_it_in_order(bench: Bench) -> None:
    def receive_more() -> None:
        bench.machine.before_apply = lambda: None
        bench.node.step([append(entry(2), prev_term=1, commit=2)])
        assert bench.machine.state == [], "it was applied before the one before it"

    bench.machine.before_apply = receive_more
    bench.node.step([append(entry(1), commit=1)])
    assert bench.machine.state == ["1@1", "2@1"]
    assert not bench.machine_lock.locked()


def test_entries_that_come_in_the_last_moment_are_applied_too(bench: Bench) -> None:
    late = append(entry(2), prev_term=1, commit=2)
    bench.machine_lock.before_release = lambda: bench.node.step([late])
    bench.node.step([append(entry(1), commit=1)])
    assert bench.machine.state == ["1@1", "2@1"]


def test_entries_held_up_by_a_snapshot_are_applied_after_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data", max_raft_state=60)
    bench.node.step([append(entry(1), entry(2), entry(3), commit=2)])
    bench.machine.before_close = lambda: bench.node.step([Heartbeat(2, 1, 1, 3, 0)])
    bench.threads.run_last()
    assert bench.machine.state == ["1@1", "2@1", "3@1"]
    bench.close()


def test_a_whole_log_is_applied_on_a_thread_of_its_own_and_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that reads is not kept from hearing the others by it."""
    monkeypatch.setattr(applier, "MANY_BYTES", 2 * len(entry(1).line))
    bench.node.step([append(entry(1), entry(2), entry(3), commit=3)])
    bench.node.step([append(entry(4), prev_term=1, commit=4)])
    assert bench.machine.state == [] and len(bench.threads.started) == 1
    assert bench.threads.run_last() == "apply"
    assert bench.machine.state == ["1@1", "2@1", "3@1", "4@1"]
    bench.node.step([append(entry(5), entry(6), prev_term=1, commit=6)])
    assert bench.machine.state[4:] == ["5@1", "6@1"] and bench.threads.started == []


def test_small_work_that_piles_up_is_applied_on_a_thread_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applier, "MANY_BYTES", 2 * len(entry(1).line))

    def more_comes() -> None:
        index = bench.raft.log.last_index + 1
        if index <= 4:
            bench.node.step([append(entry(index), prev_term=1, commit=index)])

    bench.machine.before_apply = more_comes
    bench.node.step([append(entry(1), commit=1)])
    assert bench.machine.state == ["1@1", "2@1"]
    assert bench.threads.run_last() == "apply"
    assert bench.machine.state == ["1@1", "2@1", "3@1", "4@1"]


def test_a_long_log_is_applied_in_slices_of_bounded_bytes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(entry(1).line)
    monkeypatch.setattr(applier, "SLICE_BYTES", 2 * size)
    bench.node.step([append(*map(entry, range(1, 6)), commit=5)])
    assert bench.machine.calls == [("apply", 1, 2, []), ("apply", 3, 4, []), ("apply", 5, 5, [])]


def test_a_leader_applies_a_whole_log_at_once_and_others_leave_half_of_the_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.lead()
    monkeypatch.setattr(applier, "MANY_BYTES", 0)
    monkeypatch.setattr(applier, "SLICE_BYTES", 1)
    pauses: list[float] = []
    monkeypatch.setattr(bench.threads, "sleep", pauses.append)

    def take_time() -> None:
        bench.threads.now += 0.02

    bench.machine.before_apply = take_time
    bench.node.propose(["a"], ["client a"])
    bench.node.log_writer.write_waiting()
    bench.node.step([AppendAccepted(2, 1, 1, 2)])
    bench.threads.run_last()
    bench.node.step([append(Entry.create(3, 2, COMMAND, "other"), prev_term=1, commit=3)])
    bench.threads.run_last()
    assert pauses == [applier.PAUSE_S, pytest.approx(0.02)]


def test_a_node_that_stops_while_it_applies_a_whole_log_leaves_the_rest_and_what_follows_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applier, "MANY_BYTES", 0)
    monkeypatch.setattr(applier, "SLICE_BYTES", 1)
    monkeypatch.setattr(applier, "WORK_S", 0.0)
    bench.node.step([append(entry(1), entry(2), entry(3), commit=3)])
    bench.node.step([append(entry(4), prev_term=1, commit=4)])
    bench.threads.stop()
    bench.threads.run_last()
    bench.node.tick()
    assert bench.machine.state == ["1@1"] and not bench.machine_lock.locked()


def test_clients_are_answered_for_their_own_entries_and_refused_when_leadership_ends(bench: Bench) -> None:
    bench.lead()
    bench.node.propose(["a", "b"], ["client a", "client b"])
    bench.node.propose(["c"], ["client c"])
    bench.node.log_writer.write_waiting()
    bench.node.step([AppendAccepted(2, 1, 1, 3)])
    assert bench.machine.calls == [("apply", 2, 3, ["client a", "client b"])]
    bench.node.step([append(Entry.create(4, 2, COMMAND, "other"), prev_term=1, commit=4)])
    assert bench.machine.calls[1:] == [("apply", 4, 4, []), ("refuse", ["client c"], [])]
    with pytest.raises(NotLeaderError):
        bench.node.propose(["d"], ["client d"])
    assert len(bench.machine.calls) == 3, "who was refused by an exception is not refused again"


def begin_handover(bench: Bench) -> None:
    """Node 2 has all but "b", and is to lead; "a" is proposed and "held" is not."""
    bench.lead()
    bench.node.propose(["a"], ["client a"])
    bench.node.log_writer.write_waiting()
    bench.node.transfer(2)
    bench.node.propose(["held"], ["client held"])
    assert bench.machine.calls == []


def test_while_leadership_is_handed_over_clients_wait_until_the_next_leader_is_known(bench: Bench) -> None:
    begin_handover(bench)
    bench.node.read_index(["read 1"])
    bench.node.step([RequestVote(2, 1, 2, 2, 1, True)])
    bench.node.read_index(["read 2"])
    bench.node.propose(["held, too"], ["client held, too"])
    assert bench.machine.calls == [], "it leads no more, and nobody is told before it is known who does"
    bench.node.step([append(Entry.create(3, 2, COMMAND, "other"), prev_term=1, commit=3)])
    assert bench.machine.calls == [
        ("apply", 2, 3, ["client a"]),
        ("refuse", ["client held", "client held, too"], ["read 1", "read 2"]),
    ]
    with pytest.raises(NotLeaderError):
        bench.node.propose(["d"], ["client d"])


def test_held_writes_do_not_wait_for_earlier_proposals(bench: Bench) -> None:
    begin_handover(bench)
    bench.node.step([RequestVote(2, 1, 2, 2, 1, True)])
    bench.node.step([append(Entry.create(3, 2, COMMAND, "other"), prev_term=1, commit=1)])
    assert bench.machine.calls == [("refuse", ["client held"], [])]
    bench.node.step([append(Entry.create(4, 2, COMMAND, "more"), prev_term=2, commit=4)])
    assert bench.machine.calls[1][3] == ["client a"], "it is answered from here"


def test_held_writes_are_proposed_when_the_handover_is_given_up(bench: Bench) -> None:
    begin_handover(bench)
    for seconds in (0.45, 0.1):
        bench.threads.now += seconds
        bench.node.tick()
        bench.node.step([HeartbeatReply(2, 1, 1, 0), HeartbeatReply(3, 1, 1, 0)])
    bench.node.log_writer.write_waiting()
    bench.node.step([AppendAccepted(2, 1, 1, 3)])
    assert bench.machine.calls[-1] == ("apply", 2, 3, ["client a", "client held"])


def test_waiting_requests_are_refused_when_no_leader_comes_after_a_handover(bench: Bench) -> None:
    begin_handover(bench)
    bench.node.step([RequestVote(2, 1, 2, 2, 1, True)])
    bench.threads.now += 0.6
    bench.node.tick()
    assert bench.machine.calls == [("refuse", ["client a", "client held"], [])]


def test_a_read_sees_what_was_committed_before_it_or_is_refused(bench: Bench) -> None:
    bench.lead()
    bench.node.propose(["a"], ["client a"])
    bench.node.log_writer.write_waiting()
    bench.node.step([AppendAccepted(2, 1, 1, 2)])
    bench.machine.calls.clear()
    bench.node.read_index(["read 1"])
    bench.node.step([HeartbeatReply(3, 1, 1, 1)])
    assert bench.machine.calls == [("read", ["read 1"], ["a"])]
    bench.node.read_index(["read 2"])
    bench.node.step([HeartbeatReply(3, 1, 1, 1)])  # of the round before
    bench.node.step([Heartbeat(2, 1, 2, 0, 0)])
    assert bench.machine.calls[1:] == [("refuse", [], ["read 2"])]


# -- snapshots -----------------------------------------------------------------------------------------------


def test_an_own_snapshot_lets_go_of_the_log_and_is_begun_from_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data", max_raft_state=60)
    bench.node.step([append(entry(1), entry(2), entry(3), commit=2)])
    assert [name for name, _, _ in bench.threads.started] == ["snapshot"]
    bench.node.log_writer.write_waiting()
    bench.threads.run_last()
    assert bench.node.status()["log_first_index"] == 3 and bench.node.log_writer.has_work
    bench.node.log_writer.write_waiting()
    bench.close()
    again = Bench(tmp_path / "data")
    assert again.machine.calls == [("restore", ["1@1", "2@1"])]
    assert again.node.status()["log_last_index"] == 3
    again.close()


def test_a_snapshot_waits_until_the_log_is_as_large_as_the_last_one(tmp_path: Path) -> None:
    """Or a state of a gigabyte would be written again after every 32 MiB of log."""
    bench = Bench(tmp_path / "data", max_raft_state=1, snapshot_growth=1.0)

    def commit(index: int) -> int:
        """Returns how many snapshots are begun."""
        bench.node.step([append(entry(index), prev_term=index > 1, commit=index)])
        bench.node.log_writer.write_waiting()
        return len(bench.threads.started)

    assert commit(1) == 1, "the first one waits for max_raft_state only"
    bench.threads.run_last()
    needed = -(-bench.persister.snapshot_bytes // len(entry(2).line))  # entries
    assert needed > 2, f"{needed} entries are as large as the snapshot: this test needs some"
    assert [commit(index) for index in range(2, 2 + needed)] == [0] * (needed - 1) + [1]
    bench.close()
    again = Bench(tmp_path / "data", max_raft_state=1, snapshot_growth=1e9)
    again.node.step([append(entry(2 + needed), prev_term=1, commit=2 + needed)])
    assert again.threads.started == [], "what is found at the start counts, too"
    again.close()


def test_entries_kept_for_a_follower_are_no_reason_for_the_next_snapshot(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data", max_raft_state=100)
    bench.lead()

    def commit(*commands: str) -> int:
        """Returns how many snapshots are begun."""
        bench.node.propose(commands, [None] * len(commands))
        bench.node.log_writer.write_waiting()
        bench.node.step([AppendAccepted(2, 1, 1, bench.raft.log.last_index)])
        return len(bench.threads.started)

    assert commit("a", "b", "c", "d") == 1
    bench.threads.run_last()
    assert bench.raft.latest_snapshot is not None and bench.raft.log.first_index == 6
    bench.raft.progress[3].become_snapshot(bench.raft.latest_snapshot)
    assert commit("e", "f", "g", "h") == 1
    bench.threads.run_last()
    assert bench.raft.latest_snapshot.index == 9 and bench.raft.log.first_index == 6
    assert commit("i") == 0
    assert commit("j", "k", "l") == 1
    bench.close()


def test_entries_after_a_received_snapshot_wait_until_it_is_loaded(bench: Bench, tmp_path: Path) -> None:
    bench.node.step([snapshot_message(5, ["five"], tmp_path / "source")])
    bench.node.log_writer.write_waiting()
    bench.node.log_writer.write_waiting()  # lets the promise about the chunk leave
    assert bench.wire.take() == [AppendAccepted(1, 2, 1, 5)]
    bench.node.step([append(entry(6), prev_term=1, commit=6)])
    assert bench.machine.calls == []
    assert bench.threads.run_last() == "snapshot"
    assert bench.machine.state == ["five", "6@1"]
    assert bench.node.status()["applied_index"] == 6


def test_entries_that_a_newer_snapshot_holds_are_not_applied_after_it(bench: Bench, tmp_path: Path) -> None:
    bench.node.step([snapshot_message(5, ["five"], tmp_path / "five")])
    bench.node.log_writer.write_waiting()
    bench.node.step([append(entry(6), prev_term=1, commit=6)])
    bench.node.log_writer.write_waiting()
    bench.node.step([snapshot_message(9, ["nine"], tmp_path / "nine")])
    bench.node.log_writer.write_waiting()
    assert bench.threads.run_last() == "snapshot"  # begun for the first one, it finds the second one
    assert bench.machine.calls == [("restore", ["nine"])]
    assert bench.threads.run_last() == "snapshot"
    assert bench.machine.state == ["nine"] and bench.node.status()["applied_index"] == 9


def test_a_chunk_that_does_not_fit_is_answered_with_what_is_held(bench: Bench, tmp_path: Path) -> None:
    bench.node.step([snapshot_message(5, ["five"], tmp_path / "source", offset=7)])
    bench.node.log_writer.write_waiting()
    bench.node.log_writer.write_waiting()
    assert bench.wire.take() == [SnapshotReply(1, 2, 1, 5, 0)]


def test_a_snapshot_of_no_bytes_is_not_installed(bench: Bench, tmp_path: Path) -> None:
    bench.node.step([snapshot_message(5, ["five"], tmp_path / "source", data=b"")])
    bench.node.log_writer.write_waiting()
    bench.node.log_writer.write_waiting()
    assert bench.wire.take() == [SnapshotReply(1, 2, 1, 5, 0)]


def test_no_snapshot_is_begun_of_what_a_received_one_has_overtaken(tmp_path: Path) -> None:
    """The thread that applies is slow; meanwhile a snapshot arrives, and most of the log is kept after it."""
    bench = Bench(tmp_path / "data", max_raft_state=60)
    install = snapshot_message(3, ["three"], tmp_path / "source")

    def receive_snapshot() -> None:
        bench.machine.before_apply = lambda: None
        bench.node.step([install])
        bench.node.log_writer.write_waiting()

    bench.machine.before_apply = receive_snapshot
    bench.node.step([append(*[entry(index) for index in range(1, 9)], commit=2)])
    assert bench.machine.state == ["1@1", "2@1"]
    assert bench.threads.run_last() == "snapshot"
    assert (bench.machine.state, bench.threads.started) == (["three"], [])
    bench.close()


def test_an_own_snapshot_that_ends_after_a_newer_one_was_received_changes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data", max_raft_state=60)
    bench.node.step([append(entry(1), entry(2), entry(3), commit=3)])
    bench.node.step([snapshot_message(9, ["nine"], tmp_path / "source")])
    bench.node.log_writer.write_waiting()
    assert bench.threads.run_last() == "snapshot"  # the received one is loaded
    assert bench.threads.run_last() == "snapshot"  # the own one, which was begun before, is written
    assert (bench.machine.state, bench.threads.started) == (["nine"], [])
    assert bench.deaths == [] and bench.raft.log.first_index == 10
    bench.close()


# -- the end -------------------------------------------------------------------------------------------------


def test_a_thread_that_dies_ends_the_node_once_even_while_an_invariant_is_broken(bench: Bench) -> None:
    bench.raft.log.commit = 7

    def die() -> None:
        bench.node.get_state()

    bench.threads._run(die)
    bench.threads._run(die)
    bench.raft.log.commit = 0
    assert len(bench.deaths) == 1 and "commit 7" in str(bench.deaths[0])


def test_a_stopped_snapshot_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data", max_raft_state=60)
    bench.node.step([append(entry(1), entry(2), entry(3), commit=2)])
    bench.node.stop()
    bench.threads.run_last()
    assert bench.deaths == [] and list((tmp_path / "data" / "snapshot").iterdir()) == []
    assert bench.persister.snapshot is None and not bench.machine_lock.locked()
    bench.persister.close()


def test_a_node_that_is_stopped_before_its_threads_run_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data")
    bench.threads.start = bench.threads.really_start  # type: ignore[method-assign]
    bench.node.start()
    bench.node.stop()
    assert not {"log-writer", "ticker"} & {thread.name for thread in threading.enumerate()}
    bench.persister.close()


def test_get_state_is_the_cores(bench: Bench) -> None:
    assert bench.node.get_state() == (0, False)
    bench.lead()
    assert bench.node.status()["role"] == Role.LEADER.value


def test_a_node_that_is_stopped_writes_what_waits_for_the_disk(tmp_path: Path) -> None:
    """It may have applied that already; and whoever looks at a disk after a stop expects what was applied."""
    bench = Bench(tmp_path / "data")
    bench.lead()
    bench.node.propose(["a", "b"], [None, None])
    bench.threads.stop()
    bench.node.log_writer.run()
    assert bench.persister.last_index == 3
    bench.close()
