"""Ini files: read, checked, and handed on as frozen dataclasses.

A server's file has the sections [node], [servers], [peers], [auth] and may have [raft] and [limits]; a
client's has [servers], [auth] and may have [client]. conf/ holds commented examples. Relative paths are
relative to the folder of the ini file, of the real one if it is called by a link. An unknown section or option is an error: a misspelt option must not
silently keep its default. Every error names file, section and option, and says what to do. ini.py says which
values are refused whatever they are for.
"""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Mapping

from raftkv.errors import ConfigError
from raftkv.http_config import HttpConfig, check_no_clash, http_options
from raftkv.ini import Address, Ini, PathLike
from raftkv.keys import how_to_make, load_key, who_else_reads

__all__ = [
    "Address",
    "ClientConfig",
    "Limits",
    "RaftOptions",
    "ServerConfig",
    "load_client_config",
    "load_server_config",
]

KIB = 1 << 10
MIB = 1 << 20


def _option(default: int, minimum: int, maximum: int) -> int:
    """A field of an options class: an integer with a default and the range that an ini file may give."""
    return dataclasses.field(default=default, metadata={"minimum": minimum, "maximum": maximum})


@dataclasses.dataclass(frozen=True)
class RaftOptions:
    """[raft]: how consensus is tuned. All members of a cluster should have the same values."""

    heartbeat_interval_ms: int = _option(50, 1, 60_000)
    election_timeout_ms: int = _option(500, 10, 600_000)
    max_raft_state: int = _option(32 * MIB, -1, 1 << 40)  # bytes of log that cause a snapshot; -1: never
    snapshot_growth_percent: int = _option(100, 0, 10_000)  # ... if they are so much of the last snapshot
    max_append_bytes: int = _option(1 * MIB, 1 * KIB, 16 * MIB)  # entries in one AppendEntries message
    max_inflight_appends: int = _option(16, 1, 1024)  # unacknowledged AppendEntries messages a follower
    max_inflight_bytes: int = _option(8 * MIB, 1 * KIB, 1 << 30)  # ... and the bytes in them
    max_uncommitted_bytes: int = _option(64 * MIB, 1 * KIB, 1 << 32)  # proposals beyond are refused
    segment_bytes: int = _option(8 * MIB, 4 * KIB, 1 << 30)  # a larger log file is continued in a new one
    snapshot_chunk_bytes: int = _option(256 * KIB, 1 * KIB, 16 * MIB)  # of a snapshot in one message
    replace_after_ms: int = _option(10_000, 100, 1 << 40)  # a silent member, by an empty disk with its id


@dataclasses.dataclass(frozen=True)
class Limits:
    """[limits]: what strangers, too many clients and too much data may cost a server."""

    max_connections: int = _option(2048, 1, 1_000_000)  # of clients
    # For each listener: connections that have not shown their key yet, and how long they have for it.
    max_unauthenticated: int = _option(128, 1, 100_000)
    handshake_timeout_ms: int = _option(5000, 100, 600_000)
    max_data_bytes: int = _option(2 << 30, 0, 1 << 50)  # of memory, by the count of Store; 0: no limit
    disk_reserve_bytes: int = _option(-1, -1, 1 << 50)  # see storage.reserve; 0: none; -1: by its own rule


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """One server's ini file. Paths are absolute. `warnings` are sentences to be logged."""

    path: str
    node_id: int
    cluster: str
    data_dir: str
    servers: Mapping[int, Address]  # where clients connect
    peers: Mapping[int, Address]  # where the other servers connect; with `join`, hints beside its own
    join: Address | None  # the peer address of any member of the cluster that this server is to join
    listen_clients: Address  # where this server listens for clients; its own of `servers` by default
    listen_peers: Address
    client_key_file: str
    peer_key_file: str
    raft: RaftOptions = RaftOptions()
    limits: Limits = Limits()
    http: HttpConfig | None = None  # its front, if it is to start one
    warnings: tuple[str, ...] = ()

    @property
    def http_address(self) -> str:
        """Where others reach its front, "host:port"; "" if it has none."""
        if self.http is None:
            return ""
        listen = self.http.listen
        host = self.servers[self.node_id].host if listen.is_wildcard() else listen.host
        return f"{host}:{listen.port}"

    def load_keys(self) -> tuple[bytes, bytes]:
        """(client key, peer key). Makes missing ones if every address of the cluster is a loopback address,
        it joins none that there is, and there is no data yet.

        Raises ConfigError, also if the two are equal: a client's key must not give access to Raft messages.
        """
        create = self.join is None and all(
            address.is_loopback() for address in (*self.servers.values(), *self.peers.values())
        )
        client_key = self._load_key(self.client_key_file, create)
        peer_key = self._load_key(self.peer_key_file, create)
        if client_key == peer_key:
            raise ConfigError(
                f"{self.path}: [auth] {self.client_key_file} and {self.peer_key_file} hold the same key: "
                "make a new one for either, so that a client's key opens no peer port"
            )
        return client_key, peer_key

    def _load_key(self, path: str, create: bool) -> bytes:
        data = _data_beside(self.data_dir, path)
        if data and not os.path.lexists(path):
            raise ConfigError(
                f"{path}: no such key file, but there is data already ({data}): put back the key file that "
                f"belongs to it; if there is none any more, for all servers and clients {how_to_make(path)}"
            )
        return load_key(path, create=create)

    def key_notices(self) -> list[str]:
        """Sentences about the key files, once load_keys() has accepted them."""
        found = (who_else_reads(path) for path in (self.client_key_file, self.peer_key_file))
        return [notice for notice in found if notice]


@dataclasses.dataclass(frozen=True)
class ClientConfig:
    """A client's ini file. `timeout_s` bounds one command with all its retries, in seconds."""

    path: str
    servers: Mapping[int, Address]
    client_key_file: str
    timeout_s: float = 10.0


def load_server_config(path: PathLike) -> ServerConfig:
    """Read a server's ini file. Raises ConfigError."""
    ini = Ini(path, {"node", "servers", "peers", "auth"}, {"raft", "limits", "cluster", "http"})
    node = ini.options("node", {"id", "data_dir"}, {"cluster", "listen_clients", "listen_peers"})
    ini.options("auth", {"client_key_file", "peer_key_file"})
    servers, peers = ini.addresses("servers"), ini.addresses("peers")
    node_id = ini.integer("node", "id", node["id"], 1, 1 << 31)
    _check_members(ini, node_id, servers, peers)
    listen_clients, listen_peers = _listen_addresses(ini, node, servers[node_id], peers[node_id])
    cluster = ini.options("cluster", set(), {"join"})
    join = ini.address("cluster", "join", cluster["join"]) if "join" in cluster else None
    if join is not None and join.plain() == peers[node_id].plain():
        raise ini.error(
            "cluster", "join", f"{join} is this server itself: name a member of the cluster to be joined"
        )
    data_dir = ini.file("node", "data_dir")
    client_key_file, peer_key_file = _key_files(ini, data_dir)
    raft = RaftOptions(**ini.integers("raft", RaftOptions))
    _check_raft(ini, raft)
    http = http_options(ini)
    check_no_clash(ini, http, (listen_clients, listen_peers))
    return ServerConfig(
        path=ini.path,
        node_id=node_id,
        cluster=node.get("cluster", "raftkv"),
        data_dir=data_dir,
        servers=servers,
        peers=peers,
        join=join,
        listen_clients=listen_clients,
        listen_peers=listen_peers,
        client_key_file=client_key_file,
        peer_key_file=peer_key_file,
        raft=raft,
        limits=Limits(**ini.integers("limits", Limits)),
        http=http,
        warnings=(
            *(() if join else _count_warnings(len(servers))),
            *_address_warnings(servers, peers),
            *(http.warnings if http else ()),
        ),
    )


def load_client_config(path: PathLike) -> ClientConfig:
    """Read a client's ini file. Raises ConfigError."""
    ini = Ini(path, {"servers", "auth"}, {"client"})
    ini.options("auth", {"client_key_file"})
    client = ini.options("client", set(), {"timeout_s"})
    return ClientConfig(
        path=ini.path,
        servers=ini.addresses("servers"),
        client_key_file=ini.file("auth", "client_key_file"),
        timeout_s=ini.seconds("client", "timeout_s", client["timeout_s"]) if "timeout_s" in client else 10.0,
    )


def _check_members(ini: Ini, node_id: int, servers: dict[int, Address], peers: dict[int, Address]) -> None:
    if set(servers) != set(peers):
        odd = min(set(servers) ^ set(peers))
        there, missing = ("servers", "peers") if odd in servers else ("peers", "servers")
        raise ini.error(
            there, str(odd), f"has no line in [{missing}]; both sections list every server of the cluster"
        )
    if node_id not in servers:
        known = ", ".join(map(str, sorted(servers)))
        raise ini.error("node", "id", f"server {node_id} is not listed in [servers] (which has {known})")
    clients = {address.plain(): server for server, address in servers.items()}
    for peer, address in peers.items():
        if address.plain() in clients:
            owner = clients[address.plain()]
            raise ini.error("peers", str(peer), f"{address} is already server {owner}'s in [servers]")


def _listen_addresses(
    ini: Ini, node: Mapping[str, str], client: Address, peer: Address
) -> tuple[Address, Address]:
    """What to bind; by default the server's own addresses in [servers] and [peers]."""
    clients, peers = (
        ini.address("node", option, node[option], own.port) if option in node else own
        for option, own in (("listen_clients", client), ("listen_peers", peer))
    )
    same_host = clients.plain().host == peers.plain().host or clients.is_wildcard() or peers.is_wildcard()
    if clients.port == peers.port and same_host:
        option = "listen_peers" if "listen_peers" in node else "listen_clients"
        raise ini.error("node", option, f"clients and peers cannot both connect to port {peers.port}")
    return clients, peers


def _key_files(ini: Ini, data_dir: str) -> tuple[str, str]:
    files = [ini.file("auth", name) for name in ("client_key_file", "peer_key_file")]
    for name, file in zip(("client_key_file", "peer_key_file"), files):
        if file == data_dir or file.startswith(os.path.join(data_dir, "")):
            raise ini.error("auth", name, f"must not be in data_dir ({data_dir}), which is for data alone")
    if files[0] == files[1]:
        raise ini.error(
            "auth", "peer_key_file", "must be another file than client_key_file: two listeners, two keys"
        )
    return files[0], files[1]


def _data_beside(data_dir: str, key_file: str) -> str | None:
    """A data folder for which the missing `key_file` was made once: this server's, or another one's beside
    it. None: there is none."""
    patterns = [os.path.join(glob.escape(data_dir), "node.json")]
    for folder in (os.path.dirname(data_dir), os.path.dirname(key_file)):
        patterns.append(os.path.join(glob.escape(folder), "*", "node.json"))
    found = (path for pattern in patterns for path in glob.iglob(pattern))
    return next((os.path.dirname(path) for path in found), None)


def _check_raft(ini: Ini, raft: RaftOptions) -> None:
    if raft.election_timeout_ms < 3 * raft.heartbeat_interval_ms:
        raise ini.error(
            "raft",
            "election_timeout_ms",
            f"is {raft.election_timeout_ms}, but must be at least 3 times heartbeat_interval_ms "
            f"({raft.heartbeat_interval_ms}), or one late heartbeat would cause an election",
        )
    if raft.max_raft_state == 0:
        raise ini.error(
            "raft", "max_raft_state", "must be a number of bytes, or -1 for never taking a snapshot"
        )
    if raft.max_inflight_bytes < raft.max_append_bytes:
        raise ini.error(
            "raft",
            "max_inflight_bytes",
            f"is {raft.max_inflight_bytes}, but must be at least max_append_bytes ({raft.max_append_bytes})",
        )


def _count_warnings(count: int) -> tuple[str, ...]:
    if count == 1:
        return ("a cluster of 1 server tolerates no failure; 3 servers tolerate one",)
    if count % 2 == 0:
        return (f"{count} servers tolerate no more failures than {count - 1} do: {(count - 1) // 2}",)
    return ()


def _address_warnings(servers: Mapping[int, Address], peers: Mapping[int, Address]) -> Iterator[str]:
    """Addresses that others cannot use, as far as the text shows."""
    for section, option, addresses in (
        ("servers", "listen_clients", servers),
        ("peers", "listen_peers", peers),
    ):
        others = [each for each in addresses.values() if not each.is_loopback() and not each.is_wildcard()]
        for server, address in addresses.items():
            if address.is_wildcard():
                yield (
                    f"[{section}] {server}: nobody on another machine can connect to {address}: write the "
                    f"address that others use, and [node] {option} = 0.0.0.0 to listen on all"
                )
            elif others and address.is_loopback():
                yield (
                    f"[{section}] {server}: nobody on another machine can connect to {address}, and "
                    f"{others[0]} seems to be one: write the address that others use"
                )
