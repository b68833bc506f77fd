"""Members that come and go while clients write: real servers with real sockets and disks, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raftkv import Clerk
from raftkv.config import load_server_config
from raftkv.errors import InvalidChangeError, InvalidRequestError
from raftkv.keys import load_key
from raftkv.kvdb.server import KVServer
from raftkv.node.admin import MemberAdmin

from tests.cluster.harness import HOST, RAFT, free_ports
from tests.cluster.waiting import wait_until
from tests.cluster.workload import Appenders

SIZE = 3


class Servers:
    """Nodes 1 to 3 found a cluster; 4 and on join it."""

    def __init__(self, folder: Path, ids: int) -> None:
        self.folder = folder
        ports = free_ports(2 * ids)
        self.clients = {id: f"{HOST}:{ports[2 * id - 2]}" for id in range(1, ids + 1)}
        self.peers = {id: f"{HOST}:{ports[2 * id - 1]}" for id in range(1, ids + 1)}
        self.running: dict[int, KVServer] = {}
        self.key = load_key(str(folder / "client.key"), create=True)
        load_key(str(folder / "peer.key"), create=True)

    def start(self, *ids: int) -> None:
        for id in ids:
            known = range(1, SIZE + 1) if id <= SIZE else [id]
            ini = self.folder / f"server{id}.ini"
            lines = [f"[node]\nid = {id}\ndata_dir = data{id}"]
            lines += ["[servers]", *(f"{other} = {self.clients[other]}" for other in known)]
            lines += ["[peers]", *(f"{other} = {self.peers[other]}" for other in known)]
            lines += ["[auth]\nclient_key_file = client.key\npeer_key_file = peer.key\n[raft]"]
            lines += [f"{option} = {value}" for option, value in RAFT.items()]
            lines += [f"[cluster]\njoin = {self.peers[min(self.running)]}"] if id > SIZE else []
            ini.write_text("\n".join(lines))
            self.running[id] = KVServer(load_server_config(ini), on_fatal=pytest.fail)
            self.running[id].start()

    def stop(self, *ids: int) -> None:
        for id in ids:
            self.running.pop(id).stop()

    def clerk_of(self, *ids: int) -> Clerk:
        """One that is told of these servers only, in this order."""
        return Clerk([self.clients[id] for id in ids], authkey=self.key, timeout=30.0)

    def leader(self) -> int:
        leads = self.admin
        return next(id for id, server in self.running.items() if server.member.admin is leads)

    def clerk(self) -> Clerk:
        addresses = {id: (HOST, int(address.rpartition(":")[2])) for id, address in self.clients.items()}
        return Clerk(addresses, authkey=self.key, timeout=30.0)

    @property
    def admin(self) -> MemberAdmin:
        """Of the leader."""

        def leading() -> MemberAdmin | None:
            members = [server.member for server in self.running.values()]
            return next((member.admin for member in members if member.node.get_state()[1]), None)

        return wait_until(leading, "a leader")  # type: ignore[no-any-return]

    def roles(self) -> dict[int, str]:
        return {row["id"]: row["role"] for row in self.admin.list()}

    def wait_until_founded(self) -> None:
        everybody = dict.fromkeys(range(1, SIZE + 1), "voter")
        wait_until(lambda: self.roles() == everybody and self.admin.is_done(), "the cluster to be founded")

    def add(self, id: int) -> None:
        self.start(id)
        wait_until(lambda: self.roles().get(id) == "waiting", f"node {id} to come")
        self.admin.add(id, self.clients[id], self.peers[id])
        wait_until(lambda: self.roles().get(id) == "voter" and self.admin.is_done(), f"node {id} to vote")

    def remove(self, id: int) -> None:
        self.admin.remove(id)
        wait_until(lambda: id not in self.roles() and self.admin.is_done(), f"node {id} to have left")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path, 6)
    servers.start(1, 2, 3)
    try:
        yield servers
    finally:
        servers.stop(*servers.running)


def test_all_members_are_replaced_one_by_one_while_clients_write(servers: Servers) -> None:
    with Appenders(servers.clerk, 4) as clients:
        clients.wait_for_more(20)
        for old, new in ((1, 4), (2, 5), (3, 6)):
            servers.add(new)
            servers.remove(old)
            servers.stop(old)
            clients.wait_for_more(20)
        assert servers.roles() == {4: "voter", 5: "voter", 6: "voter"}
        clients.end()
    with servers.clerk() as db:
        clients.verify(db)


def test_a_server_that_was_removed_hears_so_and_disturbs_nobody(servers: Servers) -> None:
    servers.wait_until_founded()
    leader = servers.admin
    removed = next(id for id in (1, 2, 3) if servers.running[id].member.admin is not leader)
    servers.remove(removed)
    wait_until(lambda: servers.running[removed].member.node.status()["role"] == "removed", "it to hear so")
    assert servers.admin is leader
    with pytest.raises(InvalidChangeError, match=f"there is no member {removed}"):
        leader.remove(removed)


def test_the_leadership_is_handed_to_the_one_that_is_named(servers: Servers) -> None:
    servers.wait_until_founded()
    to = next(id for id in (1, 2, 3) if servers.running[id].member.admin is not servers.admin)
    assert servers.admin.transfer(to) == to
    wait_until(lambda: servers.running[to].member.node.get_state()[1], f"node {to} to lead")


def test_a_member_that_comes_back_at_another_address_is_found_and_says_so_to_all(servers: Servers) -> None:
    servers.wait_until_founded()
    moved = next(id for id in (1, 2, 3) if servers.running[id].member.admin is not servers.admin)
    servers.stop(moved)
    servers.peers[moved] = f"{HOST}:{free_ports(1)[0]}"
    servers.start(moved)

    def is_known_everywhere() -> bool:
        lists = [server.member.admin.list() for server in servers.running.values()]
        return all(
            {row["id"]: row["peer_address"] for row in rows}.get(moved) == servers.peers[moved]
            for rows in lists
        )

    wait_until(is_known_everywhere, "its new address to be in all records")


def test_a_leader_that_is_stopped_hands_its_leadership_over_first(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    servers.wait_until_founded()
    with Appenders(servers.clerk, 4) as clients, caplog.at_level("INFO"):
        clients.wait_for_more(20)
        leader = next(id for id, server in servers.running.items() if server.member.admin is servers.admin)
        servers.stop(leader)
        assert f"node {leader} hands the leadership to it" in caplog.text
        clients.wait_for_more(20)
        clients.end()
    with servers.clerk() as db:
        clients.verify(db)


def roles_in(rows: list[dict[str, Any]]) -> dict[int, str]:
    return {row["id"]: row["role"] for row in rows}


def test_an_operator_who_knows_one_address_changes_all_members_and_goes_on(servers: Servers) -> None:
    """Each call returns when it is through; at last the address that the Clerk was given is nobody's."""
    servers.wait_until_founded()
    with servers.clerk_of(1) as db:
        db.put("k", "v")
        servers.start(4, 5, 6)
        assert roles_in(db.member_add(4, servers.clients[4], servers.peers[4], learner=True))[4] == "learner"
        wait_until(lambda: caught_up(db, 4), "node 4 to catch up")
        assert roles_in(db.member_promote(4))[4] == "voter"
        assert db.transfer(4) == 4
        assert set(roles_in(db.member_remove(1))) - {5, 6} == {2, 3, 4}
        for old, new in ((2, 5), (3, 6)):
            rows = db.member_replace(old, new, servers.clients[new], servers.peers[new])
            assert roles_in(rows)[new] == "voter" and old not in roles_in(rows)
        servers.stop(1, 2, 3)
        assert db.get("k") == "v"
        assert [row["id"] for row in db.status()] == [4, 5, 6]


def caught_up(db: Clerk, id: int) -> bool:
    return any(row["id"] == id and row["caught_up"] for row in db.member_list())


def test_an_operator_is_told_why_a_change_is_refused(servers: Servers) -> None:
    servers.wait_until_founded()
    with servers.clerk_of(2) as db:
        with pytest.raises(InvalidChangeError, match="there is no member 9: the members are 1, 2, 3"):
            db.member_remove(9)
        with pytest.raises(InvalidChangeError, match="no server with an empty disk has come as node 4"):
            db.member_add(4, servers.clients[4], servers.peers[4], timeout=0.2)
        with pytest.raises(InvalidChangeError, match="member 2 is no learner"):
            db.member_promote(2)
        with pytest.raises(InvalidRequestError, match="peer_address must be HOST:PORT"):
            db.member_move(2, peer_address="nowhere")
        away = next(id for id in (1, 3) if id != servers.leader())
        servers.stop(away)
        wait_until(lambda: not all(row["alive"] for row in db.member_list()), "it to be missed")
        remaining = next(id for id in (1, 2, 3) if id not in (away, servers.leader()))
        with pytest.raises(InvalidChangeError, match=f"would lose the majority, since member {away} is not"):
            db.member_remove(remaining)


@pytest.mark.parametrize("order", [(2, 3, 1), (3, 1, 2)])
def test_addresses_of_servers_work_in_any_order(servers: Servers, order: tuple[int, ...]) -> None:
    servers.wait_until_founded()
    for first in order[:2]:
        with servers.clerk_of(first, *[id for id in order if id != first]) as db:
            assert db.put("k", "v") and [row["id"] for row in db.status()] == [1, 2, 3]


def test_one_address_is_enough_also_when_that_server_dies(servers: Servers) -> None:
    servers.wait_until_founded()
    leader = servers.leader()
    with servers.clerk_of(leader) as db:
        db.put("k", "v")
        servers.stop(leader)
        assert db.get("k") == "v"
        assert {row["id"]: row["alive"] for row in db.status()} == {id: id != leader for id in (1, 2, 3)}
