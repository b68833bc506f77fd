"""The folder of a local cluster: client.ini, server1.ini …, the keys, and a data folder for each server."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from raftkv.config import Address, load_client_config, load_server_config
from raftkv.errors import ConfigError, LockedError
from raftkv.storage.disk import Disk, DiskLock
from raftkv.storage.folder import explain, is_clutter

LOCK = "LOCK"
ORPHAN_TIMEOUT_S = 5.0  # how long nodes that lost their launcher may take to end
DEFAULT_NODES = 3
MAX_NODES = 99
HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections, so that a stopped cluster finds its ports again.
FREE_PORTS = range(10_000, 32_000)
_SERVER_INI = re.compile(r"server\d+\.ini")


class ClusterFiles(NamedTuple):
    """The ini files of a cluster: the client's, and each server's by node id."""

    client_ini: str
    server_inis: dict[int, str]

    def http_addresses(self) -> list[Address]:
        """Where the HTTP fronts of those that have one listen."""
        configs = [load_server_config(ini) for ini in self.server_inis.values()]
        return [config.http.listen for config in configs if config.http is not None]


def add_http(files: ClusterFiles, port: int) -> None:
    """Give each node an HTTP front, on the ports from `port` on, in the order of the ids. Raises ConfigError, also if they have
    others."""
    if port + len(files.server_inis) - 1 > 65_535:
        raise ConfigError(f"the HTTP ports from {port} on go beyond 65535, the last one: give a lower --http")
    new: dict[str, Address] = {}
    for (node, ini), number in zip(files.server_inis.items(), range(port, 65_536)):
        address, http = Address(HOST, number), load_server_config(ini).http
        if http is None:
            new[ini] = address
        elif http.listen != address:
            raise ConfigError(
                f"{ini} has an HTTP front on {http.listen}, not {address}: leave out --http, or correct the file"
            )
        if _is_in_use(address):
            raise ConfigError(
                f"the HTTP front of node {node} cannot listen on {address}: the port is in use; stop what uses it, "
                "or give another --http"
            )
    for ini, address in new.items():
        _write(ini, f"\n[http]\nlisten = {address}\n", "a")


def prepare_folder(folder: str, nodes: int | None = None, port: int | None = None) -> ClusterFiles:
    """The files of the cluster in `folder`; a new cluster's, if there is none yet.

    A new one has `nodes` servers (default 3). They listen for clients from `port` on and for each other on
    the ports after those; without `port`, on free ones. Raises ConfigError, also if an old cluster is not
    what `nodes` and `port` ask for.
    """
    client_ini = os.path.join(folder, "client.ini")
    if not os.path.exists(client_ini):
        _restore(folder, client_ini)
    if os.path.exists(client_ini):
        return _existing(folder, client_ini, nodes, port)
    nodes = DEFAULT_NODES if nodes is None else nodes
    ports = _free_ports(2 * nodes) if port is None else list(range(port, port + 2 * nodes))
    if ports[-1] > 65_535:
        raise ConfigError(
            f"{nodes} servers need the ports {ports[0]} to {ports[-1]}, but 65535 is the last one"
        )
    _check_unclaimed(folder)
    servers = {node: Address(HOST, ports[node - 1]) for node in range(1, nodes + 1)}
    peers = {node: Address(HOST, ports[nodes + node - 1]) for node in range(1, nodes + 1)}
    if port is not None:
        for node, address in servers.items():
            _check_ports(node, address, peers[node], "give another --port")
    for node in servers:
        _write(_server_ini(folder, node), _server_text(node, servers, peers))
    _write(client_ini, _client_text(servers))  # last: it says that the others are complete
    return ClusterFiles(client_ini, {node: _server_ini(folder, node) for node in servers})


def _restore(folder: str, client_ini: str) -> None:
    """Write client.ini again for a cluster that has lost it. One that has no keys and no data yet was cut short
    while it was set up, and is set up anew."""
    names = _names_in(folder)
    server_inis = sorted(name for name in names if _SERVER_INI.fullmatch(name))
    if not server_inis or not _strangers(names):
        return
    config = load_server_config(os.path.join(folder, server_inis[0]))
    missing = [name for name in map("server{}.ini".format, config.servers) if name not in names]
    if missing:
        raise ConfigError(
            f"{folder} holds {server_inis[0]} of a cluster, but no client.ini and no {missing[0]}: "
            "put them back, or give another folder"
        )
    _write(client_ini, _client_text(config.servers, os.path.relpath(config.client_key_file, folder)))


def _existing(folder: str, client_ini: str, nodes: int | None, port: int | None) -> ClusterFiles:
    servers = load_client_config(client_ini).servers
    server_inis = {}
    for node in servers:
        config = load_server_config(_server_ini(folder, node))
        if config.node_id != node:
            raise ConfigError(f"{config.path}: [node] id: must be {node} in this file, not {config.node_id}")
        if config.servers[node] != servers[node]:
            raise ConfigError(f"{config.path}: [servers] {node}: has another address than {client_ini}")
        server_inis[node] = config.path
    if nodes is not None and nodes != len(servers):
        raise ConfigError(
            f"{folder} holds a cluster of {len(servers)} servers, not {nodes}: "
            "leave out --nodes, or give another folder"
        )
    first_port = servers[min(servers)].port
    if port is not None and port != first_port:
        raise ConfigError(
            f"{folder} holds a cluster with ports from {first_port} on, not {port}: "
            "leave out --port, or give another folder"
        )
    return ClusterFiles(client_ini, server_inis)


def add_server(files: ClusterFiles, node: int, join: str) -> str:
    """Write the file of a new server, which asks the member at `join` (its peer address); returns its path."""
    client, peer = (Address(HOST, port) for port in _free_ports(2))
    first = load_server_config(next(iter(files.server_inis.values())))
    path = _server_ini(os.path.dirname(files.client_ini), node)
    text = _server_text(node, {**first.servers, node: client}, {**first.peers, node: peer})
    _write(path, f"{text}\n[cluster]\njoin = {join}\n")
    files.server_inis[node] = path
    return path


def rewrite_addresses(files: ClusterFiles) -> None:
    """Put the addresses of all servers into all files; the rest of each stays as it is."""
    configs = {node: load_server_config(path) for node, path in files.server_inis.items()}
    sections = {
        "servers": _address_lines({node: config.servers[node] for node, config in configs.items()}),
        "peers": _address_lines({node: config.peers[node] for node, config in configs.items()}),
    }
    for path in (
        *files.server_inis.values(),
        files.client_ini,
    ):  # the client's last: it says which servers there are
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for section, lines in sections.items():
            text = re.sub(rf"(?ms)^\[{section}\]\n.*?(?=^\[|\Z)", f"[{section}]\n{lines}\n", text)
        _write(path, text)


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Make `folder`, and lock it for the launcher of its cluster. Raises ConfigError or LockedError."""
    lock = _lock(folder, os.path.join(folder, LOCK))
    try:
        yield
    finally:
        lock.release()


def _lock(folder: str, path: str) -> DiskLock:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return Disk().lock(path)
    except BlockingIOError:
        raise LockedError(
            f"{folder} is in use by the launcher with the process id {_holder(path)}: use its cluster through "
            "client.ini, stop that process first, or give another --data-dir"
        ) from None
    except OSError as error:
        raise ConfigError(explain(error, folder, "--data-dir")) from None


def wait_until_unused(files: ClusterFiles) -> None:
    """Wait for nodes whose launcher was killed a moment ago. Raises LockedError if one runs on."""
    deadline = time.monotonic() + ORPHAN_TIMEOUT_S
    for node, server_ini in files.server_inis.items():
        path = os.path.join(load_server_config(server_ini).data_dir, LOCK)
        while os.path.exists(path):
            try:
                Disk().lock(path).release()
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LockedError(
                        f"node {node} runs already, as process {_holder(path)}, and not under this launcher: stop "
                        "it first"
                    ) from None
                time.sleep(0.05)
            except OSError:
                break  # the node will say what is wrong


def check_ports(files: ClusterFiles) -> None:
    """Raises ConfigError if another program listens on a port of a node's."""
    for node, server_ini in files.server_inis.items():
        config = load_server_config(server_ini)
        instead = f"choose another in the ini files of {os.path.dirname(files.client_ini)}"
        _check_ports(node, config.listen_clients, config.listen_peers, instead)


def _check_ports(node: int, clients: Address, peers: Address, instead: str) -> None:
    for who, address in (("clients", clients), ("the other nodes", peers)):
        if _is_in_use(address):
            raise ConfigError(
                f"node {node} cannot listen for {who} on {address}: the port is in use; stop what uses it, or {instead}"
            )


def _is_in_use(address: Address) -> bool:
    with socket.socket() as sock:
        try:
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(tuple(address))
        except (OSError, UnicodeError) as error:
            return getattr(error, "errno", None) == errno.EADDRINUSE  # the node will say what else is wrong
    return False


def listens(address: Address) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((address.host, address.port), 0.5).close()
    except OSError:
        return False
    return True


def _holder(path: str) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="ascii") as file:
        return file.read().strip() or "unknown"
    return "unknown"


def _check_unclaimed(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(explain(error, folder, "--data-dir")) from None
    strangers = _strangers(_names_in(folder))
    if strangers:
        raise ConfigError(f"{folder} holds {min(strangers)!r} and no cluster: give an empty or a new folder")


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(explain(error, folder, "--data-dir")) from None


def _strangers(names: list[str]) -> list[str]:
    """Those that no set-up of ours has written."""
    return [
        name for name in names if name != LOCK and not _SERVER_INI.fullmatch(name) and not is_clutter(name)
    ]


def _server_ini(folder: str, node: int) -> str:
    return os.path.join(folder, f"server{node}.ini")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment. All are held until all are found, so that they differ."""
    ports: list[int] = []
    with ExitStack() as held:
        for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
            listener = held.enter_context(socket.socket())
            try:
                listener.bind((HOST, port))
            except OSError:
                continue  # in use
            ports.append(port)
            if len(ports) == count:
                return ports
    raise ConfigError(f"{count} free ports are needed between {FREE_PORTS.start} and {FREE_PORTS.stop}")


def _server_text(node: int, servers: dict[int, Address], peers: dict[int, Address]) -> str:
    return (
        f"# Server {node} of a local cluster, written by kvcluster. conf/server1.ini explains every option.\n"
        f"\n[node]\nid = {node}\ndata_dir = server{node}\n"
        f"\n[servers]\n{_address_lines(servers)}\n[peers]\n{_address_lines(peers)}"
        "\n[auth]\nclient_key_file = client.key\npeer_key_file = peer.key\n"
    )


def _client_text(servers: Mapping[int, Address], key_file: str = "client.key") -> str:
    return (
        "# For clients of this local cluster, written by kvcluster: kvclient --config THIS FILE.\n"
        f"\n[servers]\n{_address_lines(servers)}\n[auth]\nclient_key_file = {key_file}\n"
    )


def _address_lines(addresses: Mapping[int, Address]) -> str:
    return "".join(f"{node} = {address}\n" for node, address in addresses.items())


def _write(path: str, text: str, mode: str = "w") -> None:
    try:
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(explain(error, os.path.dirname(path), "--data-dir")) from None
