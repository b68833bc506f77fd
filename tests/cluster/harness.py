"""Clusters of real server processes, for the tests in this folder.

    with Cluster(tmp_path) as cluster:          # three nodes, started
        leader = cluster.wait_for_leader()
        with cluster.clerk() as db: db.put("k", "v")
        cluster.kill(leader)

Every wait is for a condition, with a deadline. On the way out every process is ended, however the test went,
and then every node's log is searched: a traceback (RAFTKV_CHECK=1 makes one of a broken invariant) fails the
test. When a test fails, the end of each node's log is printed.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from raftkv import Clerk
from raftkv.config import load_server_config
from raftkv.errors import RpcError
from raftkv.keys import load_key
from raftkv.kvdb.store import Store
from raftkv.node.crash_points import EXIT_STATUS
from raftkv.raft.types import COMMAND
from raftkv.rpc.client import try_connect
from raftkv.storage.persister import Persister

from tests.cluster.node import Node
from tests.cluster.waiting import PATIENCE_S, wait_until

HOST = "127.0.0.1"
TAIL_LINES = 60

#: Short, so that the tests are; and yet a heartbeat may be 200 ms late on a busy machine.
RAFT = {"election_timeout_ms": 250, "heartbeat_interval_ms": 40, "replace_after_ms": 1000}
LIMITS = {"disk_reserve_bytes": 1 << 20}  # pytest keeps the folders of some runs


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on.

    Not ephemeral ones (port 0): such a port can go to an outgoing connection while its node is down.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(10_000, 32_000)
            listener = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # in use
                listener.bind((HOST, port))
                ports.append(port)
        return ports


class Cluster:
    """`size` nodes on free ports of this machine, with all files in `folder`.

    `start`: start all of them, and wait until the cluster is founded and each takes part.
    `raft`: options of the section [raft].
    """

    def __init__(
        self, folder: Path, size: int = 3, *, start: bool = True, raft: Mapping[str, int] | None = None
    ) -> None:
        self.folder = folder
        self._start = start
        ports = free_ports(2 * size)
        ids = range(1, size + 1)
        self.addresses = {id: (HOST, port) for id, port in zip(ids, ports)}
        self.nodes = {id: Node(id, folder) for id in ids}
        self.key_file = folder / "client.key"
        self.client_ini = folder / "client.ini"
        servers = _section("servers", {id: f"{HOST}:{port}" for id, port in zip(ids, ports)})
        peers = _section("peers", {id: f"{HOST}:{port}" for id, port in zip(ids, ports[size:])})
        auth = _section("auth", {"client_key_file": "client.key", "peer_key_file": "peer.key"})
        for id, node in self.nodes.items():
            own = _section("node", {"id": id, "data_dir": node.data_dir.name})
            options = _section("raft", {**RAFT, **(raft or {})}) + _section("limits", LIMITS)
            node.ini.write_text(own + servers + peers + auth + options)
        self.client_ini.write_text(servers + _section("auth", {"client_key_file": "client.key"}))

    def __enter__(self) -> Cluster:
        if self._start:
            try:
                self.start(*self.nodes)
                wait_until(self._all_take_part, "all nodes to take part")
            except BaseException:
                self.close()
                self._print_logs()
                raise
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if error is not None:
            self._print_logs()
        else:
            self.check_logs()
            self.check_election_safety()

    def _all_take_part(self) -> bool:
        statuses = self.statuses()
        return len(statuses) == len(self.nodes) and all(map(takes_part, statuses))

    def _print_logs(self) -> None:
        for node in self.nodes.values():
            print(f"--- the end of node {node.id}'s log ---", *node.log.splitlines()[-TAIL_LINES:], sep="\n")

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    def check_logs(self) -> None:
        """No node may ever have printed a traceback, nor broken an invariant."""
        for node in self.nodes.values():
            for sign in ("Traceback", "AssertionError", "Fatal Python error"):
                assert sign not in node.log, f"node {node.id} printed:\n{node.log[-4000:]}"

    def check_election_safety(self) -> None:
        """At most one leader a term, over the cluster's whole life (paper 5.2), by the nodes' own words."""
        leaders: dict[str, int] = {}
        for node in self.nodes.values():
            for term in re.findall(r"INFO leader in term (\d+)", node.log):
                assert term not in leaders, f"nodes {leaders[term]} and {node.id} led term {term}"
                leaders[term] = node.id
        assert leaders or not self._start, "nobody ever led"

    # -- what happens to nodes -------------------------------------------------------------------------------

    def start(self, *ids: int, crash_point: str = "", ulimit: str = "") -> None:
        for id in ids:
            self.nodes[id].start(crash_point, ulimit)

    def kill(self, *ids: int) -> None:
        """kill -9. Returns when they are gone."""
        for id in ids:
            self.nodes[id].send_signal(signal.SIGKILL)
        for id in ids:
            self.nodes[id].wait()

    def stop(self, *ids: int) -> None:
        """SIGTERM. Returns when they are gone; they must have ended with status 0."""
        for id in ids:
            self.nodes[id].send_signal(signal.SIGTERM)
        for id in ids:
            status = self.nodes[id].wait()
            assert status == 0, f"node {id} ended with status {status} after SIGTERM"

    def restart(self, *ids: int, crash_point: str = "") -> None:
        """kill -9, and start again."""
        self.kill(*ids)
        self.start(*ids, crash_point=crash_point)

    def pause(self, *ids: int) -> None:
        """SIGSTOP. Returns when they stand still."""
        for id in ids:
            self.nodes[id].send_signal(signal.SIGSTOP)
            process = self.nodes[id].process
            assert process is not None
            os.waitpid(process.pid, os.WUNTRACED)

    def resume(self, *ids: int) -> None:
        for id in ids:
            self.nodes[id].send_signal(signal.SIGCONT)

    def wipe(self, id: int) -> None:
        """Lose the disk of a node that does not run."""
        assert not self.nodes[id].running, f"node {id} still runs"
        shutil.rmtree(self.nodes[id].data_dir)

    def wait_for_crash(self, id: int) -> None:
        """Wait until node `id` has ended at its crash point."""
        node = self.nodes[id]
        status = node.wait()
        assert status == EXIT_STATUS, f"node {id} ended with status {status}, not at {node.crash_point}"

    def edit(self, id: int, old: str, new: str) -> None:
        """Change the ini file of a node."""
        text = self.nodes[id].ini.read_text()
        assert old in text, f"{old!r} is not in {text}"
        self.nodes[id].ini.write_text(text.replace(old, new))

    # -- what nodes say --------------------------------------------------------------------------------------

    @property
    def authkey(self) -> bytes:
        return load_key(str(self.key_file), create=True)  # whoever is first makes it, as among the servers

    def connect(self, id: int, timeout_s: float = 5.0) -> Connection:
        """A connection as any program of the standard library can make it; see request()."""
        return try_connect(self.addresses[id], self.authkey, timeout_s)

    def clerk(self, timeout_s: float = PATIENCE_S) -> Clerk:
        return Clerk(self.addresses, authkey=self.authkey, timeout=timeout_s)

    def status(self, id: int) -> dict[str, Any] | None:
        """What node `id` says of itself now; None if it does not answer soon."""
        node = self.nodes[id]
        if not node.running:
            return None
        try:
            if node.connection is None:
                node.connection = self.connect(id, 2.0)
            node.requests += 1
            node.connection.send((node.requests, "status", ()))
            while node.connection.poll(2.0):
                request, ok, result = node.connection.recv()
                if request == node.requests:
                    return result if ok else None
        except (OSError, EOFError, RpcError):
            pass  # it is down, or not yet up
        if node.connection is not None:
            node.connection.close()
            node.connection = None
        return None

    def statuses(self, ids: Iterable[int] = ()) -> list[dict[str, Any]]:
        """Of those of `ids` (default: all nodes) that answer. Fails if a node has ended by itself."""
        for node in self.nodes.values():
            status = node.process.poll() if node.process is not None and not node.may_end else None
            assert status is None, f"node {node.id} ended with status {status}"
        return [status for status in map(self.status, tuple(ids) or tuple(self.nodes)) if status is not None]

    def role(self, id: int) -> str | None:
        """None if node `id` does not answer."""
        status = self.status(id)
        return status["role"] if status else None

    def leader(self, ids: Iterable[int] = ()) -> int | None:
        """The one that leads in the highest term, as the nodes `ids` themselves say."""
        leaders = [status for status in self.statuses(ids) if status["role"] == "leader"]
        return max(leaders, key=lambda status: status["term"])["id"] if leaders else None

    def stored_data(self, id: int) -> dict[str, str]:
        """Keys and values that node `id`, which has been stopped, holds on its own disk."""
        config = load_server_config(self.nodes[id].ini)
        persister = Persister(config.data_dir, node_id=id, cluster=config.cluster)
        store, reader = Store(), persister.open_snapshot()
        if reader is not None:
            with reader:
                store = Store.restore(reader.records())
        for entry in persister.entries:
            if entry.kind == COMMAND:
                store.apply(entry.index, entry.data)
        persister.close()
        return {key.decode(): item[0].decode() for key, item in store.data.items.iterate()}

    # -- waiting ---------------------------------------------------------------------------------------------

    def wait_for_leader(self, *ids: int) -> int:
        """The leader that a majority follows; looked for among `ids` (default: all nodes)."""
        return wait_until(lambda: self._followed_leader(ids), f"a leader among {ids or tuple(self.nodes)}")

    def _followed_leader(self, ids: Sequence[int]) -> int | None:
        statuses = self.statuses(ids)
        for status in statuses:
            if status["role"] == "leader":
                term = (status["id"], status["term"])
                if 2 * sum((other["leader"], other["term"]) == term for other in statuses) > len(self.nodes):
                    return status["id"]
        return None

    def wait_until_answering(self, *ids: int) -> None:
        wait_until(lambda: len(self.statuses(ids)) == len(ids), f"the nodes {ids} to answer")

    def wait_until_equal(self, *ids: int) -> None:
        """Wait until the nodes `ids` (default: all) have applied all that the leader has committed."""
        ids = ids or tuple(self.nodes)

        def equal() -> bool:
            statuses = self.statuses(ids)
            commits = [status["commit_index"] for status in statuses if status["role"] == "leader"]
            return (
                len(statuses) == len(ids)
                and bool(commits)
                and all(status["applied_index"] == max(commits) for status in statuses)
            )

        wait_until(equal, f"the nodes {ids} to have applied the same entries")

    def wait_until_caught_up(self, id: int) -> None:
        """Wait until node `id` has applied all that is committed now, while clients go on."""
        goal = max(status["commit_index"] for status in wait_until(self.statuses, "any node to answer"))
        wait_until(lambda: self._applied(id) >= goal, f"node {id} to have applied entry {goal}")

    def _applied(self, id: int) -> int:
        return max((status["applied_index"] for status in self.statuses([id])), default=0)

    def wait_until_compacted(self, index: int, *ids: int) -> None:
        """Wait until no node of `ids` has the entry `index` in its log any more."""

        def compacted() -> bool:
            statuses = self.statuses(ids)
            return len(statuses) == len(ids) and all(status["log_first_index"] > index for status in statuses)

        wait_until(compacted, f"the nodes {ids} to let go of the log up to {index}")

    def last_index(self, *ids: int) -> int:
        """The highest index in any of the logs of the nodes `ids`, of which one must answer."""
        statuses = wait_until(lambda: self.statuses(ids), f"one of the nodes {ids} to answer")
        return max(status["log_last_index"] for status in statuses)

    def wait_for_log(self, id: int, words: str) -> None:
        wait_until(lambda: words in self.nodes[id].log, f"{words!r} in the log of node {id}")

    def make_leader(self, id: int) -> None:
        """Let each other leader crash, until node `id` leads. All nodes must run."""
        for _ in range(20):
            leader = self.wait_for_leader()
            if leader == id:
                return
            self.restart(leader)
            self.wait_until_equal()
        raise AssertionError(f"node {id} was not elected in 20 elections")


def takes_part(status: Mapping[str, Any] | None) -> bool:
    """As a member that votes."""
    return status is not None and status["role"] not in ("joining", "learner", "removed")


def request(connection: Connection, method: str, *args: Any) -> Any:
    """One request on an idle connection, and its result: for a refusal (code, message, detail)."""
    connection.send((0, method, args))
    assert connection.poll(PATIENCE_S), f"no answer to {method} {args}"
    return connection.recv()[2]


def _section(name: str, options: Mapping[Any, Any]) -> str:
    return "".join([f"[{name}]\n", *(f"{option} = {value}\n" for option, value in options.items()), "\n"])
