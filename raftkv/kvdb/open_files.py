"""How a server divides the open files that the system allows it.

What storage and the other members need is reserved; strangers and clients share the rest, so that however
many they are, a snapshot or a new log file can be opened.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from raftkv.config import Limits
from raftkv.errors import ConfigError
from raftkv.open_files import raise_limit
from raftkv.rpc.server import MOST_REFUSED

_OWN = 22  # listeners, selectors, LOCK, log files, snapshots written and received, name resolution
_EACH_PEER = 8  # a connection either way (and one that replaces it), and the snapshot that it is sent
_FEWEST_STRANGERS = 2  # a listener
_FEWEST_CLIENTS = 2


class Places(NamedTuple):
    """How many connections each listener may have. `warning`: a sentence if clients get fewer than
    configured."""

    clients: int
    peers: int
    strangers: int
    warning: str | None = None


def allow_open_files(limits: Limits, members: int) -> Places:
    """Raise this process's limit of open files, which is often 1024, to what `limits` need, as far as that is
    allowed, and divide what there is. `members`: how many the cluster has.

    Raises ConfigError if it is not enough for the cluster itself.
    """
    wanted = Places(limits.max_connections, 16 + 8 * members, limits.max_unauthenticated)
    reserved = _opened_already() + _OWN + MOST_REFUSED + _EACH_PEER * (members - 1)
    allowed = raise_limit(reserved + wanted.clients + 2 * wanted.strangers)
    left = allowed - reserved
    fewest = 2 * _FEWEST_STRANGERS + _FEWEST_CLIENTS
    if left < fewest:
        raise ConfigError(
            f"this system allows a process {allowed} open files, but a server of a cluster of {members} needs "
            f"{reserved + fewest} at least: raise the limit (ulimit -n)"
        )
    strangers = min(wanted.strangers, max(left // 4, _FEWEST_STRANGERS))
    clients = min(wanted.clients, left - 2 * strangers)
    peers = min(wanted.peers, 2 * members + left // 6)
    return Places(clients, peers, strangers, _warning(allowed, clients, wanted.clients))


def _opened_already() -> int:
    """How many descriptors this process has, at least: new ones get the lowest number that is free."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def _warning(allowed: int, clients: int, wanted: int) -> str | None:
    if clients >= wanted:
        return None
    return (
        f"this system allows {allowed} open files: {clients} clients can be connected at a time, not the "
        f"{wanted} of [limits] max_connections; raise the hard limit (ulimit -Hn), or lower max_connections"
    )
