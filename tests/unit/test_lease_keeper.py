"""What a server does about leases: it ends them through the log, and answers keepalives. The clock is the test's."""

from __future__ import annotations

from typing import Any

import pytest
from raftkv.errors import NOT_LEADER, OverloadedError
from raftkv.kvdb import lease_keeper, leases, store, watch_cursor
from raftkv.kvdb.service import KVService
from raftkv.node.interfaces import RoleChange
from raftkv.raft.types import COMMAND, NOOP, Entry, Role

from tests.unit.test_service import Consensus
from tests.unit.watch_world import Channel


class Server(Consensus):
    """A service that leads from term 1 on. What it proposes is committed when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.index, self.replies = 0.0, 1, []
        self.service = KVService(self.replies.extend, "1", clock=lambda: self.now, election_timeout_s=1.0)
        self.service.replicated_by(self)
        self.terms: list[int] = []
        self.role(Role.LEADER, 1)

    def read_now(self, contexts: Any) -> None:
        self.service.read(list(contexts))

    def propose(self, commands: Any, contexts: Any, term: int = 0) -> None:
        super().propose(commands, contexts, term)
        self.terms.append(term)

    def role(self, role: Role, term: int) -> None:
        self.service.role_changed(RoleChange(role, term, 1 if role is Role.LEADER else 2, "the test says so"))

    def do(self, *command: Any) -> None:
        """A command of some client, committed at once."""
        self.index += 1
        self.service.apply([Entry.create(self.index, 1, COMMAND, ["c", 1, self.index, 0, *command])], [])

    def tick(self, until: float) -> None:
        while self.now < until:
            self.now = round(self.now + self.service.tick(), 3)

    def ask(self, method: str, *args: Any) -> None:
        """A read that is confirmed at once."""
        self.service.on_requests([("channel", method, method, args)])
        for contexts in self.reads:
            self.service.read(list(contexts))
        self.reads.clear()

    def commit(self) -> list[Any]:
        """Apply what was proposed. Returns its commands."""
        commands = [command for commands, _ in self.proposed for command in commands]
        self.proposed.clear()
        for command in commands:
            self.index += 1
            self.service.apply([Entry.create(self.index, 1, COMMAND, command)], [None])
        return commands

    def take(self) -> list[Any]:
        taken, self.replies[:] = [reply[2:] for reply in self.replies], []
        return taken


@pytest.fixture
def server() -> Server:
    server = Server()
    server.do("lease_grant", 7, 10)
    server.do("put", "k", "v", 7)
    return server


def test_a_lease_ends_in_time_and_by_an_entry_of_its_leaders_term(server: Server) -> None:
    server.tick(9.9)
    assert not server.proposed
    server.tick(10.3)
    assert server.commit() == [["", 0, 0, 0, "lease_expire", [(7, 2)]]] and server.terms == [1]
    server.ask("get", b"k")
    server.ask("lease_keep_alive", 7)
    server.ask("lease_time_to_live", 7)
    assert server.take() == [(True, (3, None)), (True, (3, None)), (True, (3, None, None, []))]
    server.tick(30)
    assert not server.proposed


def test_a_keepalive_gives_the_whole_time_again(server: Server) -> None:
    server.tick(9)
    server.ask("lease_keep_alive", 7)
    server.ask("lease_time_to_live", 7, True)
    assert server.take() == [(True, (2, 10)), (True, (2, 10, 10, [b"k"]))]
    server.tick(18.9)
    assert not server.proposed
    server.ask("lease_time_to_live", 7)
    assert server.take() == [(True, (2, 1, 10, []))]
    server.tick(19.3)
    assert len(server.proposed) == 1


def test_a_keepalive_waits_for_an_undecided_expiry(server: Server) -> None:
    server.tick(10.3)
    server.ask("lease_keep_alive", 7)
    server.tick(12)
    assert server.take() == [], "it may have ended, or not"
    server.commit()
    server.tick(12.2)
    assert server.take() == [(True, (3, None))]


def test_a_keepalive_that_waits_is_refused_when_leadership_ends(server: Server) -> None:
    server.tick(10.3)
    server.ask("lease_keep_alive", 7)
    server.role(Role.FOLLOWER, 2)
    server.ask("lease_keep_alive", 7)  # confirmed before, answered after
    assert [(ok, reason[0]) for ok, reason in server.take()] == [(False, NOT_LEADER)] * 2
    server.tick(60)
    assert len(server.proposed) == 1, "who does not lead ends nothing"
    server.proposed.clear()
    server.role(Role.LEADER, 3)
    server.tick(69.9)
    assert not server.proposed, "a new leadership gives it its whole time again"
    server.tick(70.3)
    assert server.terms == [1, 3]


def test_expiry_that_the_log_did_not_take_is_proposed_again(server: Server) -> None:
    server.error = OverloadedError("full")
    server.tick(11)
    server.error = None
    server.tick(11.2)
    assert len(server.proposed) == 1


def test_a_thousand_end_in_batches_of_a_hundred_and_those_with_many_keys_alone(server: Server) -> None:
    for lease in range(100, 1100):
        server.do("lease_grant", lease, 10)
    server.do("lease_grant", 2000, 10)
    for n in range(lease_keeper.MOST_KEYS):
        server.do("put", f"many/{n}", "", 2000)
    server.tick(10.3)
    sizes = [len(command[5]) for command in server.commit()]
    assert sum(sizes) == 1002 and max(sizes) == lease_keeper.MOST_LEASES
    server.ask("leases")
    assert server.take()[0][1][1] == []


def test_a_keepalive_is_answered_only_after_a_read_index_round(server: Server) -> None:
    server.service.on_requests([("channel", 1, "lease_keep_alive", (7,))])
    assert server.take() == [], "who leads no more would answer, too"
    server.service.read(list(server.reads.pop()))
    assert server.take() == [(True, (2, 10))]


def test_the_end_of_a_lease_with_very_many_keys_is_not_applied_where_heartbeats_are_read(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MANY_KEYS", 5)
    for n in range(6):
        server.do("put", f"many/{n}", "", 7)
    server.tick(10.3)
    ((commands, _),) = server.proposed
    assert server.service.takes_long([Entry.create(50, 1, COMMAND, command) for command in commands])
    few = ["c", 1, 50, 0, "put", "k", '"delete"']
    assert not server.service.takes_long([Entry.create(50, 1, COMMAND, few), Entry.create(51, 2, NOOP, None)])


@pytest.mark.parametrize(
    "command, is_long",
    [
        (["delete", "k0", "k9"], True),
        (["delete", "k0", "k5"], False),
        (["delete", "k0"], False),
        (["lease_revoke", 7], True),
        (["lease_revoke", 8], False),
        (["txn", [], [["delete", "k0", "k9"]], []], True),
        (["txn", [], [["txn", [], [], [["delete", "k0", "k9"]]]], []], True),
        (["txn", [[1, 0, "k0", "k9", 1]], [["put", "k0", ""]], []], True),
        (["txn", [], [["put", "k0", ""]], []], False),
        (["batch", [["put", "k0", ""], ["delete", "k0", "k9"]]], True),
        (["no such operation", '"delete"'], False),
    ],
)
def test_commands_that_change_or_look_at_many_keys_take_long(
    server: Server, monkeypatch: pytest.MonkeyPatch, command: list[Any], is_long: bool
) -> None:
    monkeypatch.setattr(store, "MANY_KEYS", 5)
    for n in range(9):
        server.do("put", f"k{n}", "", 7 if n < 6 else 0)
    assert server.service.takes_long([Entry.create(50, 1, COMMAND, ["c", 1, 50, 0, *command])]) is is_long


def test_the_keys_of_a_lease_come_in_order_however_many_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RUN_KEYS", 3)
    monkeypatch.setattr(leases, "_SAMPLE", 1)
    for count in (0, 1, 3, 4, 20):
        lease = leases.Lease(1, 60, 1)
        lease.keys.update(dict.fromkeys(b"%d" % n for n in range(count)))
        assert list(lease.sorted_keys()) == sorted(lease.keys)


def test_lease_granted_anew_before_the_expiry_is_applied_goes_on(server: Server) -> None:
    server.tick(10.3)
    server.do("lease_revoke", 7)
    server.do("lease_grant", 7, 10)
    server.commit()
    server.ask("lease_time_to_live", 7)
    assert server.take() == [(True, (3, 10, 10, []))]


def test_ticks_come_soon_only_while_watches_are_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_cursor, "PIECE_LOOKS", 1)
    channel = Channel()
    for _ in range(30):
        server.do("put", "other", "v")
    server.role(Role.FOLLOWER, 2)
    usual_s = server.service.tick()
    server.service.on_requests([(channel, 1, "watch", (1, b"k", b"", 1))])
    assert server.service.tick() < usual_s / 10
    server.service.on_requests([(channel, None, "watch_cancel", (1,))])
    assert server.service.tick() == usual_s
