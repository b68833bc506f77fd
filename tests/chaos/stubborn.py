"""A client that asks whom it wants, and not whom the others say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from raftkv import Clerk
from raftkv.config import load_client_config
from raftkv.keys import load_key

from tests.chaos.client import KEYS, PERIOD_S, Client
from tests.chaos.recorder import Recorder

READS = ("get",)
WRITES = ("put", "append", "cas")
HASTY_S = (0.08,)  # timeouts: to try one server after the other, before an old leader steps down
PATIENT_S = (0.1, 0.1, 0.1, 2.5)  # the last: to ask a paused leader that leads no more as it wakes


def _learn_nothing(server: int, guide: Any, keep: Any = ()) -> None:
    """So it goes to no other server; a Clerk that learns does after the first refusal."""


class Stubborn(Client):
    """Stays with one server as long as that answers; then it goes to a random other one, whoever leads.

    So while an old leader has not noticed that there is a new one, some of these read from the old one, and
    some write to the new one. A Clerk asks the old one until that steps down: no stale read would be seen.
    """

    def __init__(self, name: str, ini: str, recorder: Recorder, began: float, seed: str, reads: bool) -> None:
        config = load_client_config(ini)
        self._servers = config.servers
        self._operations: Sequence[str] = READS if reads else WRITES
        self._timeouts_s: Sequence[float] = PATIENT_S if reads else HASTY_S
        self._server = 0  # the one that it stays with
        self._key = load_key(config.client_key_file, create=False)
        self._clerks: dict[tuple[int, float], Clerk] = {}
        super().__init__(name, ini, None, recorder, began, seed)

    def _new_clerk(self) -> Clerk:
        self._server = self._rng.choice([server for server in self._servers if server != self._server])
        server, timeout_s = self._server, self._rng.choice(self._timeouts_s)
        if (server, timeout_s) not in self._clerks:
            clerk = Clerk({server: self._servers[server]}, authkey=self._key, timeout=timeout_s)
            clerk._driver.directory.learn = _learn_nothing  # type: ignore[method-assign]
            self._clerks[server, timeout_s] = clerk
        return self._clerks[server, timeout_s]

    def _failed(self) -> None:
        self._clerk = self._new_clerk()

    def _close(self) -> None:
        for clerk in self._clerks.values():
            clerk.close()

    def _step(self) -> None:
        self._number += 1
        f = self._rng.choice(self._operations)
        key = f"k{self._rng.randrange(KEYS)}-{int((time.monotonic() - self._began) / PERIOD_S)}"
        self._do(f, key, self._value(f, key))
