"""Names to addresses, without waiting for a resolver that does not answer.

getaddrinfo() cannot be given a deadline, and takes 30 seconds when a name server is silent. So each name is
looked up on a daemon thread that nobody joins: one at a time a name, and few in all. Whoever waits for it goes
when its own time is over; the next one who asks waits for the same lookup, or is given what came meanwhile.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import Any, NamedTuple

from raftkv import forks
from raftkv.errors import CallTimeoutError, ConnectionLostError, RpcError

_MOST_LOOKUPS = 32  # at once; each is a thread, perhaps for half a minute
_KEPT_S = 10.0  # an answer that came when nobody waited any more, for who asks next

Signals = queue.SimpleQueue  # of whoever waits: anything put there ends the wait


class Target(NamedTuple):
    """One of the addresses of a name."""

    family: int
    sockaddr: Any


def without_frames(error: RpcError) -> RpcError:
    """`error`, for a thread to leave to another one. Its traceback, and that of what it came of, have this thread's
    frames, and these the error: they would stay until somebody looks for such cycles."""
    error.__context__ = None
    return error.with_traceback(None)


class _Lookup:
    def __init__(self) -> None:
        self.outcome: list[Target] | RpcError | None = None
        self.ended = 0.0  # time.monotonic() when the outcome came
        self.waiting: list[Signals[None]] = []


class _Lookups:
    """Those that are under way in this process, and those whose outcome nobody has."""

    def __init__(self) -> None:
        self.after_fork_in_child()
        forks.register(self)

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, int], _Lookup] = {}
        self._kept: dict[tuple[str, int], _Lookup] = {}

    def join(self, host: str, port: int, signals: Signals[None]) -> _Lookup:
        """The lookup of this name, which is begun if there is none."""
        with self._lock:
            kept = self._kept.pop((host, port), None)
            if kept is not None and time.monotonic() - kept.ended < _KEPT_S:
                return kept
            lookup = self._under_way.get((host, port))
            if lookup is None:
                if len(self._under_way) >= _MOST_LOOKUPS:
                    raise ConnectionLostError(
                        f"cannot resolve {host}: {_MOST_LOOKUPS} names wait for the resolver already"
                    )
                lookup = _Lookup()
                self._start(host, port, lookup)
                self._under_way[host, port] = lookup
            lookup.waiting.append(signals)
        return lookup

    def leave(self, lookup: _Lookup, signals: Signals[None]) -> None:
        """Whoever joined with `signals` waits no longer. The outcome may just have come."""
        with self._lock:
            lookup.waiting.remove(signals)

    def _start(self, host: str, port: int, lookup: _Lookup) -> None:
        thread = threading.Thread(
            target=self._look_up, args=(host, port, lookup), name="rpc-resolver", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise ConnectionLostError(f"cannot resolve {host}: {error}") from None

    def _look_up(self, host: str, port: int, lookup: _Lookup) -> None:
        try:
            outcome: list[Target] | RpcError = _targets(host, port)
        except RpcError as error:
            outcome = without_frames(error)
        with self._lock:
            lookup.outcome, lookup.ended = outcome, time.monotonic()
            if self._under_way.get((host, port)) is lookup:
                del self._under_way[host, port]
                if not lookup.waiting and not isinstance(outcome, RpcError):
                    self._kept[host, port] = lookup
            waiting = list(lookup.waiting)
        for signals in waiting:
            signals.put(None)


_lookups = _Lookups()


def resolve(host: str, port: int, deadline: float, signals: Signals[None]) -> list[Target]:
    """The addresses of `host`, those of IPv6 and IPv4 by turns. Over by `deadline` (time.monotonic()), or when
    anything is put into `signals`.

    Raises ConnectionLostError or CallTimeoutError.
    """
    try:
        return _targets(host, port, socket.AI_NUMERICHOST)  # asks nobody
    except ConnectionLostError:
        pass  # it is no address in numbers
    lookup = _lookups.join(host, port, signals)
    if lookup.outcome is None:
        try:
            signals.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            pass  # no answer in time: said below
    if lookup.outcome is None:
        _lookups.leave(lookup, signals)
    if lookup.outcome is None:
        raise CallTimeoutError(f"cannot resolve {host}: the resolver did not answer in time")
    if isinstance(lookup.outcome, RpcError):
        try:
            raise lookup.outcome
        finally:
            del lookup  # which the traceback has, by this frame
    return lookup.outcome


def _targets(host: str, port: int, flags: int = 0) -> list[Target]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except OSError as error:
        raise ConnectionLostError(f"cannot resolve {host}: {error.strerror or error}") from None
    except (UnicodeError, ValueError):
        raise ConnectionLostError(f"cannot resolve {host}: DNS has no such names") from None
    targets = [Target(int(family), sockaddr) for family, _, _, _, sockaddr in found]
    first = [target for target in targets if target.family == targets[0].family]
    others = [target for target in targets if target.family != targets[0].family]
    mixed = [target for pair in zip(first, others) for target in pair]
    return mixed + first[len(others) :] + others[len(first) :]
