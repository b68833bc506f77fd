"""Accepting connections: one thread for all listeners of a server, and for all handshakes on them.

Nobody is waited for, so that no stranger costs a thread. Those that have not yet proved that they hold the
key have a deadline, and are bounded in number. When they are too many, the one that has been silent longest
makes room, if it had a fair chance to answer; else the next ones wait in the kernel's queue for a moment. So
a burst of a thousand honest clients gets in, and a thousand silent ones keep nobody out. When the system has
no descriptor or memory for a connection, the next ones wait there, too.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from typing import Callable

from raftkv import forks
from raftkv.errors import AuthenticationError, RpcError
from raftkv.rpc.challenge import REFUSAL
from raftkv.rpc.door import Door, Stranger
from raftkv.rpc.handshake import reason_of, set_options
from raftkv.rpc.waker import Waker

logger = logging.getLogger("raftkv.rpc")

_RETRY_S = 0.1  # after a failure to accept
_MOST_AT_ONCE = 64  # connections that are accepted before handshakes go on


class Acceptor:
    """Lets connections in through any number of doors. add() and close() are thread-safe.

    `start_thread(body, name)` starts a thread that reports its death.
    """

    def __init__(
        self, name: str, start_thread: Callable[[Callable[[], None], str], threading.Thread]
    ) -> None:
        self._name, self._start_thread = name, start_thread
        self._doors: list[Door] = []
        self._new_doors: deque[Door] = deque()
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        forks.close_in_child(self._selector, self._waker)
        self._selector.register(self._waker.socket, selectors.EVENT_READ, None)
        self._thread: threading.Thread | None = None
        self._closing = False

    def add(self, door: Door) -> None:
        self._new_doors.append(door)
        self._waker.wake()

    def start(self) -> None:
        self._thread = self._start_thread(self._run, f"{self._name}-accept")

    def close(self) -> None:
        """Stops accepting, ends all handshakes, joins the thread."""
        self._closing = True
        if self._thread is None:
            self._tear_down()
        else:
            self._waker.wake()
            self._thread.join()

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
        finally:
            self._tear_down()

    def _tear_down(self) -> None:
        for door in [*self._doors, *self._new_doors]:
            door.sock.close()
            for stranger in door.strangers:
                stranger.sock.close()
        self._selector.close()
        self._waker.close()

    def _turn(self) -> None:
        now = time.monotonic()
        wakes_at = min([door.next_event_at() for door in self._doors], default=float("inf"))
        timeout_s = None if wakes_at == float("inf") else max(0.0, wakes_at - now)
        knocked_at: list[Door] = []
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._waker.clear()
            elif isinstance(key.data, Door):
                knocked_at.append(key.data)
            else:
                self._hear(key.data)
        now = time.monotonic()
        while self._new_doors:
            self._doors.append(self._new_doors.popleft())
        for door in self._doors:
            self._send_away_the_late(door, now)
        for door in knocked_at:  # after the handshakes: some may have made room
            self._let_in(door, now)
        for door in self._doors:
            self._watch(door, now)

    def _watch(self, door: Door, now: float) -> None:
        """Has the selector watch the listener, unless nobody is let in for a while."""
        if door.resume_at is not None and now >= door.resume_at:
            door.resume_at = None
        wanted = door.resume_at is None
        if wanted and not door.watched:
            self._selector.register(door.sock, selectors.EVENT_READ, door)
        elif door.watched and not wanted:
            self._selector.unregister(door.sock)
        door.watched = wanted

    def _let_in(self, door: Door, now: float) -> None:
        """Somebody waits at the door."""
        for _ in range(_MOST_AT_ONCE):
            if door.is_crowded:
                silent = door.who_makes_room(now)
                if silent is None:
                    door.resume_at = now + door.fair_chance_s
                    for oldest in door.strangers:
                        door.resume_at = max(oldest.since + door.fair_chance_s, now + 0.01)
                        break
                    return
                self._send_away(silent, "it was silent while others waited")
            try:
                stranger = door.accept()
                if stranger is None:
                    return
                self._begin(stranger)
            except OSError as error:
                self._pause(door, error, now)
                return
            if door.failing:
                door.failing = False
                logger.info("%s: connections are accepted again", door.complaints.name)

    def _pause(self, door: Door, error: OSError, now: float) -> None:
        """No descriptor, or no memory, for a connection."""
        door.resume_at = now + _RETRY_S
        if not door.failing:
            door.failing = True
            logger.warning(
                "%s: cannot accept connections: %s; they wait until that is over",
                door.complaints.name,
                reason_of(error),
            )

    # -- handshakes ------------------------------------------------------------------------------------------

    def _begin(self, stranger: Stranger) -> None:
        try:
            self._selector.register(stranger.sock, selectors.EVENT_READ, stranger)
        except OSError:
            stranger.sock.close()
            raise
        stranger.door.strangers[stranger] = None
        try:
            set_options(stranger.sock)
            stranger.sock.send(stranger.challenge.opening)
        except OSError as error:
            self._lose(stranger, error)

    def _hear(self, stranger: Stranger) -> None:
        """It has sent something, or is gone."""
        challenge, sock = stranger.challenge, stranger.sock
        try:
            while challenge.wanted:
                data = sock.recv(challenge.wanted)
                if not data:
                    self._send_away(stranger, "it closed the connection during the handshake")
                    return
                answer = challenge.receive(data)
                if answer and sock.send(answer) < len(answer):
                    self._send_away(stranger, "it does not take our part of the handshake")
                    return
        except BlockingIOError:
            return  # more has to come
        except OSError as error:
            self._lose(stranger, error)
            return
        except RpcError as error:
            if isinstance(error, AuthenticationError):
                _try_to_send(sock, REFUSAL)
            self._send_away(stranger, str(error))
            return
        self._forget(stranger)
        stranger.door.admit(stranger)

    def _send_away_the_late(self, door: Door, now: float) -> None:
        latest = now - door.admission.handshake_timeout_s
        for stranger in [*door.strangers]:
            if stranger.since > latest:
                break
            self._send_away(stranger, "it did not finish the handshake in time")

    def _lose(self, stranger: Stranger, error: OSError) -> None:
        self._send_away(stranger, f"it was lost during the handshake: {reason_of(error)}")

    def _send_away(self, stranger: Stranger, reason: str) -> None:
        self._forget(stranger)
        stranger.sock.close()
        stranger.door.complaints.say(stranger.peer, reason)

    def _forget(self, stranger: Stranger) -> None:
        """It is no stranger any more. There is room for another one."""
        self._selector.unregister(stranger.sock)
        del stranger.door.strangers[stranger]
        if not stranger.door.failing:
            stranger.door.resume_at = None


def _try_to_send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.send(data)
    except OSError:
        pass  # it is not there to hear it
