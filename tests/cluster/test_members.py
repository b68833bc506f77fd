"""Members that come and go while clients write: real servers with real sockets and disks, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from raftkv import Clerk
from raftkv.config import load_server_config
from raftkv.errors import InvalidChangeError
from raftkv.keys import load_key
from raftkv.kvdb.server import KVServer
from raftkv.node.admin import MemberAdmin

from tests.cluster.harness import HOST, RAFT, free_ports
from tests.cluster.waiting import wait_until
from tests.cluster.workload import KEY, Appenders

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
        clients.verify(db.get(KEY))


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
        clients.verify(db.get(KEY))
