"""LocalReads: reads with consistency "serializable", which any server answers from its own state."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

from raftkv import errors
from raftkv.client.command import refusal_error
from raftkv.client.driver import Driver
from raftkv.kvdb.local_reads import Serializable
from raftkv.kvdb.operation import Read

_ATTEMPT_S = 1.5
_PAUSE_S = 0.1  # after a round in vain
_ELSEWHERE = (
    errors.NOT_LEADER,
    errors.OVERLOADED,
    errors.SHUTTING_DOWN,
    errors.TOO_MANY_CONNECTIONS,
)


class LocalReads:
    """Of one Clerk. Thread-safe; a caller's thread takes no lock. One server is asked as long as it answers: so what a program
    sees mostly does not go back in time. `timeout_s` bounds a read with all its attempts."""

    def __init__(self, driver: Driver, timeout_s: float) -> None:
        self._driver, self._timeout_s = driver, timeout_s
        self._first = random.random()  # so clients spread over the servers
        self._last: int | None = None  # the server that answered last

    def run(self, read: Read) -> Any:
        """The result of a read that was checked. Raises RefusedErrors; UnavailableError if no server answers in time;
        AuthenticationError, ClosedError."""
        driver, deadline = self._driver, time.monotonic() + self._timeout_s
        if driver.is_own_thread():
            raise errors.UnavailableError("this is a Clerk's own thread, which cannot wait")
        request = Serializable.of_read(read)
        complaints: dict[int, errors.RaftKVError] = {}
        strangers: set[int] = set()  # who have another key
        for tried in itertools.count():
            servers = self._servers()
            if tried and tried % len(servers) == 0:
                time.sleep(min(_PAUSE_S, max(0.0, deadline - time.monotonic())))
            server, left_s = servers[tried % len(servers)], deadline - time.monotonic()
            if left_s <= 0:
                break
            if driver.closed:
                raise errors.ClosedError("this Clerk was closed: make a new one")
            try:
                result = driver.ends[server].call(request.name, request.plain(), min(left_s, _ATTEMPT_S))
            except errors.RemoteError as refusal:
                if refusal.code not in _ELSEWHERE:
                    raise refusal_error(refusal) from None
                complaints[server] = refusal
            except errors.AuthenticationError as error:
                complaints[server] = error
                strangers.add(server)
                if strangers.issuperset(servers):
                    raise
            except (errors.RpcError, errors.ClosedError) as error:
                complaints[server] = error
            except KeyError:
                pass  # it is no member any more
            else:
                self._last = server
                return result
        raise self._unavailable(complaints)

    def _servers(self) -> list[int]:
        servers = sorted(self._driver.ends.copy())
        at = int(self._first * len(servers))
        if self._last in servers:
            at = servers.index(self._last)
        return servers[at:] + servers[:at]

    def _unavailable(self, complaints: dict[int, errors.RaftKVError]) -> errors.UnavailableError:
        label = self._driver.directory.label
        why = "; ".join(f"server {label(server)}: {each}" for server, each in sorted(complaints.items()))
        return errors.UnavailableError(
            f"no server answered in time ({why})" if why else "no server answered in time"
        )


def is_serializable(consistency: str) -> bool:
    """Raises InvalidRequestError for what is no level of consistency."""
    if consistency not in ("linearizable", "serializable"):
        raise errors.InvalidRequestError(
            f"consistency is linearizable or serializable, not {consistency!r:.40}"
        )
    return consistency == "serializable"
