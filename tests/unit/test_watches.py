"""Watches: each event once, in order, a revision never split, whatever servers and clients do."""

from __future__ import annotations

import random

import pytest
from raftkv import errors
from raftkv.kvdb import history, watch_cursor, watches
from raftkv.kvdb.limits import MAX_KEY_BYTES
from raftkv.kvdb.maintenance import Compact, DropHistory, LeaseGrant
from raftkv.kvdb.range_index import RangeIndex
from raftkv.kvdb.ranges import ALL, end_of, prefix_range
from raftkv.kvdb.restoring import Restore
from raftkv.kvdb.transactions import transaction
from raftkv.kvdb.watch_requests import NO_DELETES, NO_PUTS, WINDOW, WITH_PREVIOUS, WITHOUT_LEADER, Watch
from raftkv.kvdb.writes import Delete, Put, batch_of

from tests.unit.watch_world import Watcher, World


@pytest.fixture
def small_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_EVENTS", 60)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 5)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PIECE_EVENTS", 3), ("PIECE_LOOKS", 7)):
        monkeypatch.setattr(watch_cursor, name, value)
    monkeypatch.setattr(watches, "PIECES", 2)


def put(key: str, value: str = "v") -> Put:
    return Put(key.encode(), value.encode())


def watch(key: bytes, end: bytes = b"", start: int = 1, options: int = 0) -> Watch:
    return Watch(0, key, end, start, options)


def random_write(rng: random.Random, world: World) -> object:
    keys = [f"k{rng.randrange(8)}" for _ in range(rng.randint(1, 5))]
    kind = rng.random()
    if kind < 0.5:
        return put(keys[0], "v" * rng.randrange(100))
    if kind < 0.6:
        return Delete(keys[0].encode())
    if kind < 0.7:
        return Delete(*prefix_range(b"k"))
    if kind < 0.8:
        return transaction([], [put(key) for key in set(keys)], [])
    if kind < 0.82:
        return Compact(max(1, len(world.events) - rng.randrange(50)))
    return batch_of([put(key) for key in keys])


def random_request(rng: random.Random, newest: int) -> Watch:
    bounds = rng.choice([(b"k3", b""), prefix_range(b"k"), (b"k2", b"k5"), ALL, (b"k9", b"")])
    options = rng.choice([0, 0, WITH_PREVIOUS, NO_PUTS, NO_DELETES])
    return watch(*bounds, rng.choice([1, newest, newest + 1, newest + 5]), options)


def something_happens(rng: random.Random, world: World, watchers: list[Watcher]) -> None:
    server, watcher, kind = rng.choice(list(world.servers.values())), rng.choice(watchers), rng.random()
    if kind < 0.3:
        world.do(*[random_write(rng, world) for _ in range(rng.randint(1, 4))])
    elif kind < 0.5:
        server.apply(min(len(world.log), server.store.applied + rng.randint(1, 10)))
    elif kind < 0.55:
        server.restore(rng.choice(list(world.servers.values())))
    elif kind < 0.65:
        watcher.lose() if watcher.error is None and watcher.session.server else watcher.wake()
    elif kind < 0.7:
        watcher.channel.backlog = rng.choice([b"", b"x"])
    elif kind < 0.8:
        world.now += rng.random()
        server.tick()
    else:
        watcher.pump(take=rng.random() < 0.7)


@pytest.mark.parametrize("seed", range(12))
def test_watchers_are_told_exactly_what_happened(
    seed: int, small_history: None, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    if rng.random() < 0.5:
        monkeypatch.setattr(watch_cursor, "WINDOW", 500)
        monkeypatch.setattr("raftkv.client.watch_session.WINDOW", 500)
    world, watchers = World(3), []
    for step in range(250):
        if step % 25 == 0:
            watchers.append(Watcher(world, random_request(rng, len(world.events))))
        something_happens(rng, world, watchers)
    for _ in range(10):
        for watcher in watchers:
            watcher.channel.backlog = b""
            watcher.pump()
            watcher.wake()
        for server in world.servers.values():
            server.apply()
            world.now += watches.MARK_S
            server.tick()
    newest = world.servers[1].store.data.revision
    for watcher in watchers:
        reached = watcher.session.next_revision - 1
        assert watcher.events == world.wanted(watcher.request, reached)
        splits = [told.events[0][0] for told in watcher.told if told.events and told.events[0][0] <= reached]
        assert splits == sorted(set(splits))
        if watcher.error is None:
            assert reached >= newest
        else:
            assert isinstance(watcher.error, errors.CompactedError)
            assert reached + 1 < watcher.error.compact_revision <= newest


def test_a_range_index_finds_what_a_search_of_all_finds() -> None:
    rng, index, members = random.Random(1), RangeIndex[int](), {}
    for step in range(1500):
        if members and rng.random() < 0.3:
            member = rng.choice(list(members))
            index.remove(*members.pop(member), member)
        else:
            key = b"%d" % rng.randrange(1000)
            end = rng.choice([b"", b"\0", b"%d" % rng.randrange(1000)])
            members[step] = key, end
            index.add(key, end, step)
        sought = b"%d" % rng.randrange(1000)
        expected = [
            member
            for member, (key, end) in members.items()
            if key <= sought < (end_of(key, end) or b"\xff" * (MAX_KEY_BYTES + 1))
        ]
        assert sorted(index.find(sought)) == expected


def test_a_revision_that_is_too_large_for_a_message_is_told_whole(small_pieces: None) -> None:
    world = World()
    late, early = (Watcher(world, watch(*prefix_range(b"k"), start)) for start in (2, 1))
    world.do(transaction([], [put(f"k{each:02}") for each in range(20)], []), put("k"))
    world.servers[1].apply()
    world.servers[1].tick()
    for watcher in (late, early):
        watcher.pump()
        assert [len(told.events) for told in watcher.told if told.events] == [20, 1]


def test_an_unread_watch_costs_a_bounded_buffer_and_holds_up_nobody() -> None:
    world = World()
    server = world.servers[1]
    reader, sleeper = (Watcher(world, watch(b"k")) for _ in range(2))
    for step in range(100):
        world.do(put("k", "v" * (WINDOW // 20)))
        server.apply()
        server.tick()
        reader.pump()
        sleeper.pump(take=False)
    assert len(reader.events) == 100
    assert sum(len(event[2][0]) for told in sleeper.waiting for event in told.events) < 1.2 * WINDOW
    sleeper.pump()
    assert sleeper.events == reader.events


def test_an_unread_watch_costs_no_more_over_reconnects() -> None:
    world = World()
    server = world.servers[1]
    sleeper = Watcher(world, watch(b"k"))
    for _ in range(100):
        world.do(put("k", "v" * (WINDOW // 20)))
        server.apply()
        sleeper.pump(take=False)
        sleeper.lose()
        sleeper.wake()
        server.tick()
    assert sum(len(event[2][0]) for told in sleeper.waiting for event in told.events) < 1.2 * WINDOW
    for _ in range(9):
        sleeper.pump()
    assert len(sleeper.events) == 100


def test_a_watch_that_fell_out_of_the_history_is_told_where_it_stopped(small_history: None) -> None:
    world = World()
    server = world.servers[1]
    sleeper = Watcher(world, watch(b"k"))
    sleeper.channel.backlog = b"x"
    for _ in range(100):
        world.do(put("k"))
        server.apply()
        server.tick()
    sleeper.channel.backlog = b""
    server.tick()
    sleeper.pump()
    assert isinstance(sleeper.error, errors.CompactedError)
    assert 2 < sleeper.error.compact_revision <= server.store.data.compact_revision
    assert len(server.watches) == 0


def test_more_than_the_history_holds_at_once_is_told_to_those_who_are_up_to_date(small_history: None) -> None:
    world = World()
    watcher = Watcher(world, watch(b"k"))
    world.do(*[put("k") for _ in range(500)])
    world.servers[1].apply()
    watcher.pump()
    assert len(watcher.events) == 500


def test_an_idle_watch_goes_on_after_a_compaction() -> None:
    world = World(2)
    watcher = Watcher(world, watch(b"k"))
    world.do(*[put("other") for _ in range(9)], Compact(9), put("k"))
    for server in world.servers.values():
        server.apply(11)
        server.tick()
    watcher.pump()
    watcher.lose()
    for server in world.servers.values():
        server.apply()
    watcher.pump()
    assert len(watcher.events) == 1 and watcher.error is None


def test_progress_is_told_from_time_to_time_where_there_was_any() -> None:
    world = World()
    watcher = Watcher(world, watch(b"k"))
    marks = []
    for writes in (3, 0, 1):
        world.do(*[put("other")] * writes)
        world.servers[1].apply()
        world.now += watches.MARK_S
        world.servers[1].tick()
        watcher.pump()
        marks.append([told.revision for told in watcher.told])
    assert marks == [[1, 4], [1, 4], [1, 4, 5]]


def test_a_server_without_a_leader_ends_its_streams_but_for_those_that_need_none() -> None:
    world = World(2)
    one, other = Watcher(world, watch(b"k")), Watcher(world, watch(b"k", options=WITHOUT_LEADER))
    left, stays = one.server, other.server
    for server in world.servers.values():
        server.watches.role_changed(None)
    for now, count in ((2.9, 2), (3.0, 1)):
        world.now = now
        for server in world.servers.values():
            server.tick()
        assert sum(len(server.watches) for server in world.servers.values()) == count
    world.servers[3 - left].watches.role_changed(1)
    one.pump()
    assert (one.server, other.server) == (3 - left, stays)
    assert one.session.problem == ""


def test_a_history_that_yields_ends_only_watches_of_the_past() -> None:
    world = World()
    told, future = Watcher(world, watch(b"k")), Watcher(world, watch(b"k", start=4))
    world.do(put("k"), put("k"), DropHistory(), put("k"))
    world.servers[1].apply()
    past = Watcher(world, watch(b"k", start=3))
    for each in (told, future, past):
        each.pump()
    assert [event[0] for event in told.events] == [2, 3, 4] and [event[0] for event in future.events] == [4]
    assert isinstance(past.error, errors.CompactedError) and past.error.compact_revision == 4


def test_a_start_in_the_future_waits_and_one_that_was_compacted_is_refused() -> None:
    world = World()
    world.do(*[put("k") for _ in range(10)], Compact(8))
    world.servers[1].apply()
    future, past = Watcher(world, watch(b"k", start=14)), Watcher(world, watch(b"k", start=7))
    oldest = Watcher(world, watch(b"k", start=8))
    world.do(*[put("k") for _ in range(4)])
    world.servers[1].apply()
    world.servers[1].tick()
    for each in (future, past, oldest):
        each.pump()
    assert [event[0] for event in future.events] == [14, 15]
    assert isinstance(past.error, errors.CompactedError) and past.error.compact_revision == 8
    assert [event[0] for event in oldest.events] == list(range(8, 16))


def test_a_received_snapshot_without_a_new_revision_leaves_watches_as_they_are() -> None:
    world = World(2)
    watcher = Watcher(world, watch(b"k"))
    world.do(LeaseGrant(1, 60))
    server, other = world.servers[watcher.server], world.servers[3 - watcher.server]
    other.apply()
    server.restore(other)
    world.do(put("k"))
    server.apply()
    watcher.pump()
    assert len(watcher.events) == 1


def test_a_dump_that_is_put_back_ends_the_watches_of_before() -> None:
    world = World()
    before = Watcher(world, watch(b"k"))
    world.do(Restore(5, 0, [], [(b"k", b"v", 3, 4, 2, 0)]))
    world.servers[1].apply()
    world.servers[1].tick()
    before.pump()
    assert isinstance(before.error, errors.CompactedError)
    since = Watcher(world, watch(b"k", start=before.error.compact_revision))
    world.do(put("k"))
    world.servers[1].apply()
    since.pump()
    assert [event[0] for event in since.events] == [world.servers[1].store.data.revision]


def test_nothing_is_kept_of_a_watch_that_is_over() -> None:
    world = World()
    server = world.servers[1]
    cancelled, lost = Watcher(world, watch(*ALL)), Watcher(world, watch(b"k", start=100))
    twice = server.watches.begin(lost.channel, 1, watch(b"k")._replace(number=1))
    assert twice is not None and "already" in twice[1][1]
    cancelled._perform(cancelled.session.cancel())
    assert cancelled.channel.inbox[-1][2][0] == errors.CANCELLED
    server.watches.closed(lost.channel)
    server.tick()
    assert len(server.watches) == 0 and not server.watches._groups
    world.do(put("k"))
    server.apply()
    cancelled.pump()
    assert cancelled.events == []
