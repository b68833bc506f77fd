"""A listener: its socket, who stands before it, and how many went in."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from multiprocessing.connection import wait
from typing import Callable, NamedTuple, Optional

from raftkv import forks
from raftkv.errors import ConfigError
from raftkv.rpc.challenge import Challenge
from raftkv.rpc.complaints import Complaints
from raftkv.rpc.handshake import reason_of

_BACKLOG = 512  # the kernel's queue; where it is full, a burst of clients waits a second each
# How long a silent connection may occupy a place that another one is waiting for: less where places are few,
# so that a queue of silent ones is gone through before honest clients give up.
_FAIR_CHANCE_S = (0.05, 0.25)
_MANY_PLACES = 128


class Admission(NamedTuple):
    """What a listener asks of those who want to connect. `full` is what it says to who is one too many."""

    authkey: bytes
    max_connections: int
    max_unauthenticated: int
    handshake_timeout_s: float
    full: str


#: Takes an authenticated socket, its "host:port", and None, or the sentence with which it must be refused.
OnAdmitted = Callable[[socket.socket, str, Optional[str]], None]


class Stranger:
    """A connection that has not yet finished its handshake."""

    def __init__(self, door: Door, sock: socket.socket, peer: str) -> None:
        self.door, self.sock, self.peer = door, sock, peer
        self.since = time.monotonic()
        self.challenge = Challenge(door.admission.authkey)

    @property
    def is_silent(self) -> bool:
        """Whether it owes an answer. (Nothing of it waits to be read: we may be the slow ones.)"""
        return not self.challenge.has_proved and not wait([self.sock], 0)


class Door:
    """One listener: its socket, who stands before it, and how many went in.

    forget_one() and the counts are thread-safe; all else is the Acceptor's.
    """

    def __init__(
        self, name: str, address: tuple[str, int], admission: Admission, on_admitted: OnAdmitted
    ) -> None:
        """Binds and listens; raises ConfigError when that cannot be done."""
        self.admission, self.on_admitted = admission, on_admitted
        self.sock = _listen(address)
        forks.close_in_child(self.sock)
        self.address: tuple[str, int] = self.sock.getsockname()
        self.complaints = Complaints(f"{name} {self.address[0]}:{self.address[1]}")
        self.strangers: dict[Stranger, None] = {}  # oldest first
        least, most = _FAIR_CHANCE_S
        self.fair_chance_s = max(least, most * min(1.0, admission.max_unauthenticated / _MANY_PLACES))
        self.watched = False  # by the Acceptor's selector
        self.resume_at: float | None = None  # time.monotonic(); while it is set, nobody is let in
        self.failing = False  # the last attempt to accept failed
        self.connections = 0  # authenticated ones that were not refused
        self.refused = 0  # since the start, for `max_connections`
        self._lock = threading.Lock()

    def forget_one(self) -> None:
        """An authenticated connection that was not refused is closed."""
        with self._lock:
            self.connections -= 1

    def accept(self) -> Stranger | None:
        """The next connection, if one waits. Raises OSError."""
        try:
            sock, address = self.sock.accept()
            forks.close_in_child(sock)
        except (BlockingIOError, ConnectionAbortedError):
            return None
        sock.setblocking(False)
        return Stranger(self, sock, f"{address[0]}:{address[1]}")

    def admit(self, stranger: Stranger) -> None:
        """Its handshake is done."""
        with self._lock:
            full = self.connections >= self.admission.max_connections
            if full:
                self.refused += 1
            else:
                self.connections += 1
        if full:
            self.complaints.say(stranger.peer, self.admission.full)
        self.on_admitted(stranger.sock, stranger.peer, self.admission.full if full else None)

    @property
    def is_crowded(self) -> bool:
        return len(self.strangers) >= self.admission.max_unauthenticated

    def who_makes_room(self, now: float) -> Stranger | None:
        """The one that has been silent longest, if it had a fair chance."""
        for stranger in self.strangers:
            if now < stranger.since + self.fair_chance_s:
                return None  # and all after it are younger
            if stranger.is_silent:
                return stranger
        return None

    def next_event_at(self) -> float:
        """When the Acceptor must look here, even if nobody moves."""
        deadline = float("inf")
        for stranger in self.strangers:
            deadline = stranger.since + self.admission.handshake_timeout_s
            break
        return deadline if self.resume_at is None else min(deadline, self.resume_at)


def _listen(address: tuple[str, int]) -> socket.socket:
    """A listening socket, as that of a `multiprocessing.connection.Listener`, but it never waits."""
    sock = socket.socket()
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address[0], address[1]))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
        return sock
    except (OSError, UnicodeError) as error:
        sock.close()
        raise _cannot_listen(address, error) from None


def _cannot_listen(address: tuple[str, int], error: Exception) -> ConfigError:
    where = f"{address[0]}:{address[1]}"
    if not isinstance(error, OSError):
        return ConfigError(f"cannot listen on {where}: that is no name of a host")
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"cannot listen on {where}: the port is in use; stop what uses it, or choose another"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f"cannot listen on {where}: that is not an address of this machine; if others reach it by that one, "
            "say what to listen on in [node] listen_clients and listen_peers (0.0.0.0: on all)"
        )
    return ConfigError(f"cannot listen on {where}: {reason_of(error)}")
