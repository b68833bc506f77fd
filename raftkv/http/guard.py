"""Guard: which requests are let in at all, whoever sends them: nothing that a browser sends for another site.

A page of another site can make a browser send us requests. It can do so under our own name, if its name is made to mean our
address (DNS rebinding): then Host is that name. Or it sends them to us: then Origin, or Sec-Fetch-Site, or the Referer says so.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from raftkv.http.web.head import Head, HttpError
from raftkv.ini import Address

_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_CHANGING_NOTHING = ("GET", "HEAD")


class Guard:
    """`listen`: the address of this front; `names`: others by which it may be called, such as that of a load balancer. A name
    with a port counts with that port only. Immutable."""

    def __init__(self, listen: Address, names: Collection[str] = ()) -> None:
        machine = socket.gethostname()
        own = {machine, machine.partition(".")[0], "" if listen.is_wildcard() else listen.host, *names}
        self._names = frozenset(name.lower().rstrip(".") for name in own if name)

    def check(self, head: Head, local_host: str) -> None:
        """`local_host`: the address that the client has connected to. Raises HttpError."""
        if head.host or not head.is_http_10:
            self._check_host(head.host, local_host)
        if self._is_foreign(head):
            raise HttpError(403, "requests of other sites are not taken")

    def _check_host(self, host: str, local_host: str) -> None:
        host = host.lower()
        name = _without_port(host)
        if name == local_host or name in self._names or host in self._names:
            return
        if _is_loopback(local_host) and (name in _LOCAL or _is_loopback(name)):
            return
        raise HttpError(
            421, "this server does not have the name that Host says: if it should, list it in [http] hosts"
        )

    def _is_foreign(self, head: Head) -> bool:
        fields, host = head.fields, head.host.lower()
        origin = fields.get("origin")
        if origin is not None:
            return _host_of(origin) != host
        if head.method in _CHANGING_NOTHING:
            # A link may lead here; what a page embeds or fetches may not.
            foreign = fields.get("sec-fetch-site") in ("cross-site", "same-site")
            return foreign and fields.get("sec-fetch-mode") != "navigate"
        if fields.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return True
        referer = fields.get("referer")
        return referer is not None and _host_of(referer) != host


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdecimal() or not port) else host).rstrip(".")


def _host_of(url: str) -> str | None:
    """None for what has none, as the origin `null`."""
    try:
        return urlsplit(url).netloc.lower() or None
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    return Address(host, 1).is_loopback()
