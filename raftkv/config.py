"""Ini files: read, checked, and handed on as frozen dataclasses.

A server's file has the sections [node], [servers], [peers], [auth] and may have [raft] and [limits]; a
client's has [servers], [auth] and may have [client]. conf/ holds commented examples. Relative paths are
relative to the ini file's own folder. An unknown section or option is an error: a misspelt option must not
silently keep its default. Every error names file, section and option, and says what to do.
"""

from __future__ import annotations

import configparser
import dataclasses
import ipaddress
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Union

from raftkv.errors import ConfigError
from raftkv.keys import load_key

KIB = 1 << 10
MIB = 1 << 20

PathLike = Union[str, "os.PathLike[str]"]


class Address(NamedTuple):
    """Where a node listens. `host` is a name or an IPv4 address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def is_loopback(self) -> bool:
        """True if only processes of the same machine can connect to it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name: it may resolve to anything


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
    segment_bytes: int = _option(
        8 * MIB, 4 * KIB, 1 << 30
    )  # a log file that is larger is continued in a new one
    snapshot_chunk_bytes: int = _option(
        256 * KIB, 1 * KIB, 16 * MIB
    )  # one message of a snapshot that is sent


@dataclasses.dataclass(frozen=True)
class Limits:
    """[limits]: what strangers and too many clients may cost a server, for each of its two listeners."""

    max_connections: int = _option(2048, 1, 1_000_000)
    max_unauthenticated: int = _option(128, 1, 100_000)  # connections that have not shown their key yet
    handshake_timeout_ms: int = _option(5000, 100, 600_000)  # how long they have for it


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """One server's ini file. Paths are absolute. `warnings` are sentences to be logged."""

    path: str
    node_id: int
    cluster: str
    data_dir: str
    servers: Mapping[int, Address]  # where clients connect
    peers: Mapping[int, Address]  # where the other servers connect
    client_key_file: str
    peer_key_file: str
    raft: RaftOptions = RaftOptions()
    limits: Limits = Limits()
    warnings: tuple[str, ...] = ()

    def load_keys(self) -> tuple[bytes, bytes]:
        """(client key, peer key). Makes missing ones if every address of the cluster is a loopback address.

        Raises ConfigError, also if the two are equal: a client's key must not give access to Raft messages.
        """
        create = all(address.is_loopback() for address in (*self.servers.values(), *self.peers.values()))
        client_key = load_key(self.client_key_file, create=create)
        peer_key = load_key(self.peer_key_file, create=create)
        if client_key == peer_key:
            raise ConfigError(
                f"{self.path}: [auth] {self.client_key_file} and {self.peer_key_file} hold the same key: "
                "make a new one for either, so that a client's key opens no peer port"
            )
        return client_key, peer_key


@dataclasses.dataclass(frozen=True)
class ClientConfig:
    """A client's ini file. `timeout_s` bounds one command with all its retries, in seconds."""

    path: str
    servers: Mapping[int, Address]
    client_key_file: str
    timeout_s: float = 10.0


def load_server_config(path: PathLike) -> ServerConfig:
    """Read a server's ini file. Raises ConfigError."""
    ini = _Ini(path, {"node", "servers", "peers", "auth"}, {"raft", "limits"})
    node = ini.options("node", {"id", "data_dir"}, {"cluster"})
    ini.options("auth", {"client_key_file", "peer_key_file"})
    servers, peers = ini.addresses("servers"), ini.addresses("peers")
    node_id = ini.integer("node", "id", node["id"], 1, 1 << 31)
    _check_members(ini, node_id, servers, peers)
    client_key_file, peer_key_file = (ini.file("auth", name) for name in ("client_key_file", "peer_key_file"))
    if client_key_file == peer_key_file:
        raise ini.error(
            "auth", "peer_key_file", "must be another file than client_key_file: two listeners, two keys"
        )
    raft = RaftOptions(**ini.integers("raft", RaftOptions))
    _check_raft(ini, raft)
    return ServerConfig(
        path=ini.path,
        node_id=node_id,
        cluster=node.get("cluster", "raftkv"),
        data_dir=ini.file("node", "data_dir"),
        servers=servers,
        peers=peers,
        client_key_file=client_key_file,
        peer_key_file=peer_key_file,
        raft=raft,
        limits=Limits(**ini.integers("limits", Limits)),
        warnings=_warnings(len(servers)),
    )


def load_client_config(path: PathLike) -> ClientConfig:
    """Read a client's ini file. Raises ConfigError."""
    ini = _Ini(path, {"servers", "auth"}, {"client"})
    ini.options("auth", {"client_key_file"})
    client = ini.options("client", set(), {"timeout_s"})
    return ClientConfig(
        path=ini.path,
        servers=ini.addresses("servers"),
        client_key_file=ini.file("auth", "client_key_file"),
        timeout_s=ini.seconds("client", "timeout_s", client["timeout_s"]) if "timeout_s" in client else 10.0,
    )


def _check_members(ini: _Ini, node_id: int, servers: dict[int, Address], peers: dict[int, Address]) -> None:
    if set(servers) != set(peers):
        odd = min(set(servers) ^ set(peers))
        there, missing = ("servers", "peers") if odd in servers else ("peers", "servers")
        raise ini.error(
            there, str(odd), f"has no line in [{missing}]; both sections list every server of the cluster"
        )
    if node_id not in servers:
        known = ", ".join(map(str, sorted(servers)))
        raise ini.error("node", "id", f"server {node_id} is not listed in [servers] (which has {known})")
    clients = {address: server for server, address in servers.items()}
    for peer, address in peers.items():
        if address in clients:
            raise ini.error(
                "peers", str(peer), f"{address} is already server {clients[address]}'s in [servers]"
            )


def _check_raft(ini: _Ini, raft: RaftOptions) -> None:
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


def _warnings(count: int) -> tuple[str, ...]:
    if count == 1:
        return ("a cluster of 1 server tolerates no failure; 3 servers tolerate one",)
    if count % 2 == 0:
        return (f"{count} servers tolerate no more failures than {count - 1} do: {(count - 1) // 2}",)
    return ()


class _Ini:
    """A parsed ini file whose sections are known to be the right ones, and errors that name its places."""

    def __init__(self, path: PathLike, required: Iterable[str], optional: Iterable[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        # An empty default section: [DEFAULT] is then an unknown section like any other.
        self._parser = configparser.ConfigParser(interpolation=None, default_section="")
        try:
            with open(self.path, encoding="utf-8-sig") as file:
                self._parser.read_file(file)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot read the configuration file: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{self.path}: not a text file in UTF-8") from None
        except configparser.Error as error:
            raise ConfigError(f"{self.path}: {_syntax_problem(error)}") from None
        self._check_sections(set(required), set(optional))

    def _check_sections(self, required: set[str], optional: set[str]) -> None:
        for section in self._parser.sections():
            if section not in required | optional:
                known = ", ".join(f"[{name}]" for name in sorted(required | optional))
                raise ConfigError(f"{self.path}: unknown section [{section}]; known are {known}")
        for section in sorted(required):
            if not self._parser.has_section(section):
                raise ConfigError(f"{self.path}: section [{section}] is missing")
        for section in self._parser.sections():
            for option, value in self._parser.items(section):
                if not value or "\n" in value:
                    raise self.error(section, option, "needs a value, on one line")

    def error(self, section: str, option: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.path}: [{section}] {option}: {problem}")

    def options(
        self, section: str, required: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> dict[str, str]:
        """The options of a section, with every required and no unknown one."""
        found = dict(self._parser.items(section)) if self._parser.has_section(section) else {}
        known = sorted({*required, *optional})
        for option in found:
            if option not in known:
                raise self.error(section, option, f"unknown option; known are {', '.join(known)}")
        for option in sorted(required):
            if option not in found:
                raise self.error(section, option, "is missing")
        return found

    def integer(self, section: str, option: str, text: str, minimum: int, maximum: int) -> int:
        try:
            value: int | None = int(text)
        except ValueError:
            value = None
        if value is None or not minimum <= value <= maximum:
            raise self.error(
                section, option, f"must be a whole number from {minimum} to {maximum}, not {text!r}"
            )
        return value

    def integers(self, section: str, options_class: type) -> dict[str, int]:
        """The options of a section that is described by a dataclass of integers."""
        fields = {field.name: field.metadata for field in dataclasses.fields(options_class)}
        found = self.options(section, (), fields)
        return {
            name: self.integer(section, name, text, fields[name]["minimum"], fields[name]["maximum"])
            for name, text in found.items()
        }

    def seconds(self, section: str, option: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= 86_400:
            raise self.error(
                section, option, f"must be a number of seconds above 0, at most 86400, not {text!r}"
            )
        return value

    def file(self, section: str, option: str) -> str:
        """A path, relative to the ini file's folder."""
        path = os.path.expanduser(self._parser.get(section, option))
        return os.path.normpath(os.path.join(os.path.dirname(self.path), path))

    def addresses(self, section: str) -> dict[int, Address]:
        """A section of `ID = HOST:PORT` lines, by id."""
        result: dict[int, Address] = {}
        for option, text in self._parser.items(section):
            if not option.isascii() or not option.isdigit() or not 0 < int(option) < 1 << 31:
                raise self.error(section, option, "a server's id must be a whole number from 1 up")
            server = int(option)
            if server in result:
                raise self.error(section, option, f"server {server} is listed twice")
            address = self._address(section, option, text)
            if address in result.values():
                raise self.error(section, option, f"{address} is listed twice")
            result[server] = address
        if not result:
            raise ConfigError(f"{self.path}: [{section}] is empty: list each server as ID = HOST:PORT")
        return dict(sorted(result.items()))

    def _address(self, section: str, option: str, text: str) -> Address:
        host, colon, port = text.rpartition(":")
        if not colon or not host or host != host.strip() or " " in host:
            raise self.error(section, option, f"must be HOST:PORT, such as 127.0.0.1:7001, not {text!r}")
        if ":" in host:
            raise self.error(
                section, option, f"{text}: write a host name or an IPv4 address; IPv6 is not supported"
            )
        return Address(host, self.integer(section, option, port, 1, 65_535))


def _syntax_problem(error: configparser.Error) -> str:
    if isinstance(error, configparser.DuplicateOptionError):
        return f"[{error.section}] {error.option}: is given twice (again in line {error.lineno})"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"section [{error.section}] is given twice (again in line {error.lineno})"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} comes before any [section]"
    if isinstance(error, configparser.ParsingError):
        lines = ", ".join(str(number) for number, _ in error.errors)
        return f"line {lines}: neither a [section] nor option = value"
    return " ".join(str(error).split())
