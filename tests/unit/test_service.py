"""KVService: batches in, replies out, each to who asked and once."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import pytest
from raftkv.errors import (
    BAD_REQUEST,
    NO_SPACE,
    NOT_LEADER,
    OVERLOADED,
    SESSION_EXPIRED,
    NotLeaderError,
    OverloadedError,
)
from raftkv.kvdb import reads, session_table
from raftkv.kvdb.requests import of_entry, of_request
from raftkv.kvdb.service import KVService
from raftkv.node.interfaces import RoleChange
from raftkv.raft.types import COMMAND, NOOP, Entry, Role


class Consensus:
    """Keeps what it is asked, or refuses with `error`."""

    def __init__(self) -> None:
        self.proposed: list[tuple[Sequence[Any], Sequence[Any]]] = []
        self.reads: list[Sequence[Any]] = []
        self.error: Exception | None = None
        self.no_room = ""

    def propose(self, commands: Sequence[Any], contexts: Sequence[Any], term: int = 0) -> None:
        if self.error is not None:
            raise self.error
        self.proposed.append((commands, contexts))

    def read_index(self, contexts: Sequence[Any]) -> None:
        if self.error is not None:
            raise self.error
        self.reads.append(contexts)

    def status(self) -> dict:
        return {"id": 1}


class Bench:
    def __init__(self, max_data_bytes: int = 0) -> None:
        self.replies: list[Any] = []
        self.consensus = Consensus()
        self.service = KVService(self.replies.extend, "1.2.3", max_data_bytes=max_data_bytes)
        self.service.replicated_by(self.consensus)

    def take(self) -> list[Any]:
        replies, self.replies[:] = list(self.replies), []
        return replies

    def commit(self, index: int, *commands: list[Any], contexts: Sequence[Any] = ()) -> None:
        entries = [Entry.create(index + i, 1, COMMAND, command) for i, command in enumerate(commands)]
        self.service.apply(entries, list(contexts))


@pytest.fixture
def bench() -> Bench:
    """With one client, "one"."""
    bench = Bench()
    return bench


def dump(service: KVService) -> list[Any]:
    """The records of a snapshot."""
    view = service.begin_snapshot()
    records = []
    while chunk := view.next_chunk(10):
        records += [json.loads(service.encode_record(record)) for record in chunk]
    view.close()
    return records


def pending(channel: str, id: int, data: list[Any]) -> tuple[Any, ...]:
    """The context of a write that was proposed for a client."""
    return channel, id, data, of_entry(data), 0


def asked(*requests: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The contexts of reads."""
    return [(channel, id, of_request(method, args)) for channel, id, method, args in requests]


def put(seq: int, key: str, value: str) -> list[Any]:
    return ["one", 1, seq, seq, "put", key, value]


def test_a_turn_is_one_proposal_and_one_round_of_reads(bench: Bench) -> None:
    batch: list[Any] = [
        ("A", 1, "put", ("one", 1, 1, 1, b"k", b"v")),
        ("B", 1, "get", (b"k",)),
        ("B", 2, "put", ("one", 1, 2, 1, b"k", b"w")),
        ("A", 2, "range", (b"a", b"z")),
        ("C", 9, "status", ()),
        ("C", 8, "put", ("one", 2, 3)),
        ("C", 7, "drop", ()),
    ]
    bench.service.on_requests(batch)
    commands, contexts = bench.consensus.proposed[0]
    assert commands == [["one", 1, 1, 1, "put", "k", "v"], ["one", 1, 2, 1, "put", "k", "w"]]
    assert [context[:3] for context in contexts] == [("A", 1, commands[0]), ("B", 2, commands[1])]
    assert bench.consensus.reads == [asked(batch[1], batch[3])]
    replies = {(channel, id): (ok, result) for channel, id, ok, result in bench.take()}
    ok, status = replies.pop(("C", 9))
    told = {
        "id": 1,
        "pid": os.getpid(),
        "version": "1.2.3",
        "alarms": [],
        "problems": [],
        "data_bytes": 0,
        "keys": 0,
    }
    assert ok and told.items() <= status.items()
    assert {key: (ok, result[0]) for key, (ok, result) in replies.items()} == {
        ("C", 8): (False, BAD_REQUEST),
        ("C", 7): (False, BAD_REQUEST),
    }


@pytest.mark.parametrize(
    "error, code, detail",
    [
        (NotLeaderError(3), NOT_LEADER, {"leader": 3, "proposed": False}),
        (OverloadedError("too much"), OVERLOADED, {"proposed": False}),
    ],
)
def test_a_refused_client_is_told_once_that_nothing_was_proposed(
    bench: Bench, error: Exception, code: str, detail: dict
) -> None:
    bench.consensus.error = error
    bench.service.on_requests([("A", 1, "put", ("one", 1, 1, 1, b"k", b"v")), ("A", 2, "get", (b"k",))])
    replies = {id: (ok, result[0], result[2]) for _, id, ok, result in bench.take()}
    assert replies == dict.fromkeys((1, 2), (False, code, detail))


GROWING: list[Any] = [
    ("put", ("one", 1, 1, 1, b"k", b"v")),
    ("append", ("one", 1, 2, 1, b"k", b"v")),
    ("cas", ("one", 1, 3, 1, b"k", None, b"v")),
    ("batch", ("one", 1, 4, 1, [("delete", b"k"), ("put", b"k", b"v")])),
]
OTHERS: list[Any] = [
    ("hello", ()),
    ("compact", ("one", 1, 7, 1, 2)),
    ("delete", ("one", 1, 5, 1, b"k")),
    ("batch", ("one", 1, 6, 1, [("delete", b"k"), ("delete", b"l")])),
    ("get", (b"k",)),
    ("range", (b"a", b"z")),
]


def leading(max_data_bytes: int = 0) -> Bench:
    """With one client, "one"."""
    bench = Bench(max_data_bytes)
    bench.service.role_changed(RoleChange(Role.LEADER, 1, 1, ""))
    return bench


def ask(bench: Bench, requests: Sequence[Any]) -> dict[str, Any]:
    """All in one turn. Returns the refusals by method."""
    bench.service.on_requests([("A", method, method, args) for method, args in requests])
    return {id: result for _, id, ok, result in bench.take() if not ok}


def test_growing_writes_are_refused_while_a_disk_is_full_and_all_else_goes_on() -> None:
    bench = leading()
    bench.consensus.no_room = "node 2 has no room"
    refused = (NO_SPACE, "node 2 has no room", {"proposed": False})
    assert ask(bench, [*GROWING, *OTHERS]) == {method: refused for method, _ in GROWING}
    assert [command[4] for command in bench.consensus.proposed[0][0]] == ["compact", "delete", "batch"]
    assert len(bench.consensus.reads[0]) == 2
    bench.consensus.no_room = ""
    assert ask(bench, GROWING) == {}


def test_a_follower_says_that_it_does_not_lead_and_not_that_there_is_no_room() -> None:
    bench = Bench(max_data_bytes=1)
    bench.consensus.error = NotLeaderError(3)
    assert {result[0] for result in ask(bench, GROWING).values()} == {NOT_LEADER}


def test_data_grows_to_its_limit_with_what_is_not_applied_yet_and_again_after_a_delete() -> None:
    bench, value = leading(10_000), b"v" * 1800
    writes = [("put", ("one", 1, seq, 1, b"k%d" % seq, value)) for seq in range(1, 9)]
    refused = [
        id
        for seq, write in enumerate(writes)
        for id in ask(bench, [write])  # one turn each, and nothing is applied meanwhile
    ]
    assert len(refused) == 8 - 4 and bench.service.status()["alarms"] == ["NOSPACE"]
    assert "max_data_bytes = 10000" in bench.service.status()["problems"][0]
    for index, (commands, contexts) in enumerate(bench.consensus.proposed, 2):
        bench.commit(index, *commands, contexts=contexts)
    assert bench.service.status()["data_bytes"] <= 10_000
    assert ask(bench, writes[:1]) and not ask(bench, [("delete", ("one", 1, 9, 1, b"k1"))])
    delete = ["one", 1, 9, 1, "delete", "k1"]
    bench.commit(10, delete, contexts=[pending("A", 1, delete)])
    assert bench.service.status()["alarms"] == [] and ask(bench, writes[:1]) == {}


@pytest.mark.parametrize("end", ["lost", "not proposed"])
def test_commands_that_are_never_applied_take_no_room(end: str) -> None:
    bench = leading(10_000)
    write = ("put", ("one", 1, 1, 1, b"k", b"v" * 5000))
    for _ in range(5):
        if end == "lost":
            assert ask(bench, [write]) == {}
            bench.service.refuse(list(bench.consensus.proposed[-1][1]), [])
            bench.take()
        else:
            bench.consensus.error = OverloadedError("too much")
            assert ask(bench, [write])["put"][0] == OVERLOADED
    bench.consensus.error = None
    assert ask(bench, [write]) == {}


def test_a_bug_is_not_taken_for_a_refusal(bench: Bench) -> None:
    bench.consensus.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        bench.service.on_requests([("A", 1, "get", (b"k",))])


def test_entries_are_answered_to_who_proposed_them_and_only_to_them(bench: Bench) -> None:
    commands = [put(seq, "k", "v") for seq in (1, 2, 3)]
    entries = [Entry.create(2, 1, NOOP, None)]
    entries += [Entry.create(index, 1, COMMAND, command) for index, command in enumerate(commands, 3)]
    bench.service.apply(entries, [None, pending("A", 5, commands[0]), None, pending("B", 6, commands[2])])
    assert bench.take() == [("A", 5, True, 2), ("B", 6, True, 4)]


def test_the_proposer_applies_the_same_as_a_reader_of_the_log() -> None:
    """A leader applies what came from the client, a follower what JSON made of it."""
    requests: list[Any] = [
        ("A", 1, "put", ("one", 1, 1, 1, "a\u00e9\U0001f40d".encode(), 'v"\\\n\u2028'.encode() + b"\xff")),
        ("A", 2, "append", ("one", 1, 2, 1, "a\u00e9\U0001f40d".encode(), b"\x00")),
        ("A", 3, "cas", ("one", 1, 3, 1, b"b", None, b"")),
        (
            "A",
            4,
            "batch",
            ("one", 1, 4, 1, (("put", b"c", b"1"), ("delete", b"b"), ["cas", b"c", b"1", b"2"])),
        ),
        ("A", 5, "delete", ("one", 1, 5, 1, b"none")),
        ("A", 6, "put", ("one", 1, 2**63 - 1, 2**63 - 1, b"d", b"1")),
    ]
    leader, follower = Bench(), Bench()
    leader.service.on_requests(requests)
    commands, contexts = leader.consensus.proposed[0]
    leader.commit(2, *commands, contexts=contexts)
    follower.commit(2, *commands)
    assert [id for _, id, ok, _ in leader.take() if ok] == [1, 2, 3, 4, 5, 6]
    assert dump(leader.service) == dump(follower.service)


def test_a_repeated_command_gets_its_first_answer(bench: Bench) -> None:
    again = put(1, "k", "v")
    bench.commit(2, put(1, "k", "v"), again, contexts=[None, pending("A", 2, again)])
    assert bench.take() == [("A", 2, True, 2)]


def test_reads_see_what_was_applied(bench: Bench) -> None:
    bench.commit(2, put(1, "a", "x"), put(2, "b", "y"))
    bench.service.read(
        asked(
            ("A", 1, "get", (b"a",)),
            ("A", 2, "get", (b"c",)),
            ("B", 3, "gets", ([b"b", b"c"],)),
            ("B", 4, "range", (b"b", b"\0")),
        )
    )
    assert bench.take() == [
        ("A", 1, True, (3, (b"x", 2, 2, 1, 0))),
        ("A", 2, True, (3, None)),
        ("B", 3, True, (3, [(b"y", 3, 3, 1, 0), None])),
        ("B", 4, True, (3, [(b"b", b"y", 3, 3, 1, 0)], False, 1)),
    ]


def test_one_answer_does_not_grow_without_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_ANSWER_BYTES", 5)
    bench.commit(2, put(1, "a", "xxx"))
    bench.service.read(asked(("A", 1, "gets", ([b"a"],)), ("A", 2, "gets", ([b"a", b"a"],))))
    fits, too_large = bench.take()
    assert fits == ("A", 1, True, (2, [(b"xxx", 2, 2, 1, 0)]))
    assert (too_large[2], too_large[3][0]) == (False, BAD_REQUEST)


def test_the_end_of_a_leadership_says_what_is_in_doubt_and_who_leads_now(bench: Bench) -> None:
    bench.service.role_changed(RoleChange(Role.FOLLOWER, 4, 2, "deposed"))
    bench.service.refuse([pending("A", 1, put(1, "k", "v"))], asked(("B", 2, "get", (b"k",))))
    assert [(channel, id, ok, result[0], result[2]) for channel, id, ok, result in bench.take()] == [
        ("A", 1, False, NOT_LEADER, {"leader": 2, "proposed": True}),
        ("B", 2, False, NOT_LEADER, {"leader": 2, "proposed": False}),
    ]


def test_a_snapshot_is_begun_from_with_sessions_and_all(bench: Bench) -> None:
    bench.commit(2, put(1, "k", "v"))
    records = dump(bench.service)
    again = Bench()
    again.commit(2, ["two", 1, 1, 1, "put", "stays", "not"])
    again.service.restore(records)
    other = put(1, "k", "other")
    again.commit(3, other, contexts=[pending("A", 1, other)])
    again.service.read(asked(("A", 2, "range", (b"a", b"z"))))
    assert again.take() == [("A", 1, True, 2), ("A", 2, True, (2, [(b"k", b"v", 2, 2, 1, 0)], False, 1))]


def test_a_server_tells_an_applied_index_and_who_leads(bench: Bench) -> None:
    hello = [("A", 1, "hello", ())]
    bench.service.on_requests(hello)
    assert bench.take() == [("A", 1, True, {"applied": 1, "leader": None})], (
        "there is no entry before the first"
    )
    bench.commit(7, put(1, "k", "v"))
    bench.service.role_changed(RoleChange(Role.FOLLOWER, 4, 2, ""))
    bench.service.on_requests(hello)
    assert bench.take() == [("A", 1, True, {"applied": 7, "leader": 2})]


def test_a_client_that_comes_too_late_is_refused_without_an_entry(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_table, "MAX_SESSIONS", 2)
    for index, name in enumerate("abc", 2):
        bench.commit(index, [name, index - 1, 1, 1, "put", "k", name])
    requests = [
        ("A", birth, "put", (name, birth, 2, 1, b"k", b"v")) for name, birth in (("x", 1), ("c", 3), ("y", 4))
    ]
    bench.service.on_requests(requests)
    assert [command[0] for command in bench.consensus.proposed[0][0]] == ["c", "y"]
    ((_, id, ok, (code, _, detail)),) = bench.take()
    assert (id, ok, code, detail) == (1, False, SESSION_EXPIRED, {"birth": 4})
