"""Dumps: what a client reads in pieces is of one moment, and is dropped when nobody reads it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from raftkv.errors import BAD_REQUEST, OVERLOADED
from raftkv.kvdb import dumps
from raftkv.kvdb.dumps import IDLE_S, MAX_DUMPS
from raftkv.kvdb.service import KVService
from raftkv.kvdb.snapshot_view import FORMAT
from raftkv.raft.types import COMMAND, Entry


class Channel:
    closing = False


class Server:
    """A KVService that leads alone: what it is asked is answered at once. `now`: its clock, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.index = 1
        self._replies: list[Any] = []
        self.channels: dict[str, Channel] = defaultdict(Channel)
        self.service = KVService(self._replies.extend, "0", clock=lambda: self.now)
        self.service.replicated_by(self)  # type: ignore[arg-type]

    def read_index(self, contexts: Any) -> None:
        self.service.read(contexts)

    read_now = read_index

    def status(self) -> dict[str, Any]:
        return {"id": 3, "applied_index": self.index}

    def apply(self, data: list[Any]) -> None:
        self.index += 1
        self.service.apply([Entry.create(self.index, 1, COMMAND, data)], [])

    def write(self, op: str, *args: str) -> None:
        self.apply(["one", 1, self.index, self.index, op, *args])

    def ask(self, channel: str, method: str, *args: Any) -> Any:
        """The result; of a refusal its code."""
        self.service.on_requests([(self.channels[channel], 7, method, args)])
        _, _, ok, result = self._replies.pop()
        return result if ok else result[0]

    def rest(self, channel: str, id: int, piece: int = 0) -> list[Any]:
        rows: list[Any] = []
        while (more := self.ask(channel, "dump_piece", id, piece)) is not None:
            rows += more
            piece += 1
        return rows


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """With the keys k00 to k19, which are dumped three at a time."""
    monkeypatch.setattr(dumps, "PIECE_KEYS", 3)
    server = Server()
    for number in range(20):
        server.write("put", f"k{number:02}", "old")
    return server


def test_a_dump_is_of_the_moment_it_began(server: Server) -> None:
    before = server.ask("A", "range", b"\0", b"\0")[1]
    found, id, keys, revision, leases = server.ask("A", "dump")
    assert (found, keys, revision, leases) == (3, 20, 21, [])
    rows = server.ask("A", "dump_piece", id, 0)
    for number in range(0, 20, 2):
        server.write("put", f"k{number:02}", "new")
        server.write("put", f"k{number:02}x", "new")
        server.write("delete", f"k{number + 1:02}")
    rows += server.rest("A", id, 1)
    assert sorted(rows) == before
    assert len(server.service._dumps) == 0, "what is read is not kept"


def test_dumps_are_bounded_in_number(server: Server) -> None:
    ids = [server.ask("A", "dump")[1] for _ in range(MAX_DUMPS)]
    assert server.ask("A", "dump") == OVERLOADED
    server.rest("A", ids[0])
    assert server.ask("A", "dump")[1] not in ids


def test_a_dump_that_its_client_gives_up_makes_room_for_another(server: Server) -> None:
    ids = [server.ask("A", "dump")[1] for _ in range(MAX_DUMPS)]
    assert server.ask("B", "dump_end", ids[0]) is None, "only its client ends it"
    assert server.ask("B", "dump") == OVERLOADED
    assert server.ask("A", "dump_end", ids[0]) is None
    assert server.ask("A", "dump_end", ids[0]) is None
    assert server.ask("B", "dump")[1] not in ids


def test_a_dump_is_not_kept_for_a_client_that_went_away_before_it_began(server: Server) -> None:
    server.service.on_close(server.channels["A"])  # its read waits for a majority
    server.channels["A"].closing = True
    server.ask("A", "dump")
    assert len(server.service._dumps) == 0


@pytest.mark.parametrize("how", ["idle", "closed", "restored"])
def test_a_dump_that_nobody_reads_is_dropped_before_the_store_changes(server: Server, how: str) -> None:
    id = server.ask("A", "dump")[1]
    other = server.ask("B", "dump")[1]
    server.now += IDLE_S
    assert server.ask("A", "dump_piece", id, 0)
    server.ask("B", "dump_piece", other, 0)
    if how == "idle":
        server.now += IDLE_S / 2
        server.ask("B", "dump_piece", other, 1)
        server.now += IDLE_S / 2 + 1
    elif how == "closed":
        server.service.on_close(server.channels["A"])
    else:
        server.service.restore([["store", FORMAT, 0, 0, 1, 0, 2]])
        assert server.ask("B", "dump_piece", other, 1) == BAD_REQUEST
    server.write("put", "k19", "new")
    assert len(server.service._dumps) == (0 if how == "restored" else 1)
    assert server.ask("A", "dump_piece", id, 1) == BAD_REQUEST


def test_pieces_are_given_in_their_order_and_to_their_client_only(server: Server) -> None:
    id = server.ask("A", "dump")[1]
    assert server.ask("B", "dump_piece", id, 0) == BAD_REQUEST
    assert server.ask("A", "dump_piece", id, 1) == BAD_REQUEST
    assert server.ask("A", "dump_piece", id + 1, 0) == BAD_REQUEST
    assert len(server.rest("A", id)) == 20
