"""A node whose disk is full: it lives, promises nothing that it could not write, and says so; and a leader
of such nodes."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

import pytest
from raftkv.node import snapshotter
from raftkv.raft.messages import AppendAccepted, Heartbeat, HeartbeatReply, SnapshotReply
from raftkv.raft.types import COMMAND, Entry

from tests.sim.disk import SimDisk
from tests.storage.model import open_persister
from tests.unit.test_node import Bench, append, entry, snapshot_message

RESERVE = 16_000  # bytes


class Full(Bench):
    """Its disk is a simulated one."""

    def __init__(self, reserve_bytes: int = RESERVE, max_raft_state: int = 1 << 20) -> None:
        self.disk = SimDisk()
        persister = open_persister(self.disk, segment_bytes=4000, reserve_bytes=reserve_bytes)
        super().__init__(Path("data"), max_raft_state, persister=persister)
        self.node.tick()

    def tend(self) -> None:
        while self.persister.tend_reserve():
            pass
        self.node.tick()

    def fill(self, room_bytes: int = 0) -> None:
        self.disk.capacity = self.disk.used() + room_bytes

    def free(self) -> None:
        self.disk.capacity = None

    def room_thread(self) -> None:
        """One turn of it."""
        self.node._room._snapshotter.make_room()


@pytest.fixture
def bench() -> Iterable[Full]:
    bench = Full()
    yield bench
    bench.free()
    bench.close()


@pytest.fixture
def bare() -> Iterable[Full]:
    """Without a reserve."""
    bench = Full(reserve_bytes=0)
    bench.node.log_writer._last_write_s = 0.0
    yield bench
    bench.free()
    bench.close()


def test_a_node_has_its_reserve_before_it_stores_anything(bench: Full) -> None:
    """Else the first clients could fill the disk before there is anything to give back."""
    pieces = [path for path in bench.disk.files() if path.startswith("data/reserve/")]
    assert sum(bench.disk.size_of(path) for path in pieces) == RESERVE


def test_a_lone_entry_without_room_is_left_to_the_log_writer_which_waits(bare: Full) -> None:
    """The thread that brings it reads what others send: it must not wait."""
    bare.node.step([Heartbeat(2, 1, 1, 0, 0)])  # brings the term
    bare.node.log_writer.write_waiting()
    bare.wire.take()
    bare.fill()
    waits: list[float] = []

    def sleep(seconds: float) -> bool:
        waits.append(seconds)
        bare.node.step([Heartbeat(2, 1, 1, 0, len(waits))])
        if len(waits) == 3:
            bare.free()
        return False

    bare.threads.sleep = sleep  # type: ignore[method-assign]
    bare.node.step([append(entry(1))])
    assert waits == [] and bare.wire.take() == [] and bare.node.log_writer.has_work
    bare.node.log_writer.write_waiting()
    assert len(waits) == 3
    *alive, promise = bare.wire.take()
    assert [type(message) for message in alive] == [HeartbeatReply] * 3, "it answers meanwhile"
    assert promise == AppendAccepted(1, 2, 1, 1) and bare.persister.last_index == 1


def test_a_node_that_waits_for_room_can_be_stopped(bare: Full) -> None:
    bare.fill()
    bare.node.step([append(entry(1))])

    def sleep(seconds: float) -> bool:
        bare.threads.stop()
        return True

    bare.threads.sleep = sleep  # type: ignore[method-assign]
    bare.node.log_writer.run()
    assert bare.wire.take() == [] and bare.persister.last_index == 0 and bare.deaths == []


def test_a_follower_says_that_it_is_short_and_when_it_is_no_more(bench: Full) -> None:
    said = []
    for change in (lambda: None, bench.fill, lambda: None, bench.free):
        change()
        index = bench.raft.log.last_index + 1
        large = Entry.create(index, 1, COMMAND, "x" * 4500)  # so that the file must grow
        bench.node.step([append(large, prev_term=min(1, index - 1))])
        bench.node.log_writer.write_waiting()
        bench.tend()
        bench.wire.take()
        bench.node.step([Heartbeat(2, 1, 1, 0, 1)])
        said.append(bench.wire.take()[0].is_short_of_room)  # type: ignore[union-attr]
        assert (bench.node.status()["alarms"] == ["NOSPACE"]) == said[-1]
        assert bench.node.no_room == "", "it does not lead"
    assert said == [False, True, True, False]


def test_a_follower_that_becomes_short_says_so_before_it_is_asked(bench: Full) -> None:
    bench.node.step([append(Entry.create(1, 1, COMMAND, "x"), prev_term=0)])
    bench.node.log_writer.write_waiting()
    bench.wire.take()
    bench.fill()
    bench.node.step([append(Entry.create(2, 1, COMMAND, "x" * 4500), prev_term=1)])
    bench.node.log_writer.write_waiting()
    bench.wire.take()
    bench.node.tick()
    (said,) = bench.wire.take()
    assert isinstance(said, HeartbeatReply) and said.to == 2 and said.is_short_of_room
    bench.node.tick()
    assert bench.wire.take() == [], "once"


def test_a_leader_refuses_growth_while_a_live_voter_is_short(bench: Full) -> None:
    bench.lead()
    for short, words in (
        ((), ""),
        ((2,), "node 2 has"),
        ((2, 3), "nodes 2 and 3 have"),
        ((3,), "node 3 has"),
    ):
        bench.node.step([HeartbeatReply(peer, 1, 1, 0, peer in short) for peer in (2, 3)])
        bench.node.tick()
        assert bench.node.no_room.startswith(words) and bool(bench.node.no_room) == bool(short)
        assert len(bench.node.problems()) == bool(short)
    timeout_s = bench.raft.options.election_timeout_s
    bench.threads.now += 0.9 * timeout_s
    bench.node.tick()
    bench.node.step([HeartbeatReply(2, 1, 1, 0, False)])
    bench.threads.now += 0.2 * timeout_s
    bench.node.tick()
    assert bench.raft.leadership is not None and bench.node.no_room == "", "node 3 is dead"
    bench.fill()
    bench.node.propose(["x" * 4500], [None])
    bench.node.log_writer.write_waiting()
    bench.node.tick()
    assert bench.node.no_room.startswith("node 1 has no room")


def test_a_snapshot_without_room_is_given_up_and_tried_again_later() -> None:
    bench = Full(reserve_bytes=1600, max_raft_state=3000)
    bench.fill()
    bench.disk.capacity = bench.disk.used() + 4400  # for the log

    def commit(index: int, data: str = "") -> list[str]:
        bench.node.step([append(entry(index), prev_term=min(1, index - 1), commit=index)])
        bench.node.log_writer.write_waiting()
        return [name for name, _, _ in bench.threads.started]

    bench.machine.state = ["x" * 6000]
    index = 1
    while not commit(index):
        index += 1
    assert bench.threads.run_last() == "snapshot" and bench.deaths == []
    assert bench.persister.snapshot is None and commit(index + 1) == [], "not at once"
    bench.threads.now += snapshotter.RETRY_S
    bench.free()
    assert commit(index + 2) == ["snapshot"]
    bench.threads.run_last()
    assert bench.persister.snapshot is not None
    bench.close()


def fill_two_files(bench: Full) -> None:
    """Of the log."""
    index = 1
    while len([path for path in bench.disk.files() if "/log/" in path]) < 2:
        bench.node.step([append(entry(index), prev_term=min(1, index - 1), commit=index)])
        bench.node.log_writer.write_waiting()
        index += 1


def refuse_snapshots(operation: str, path: str) -> None:
    """What a full disk says."""
    if "/snapshot" in path and operation in ("create", "write"):
        raise OSError(errno.ENOSPC, "No space left on device", path)


def test_a_snapshot_without_room_is_tried_again_as_soon_as_the_data_is_smaller(bench: Full) -> None:
    """The log takes of the same reserve meanwhile."""
    fill_two_files(bench)
    bench.machine.snapshot_bytes = lambda: len(bench.machine.state[0])  # type: ignore[method-assign]
    bench.machine.state = ["x" * 3000]
    bench.fill()
    bench.disk.before = refuse_snapshots
    bench.room_thread()
    assert bench.threads.run_last() == "snapshot" and bench.persister.snapshot is None
    bench.room_thread()
    assert bench.threads.started == [], "not at once"
    bench.machine.state = ["x" * 2600]
    bench.room_thread()
    assert [name for name, _, _ in bench.threads.started] == ["snapshot"]


def test_a_snapshot_is_taken_early_if_that_gives_room(bench: Full) -> None:
    """After a delete, for example: the log is large, and the data is small now."""
    fill_two_files(bench)
    bench.machine.state = ["x" * 4500]
    bench.machine.snapshot_bytes = lambda: len(bench.machine.state[0])  # type: ignore[method-assign]
    bench.room_thread()
    assert bench.threads.started == [], "a snapshot would be as large as what it lets go"
    bench.machine.state = ["x"]
    before = bench.disk.used()
    bench.room_thread()
    assert bench.threads.run_last() == "snapshot"
    bench.node.log_writer.write_waiting()
    assert bench.disk.used() < before - 3000
    bench.room_thread()
    assert bench.threads.started == [], "there is nothing to let go"


def test_a_received_snapshot_without_room_is_taken_when_there_is_some(bare: Full, tmp_path: Path) -> None:
    bare.node.step([append(entry(1))])
    bare.node.log_writer.write_waiting()
    bare.wire.take()
    bare.fill(10)
    message = snapshot_message(5, ["five"], tmp_path / "source")
    for has_room in (False, True):
        if has_room:
            bare.free()
        bare.node.step([message])
        while bare.node.log_writer.has_work:
            bare.node.log_writer.write_waiting()
        expected = AppendAccepted(1, 2, 1, 5) if has_room else SnapshotReply(1, 2, 1, 5, 0)
        assert bare.wire.take() == [expected]
    assert bare.deaths == [] and bare.persister.snapshot is not None
