"""[http]: the options of a front, in a server's ini file or in one of its own (conf/gateway.ini)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from raftkv.errors import ConfigError
from raftkv.ini import Address, Ini, PathLike, host_problem

OPTIONS = ("listen", "hosts", "password_file", "open")


@dataclasses.dataclass(frozen=True)
class HttpConfig:
    """`hosts`: names by which the front may be called beside its own. `password_file` is "" if there is none."""

    listen: Address
    hosts: tuple[str, ...] = ()
    password_file: str = ""
    is_open: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences to be logged."""
        if not self.is_open:
            return ()
        risk = "may read and write everything, and what is sent is not encrypted"
        return (f"[http] open: everybody who can connect to {self.listen} {risk}",)


@dataclasses.dataclass(frozen=True)
class GatewayConfig:
    """The ini file of a front that is no server's."""

    path: str
    servers: Mapping[int, Address]
    client_key_file: str
    http: HttpConfig


def load_gateway_config(path: PathLike) -> GatewayConfig:
    """Read a front's own ini file. Raises ConfigError."""
    ini = Ini(path, {"http", "servers", "auth"}, ())
    ini.options("auth", {"client_key_file"})
    http = http_options(ini)
    assert http is not None, "Ini has seen to it that the section is there"
    return GatewayConfig(ini.path, ini.addresses("servers"), ini.file("auth", "client_key_file"), http)


def http_options(ini: Ini) -> HttpConfig | None:
    """The section [http], if there is one. Raises ConfigError."""
    if not ini.has("http"):
        return None
    found = ini.options("http", (), OPTIONS)
    if "listen" not in found:
        raise ini.error("http", "listen", "is missing: say where browsers and programs connect, HOST:PORT")
    listen = ini.address("http", "listen", found["listen"])
    is_open = _yes(ini, "open", found.get("open", "no"))
    password_file = ini.file("http", "password_file") if "password_file" in found else ""
    if password_file and is_open:
        raise ini.error("http", "open", "is yes, and there is a password_file: take one of them away")
    if not password_file and not is_open and not listen.is_loopback():
        raise ini.error(
            "http",
            "listen",
            f"{listen} can be reached from other machines: set password_file, or open = yes if everybody there may read "
            "and write everything",
        )
    return HttpConfig(listen, _hosts(ini, found.get("hosts", "")), password_file, is_open)


def _yes(ini: Ini, option: str, text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ini.error("http", option, f"must be yes or no, not {text!r}")
    return text.lower() == "yes"


def _hosts(ini: Ini, text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    for name in names:
        host, colon, port = name.rpartition(":")
        problem = host_problem(host if colon and port.isdecimal() else name)
        if problem:
            raise ini.error("http", "hosts", f"{name} {problem}")
    return names


def check_no_clash(ini: Ini, http: HttpConfig | None, others: tuple[Address, ...]) -> None:
    """Raises ConfigError if the front is to listen where its server does."""
    for other in others:
        if http is not None and _clash(http.listen, other):
            raise ConfigError(
                f"{ini.path}: [http] listen: {http.listen} is an address of this server already"
            )


def _clash(one: Address, other: Address) -> bool:
    if one.port != other.port:
        return False
    return one.plain() == other.plain() or one.is_wildcard() or other.is_wildcard()
