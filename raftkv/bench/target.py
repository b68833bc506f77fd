"""The cluster that is measured: a running one, or one of our own in a temporary folder."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from raftkv import Clerk
from raftkv.bench.errors import BenchError
from raftkv.cli.cluster import find_leader
from raftkv.cli.cluster_files import prepare_folder
from raftkv.cli.nodes import LocalCluster
from raftkv.config import load_client_config, load_server_config
from raftkv.errors import ConfigError, UnavailableError

_LEADER_TIMEOUT_S = 2.0  # of a running cluster
_LOCAL_TIMEOUT_S = 30.0  # of one of our own, which starts, or starts a node again
_POLL_S = 0.05

Settings = list[tuple[str, str, str]]  # section, option, value


class Target:
    """A cluster that is ready. `cluster` holds its processes if it is our own."""

    def __init__(self, config: str, clerk: Clerk, cluster: LocalCluster | None = None) -> None:
        self.config = config
        self.clerk = clerk
        self.cluster = cluster
        self.nodes = len(load_client_config(config).servers)

    def leader(self) -> int | None:
        """The id of the node that leads at the moment, or None."""
        return find_leader(self.clerk)

    def pids(self) -> list[int]:
        """The processes of a cluster of our own."""
        nodes = self.cluster.nodes.values() if self.cluster is not None else ()
        return [node.pid for node in nodes if node.running and node.pid is not None]

    def term(self) -> int:
        """The highest term any server is in, of those that answer."""
        return max((server["term"] for server in self.clerk.status() if server["alive"]), default=0)

    def wait_until_ready(self) -> None:
        """Wait for a leader; in a cluster of our own, also until every node has caught up with it.

        Raises UnavailableError, or BenchError if a node of ours has ended.
        """
        timeout_s = _LEADER_TIMEOUT_S if self.cluster is None else _LOCAL_TIMEOUT_S
        deadline = time.monotonic() + timeout_s
        while True:
            servers = self.clerk.status()
            alive = [server for server in servers if server["alive"]]
            led = any(server["role"] == "leader" for server in alive)
            if self.cluster is None:
                if led:
                    return
                if not alive:
                    where = ", ".join(server["address"] for server in servers)
                    raise UnavailableError(f"no server answers at {where}: {servers[0]['error']}")
            else:
                if led and len(alive) == len(servers) and _level(alive):
                    return
                if len(self.cluster.running()) < self.nodes:
                    raise BenchError("a node of the local cluster has ended")
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{len(alive)} of {len(servers)} servers answer, and {'one' if led else 'none'} leads; "
                    f"they are not ready after {timeout_s:g} s"
                )
            time.sleep(_POLL_S)


def _level(servers: list[dict[str, Any]]) -> bool:
    """Whether all have applied what any of them knows to be committed."""
    return bool(
        min(server["applied_index"] for server in servers)
        >= max(server["commit_index"] for server in servers)
    )


@contextlib.contextmanager
def running(config: str) -> Iterator[Target]:
    """A cluster that somebody else runs. Raises ConfigError, AuthenticationError or UnavailableError."""
    with Clerk.from_config(config) as clerk:
        target = Target(config, clerk)
        target.wait_until_ready()
        yield target


@contextlib.contextmanager
def local(nodes: int, settings: Settings, parent: str | None) -> Iterator[Target]:
    """A cluster of our own on this machine, in a temporary folder inside `parent`, which is removed at the
    end. Raises ConfigError, UnavailableError or BenchError."""
    words: deque[str] = deque(maxlen=20)  # the nodes' last ones
    with temporary_folder(parent) as folder:
        files = prepare_folder(folder, nodes)
        for ini in files.server_inis.values():
            _set(ini, settings)
            load_server_config(ini).load_keys()  # so that the client's key is there, whoever starts first
        try:
            with (
                LocalCluster(
                    files.server_inis, lambda node, line: words.append(f"node {node}: {line}")
                ) as cluster,
                Clerk.from_config(files.client_ini) as clerk,
            ):
                target = Target(files.client_ini, clerk, cluster)
                target.wait_until_ready()
                yield target
        except (BenchError, UnavailableError) as error:
            last = "".join(f"\n  {line}" for line in words)
            raise type(error)(f"{error}; the last words of the nodes:{last}") from None


@contextlib.contextmanager
def temporary_folder(parent: str | None) -> Iterator[str]:
    """A new folder inside `parent` (None: the system's place for such), removed at the end. Raises
    ConfigError."""
    try:
        folder = tempfile.mkdtemp(prefix="raftkv-bench-", dir=parent)
    except OSError as error:
        raise ConfigError(f"{parent or tempfile.gettempdir()}: {error.strerror}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _set(ini: str, settings: Settings) -> None:
    """Add the options to a server's ini file, which has no such sections yet. Loading it checks them."""
    sections: dict[str, list[str]] = {}
    for section, option, value in settings:
        sections.setdefault(section, []).append(f"{option} = {value}\n")
    with open(ini, "a", encoding="utf-8") as file:
        for section, lines in sections.items():
            file.write(f"\n[{section}]\n{''.join(lines)}")
