"""A client: one operation after the other, each on a random one of a few keys that all clients share.

Now and then it appends to a counter instead (see verdict.py).

Keys are rotated: a key's name holds the number of its period since `began` (of time.monotonic()), so that
every key's history stays short enough to be checked. Data keys of an older period are deleted, so that the
data does not grow.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from raftkv import Clerk
from raftkv.errors import NotApplied, OutcomeUnknown, UnavailableError

from tests.chaos.recorder import Recorder

KEYS = 4
PERIOD_S = 8.0  # of a data key
# Of a counter. Each append leaves all that was there in the history, which must reach back far enough: see bound_history().
COUNTER_PERIOD_S = 10.0
TIMEOUTS_S = (0.3, 1.0, 3.0)  # of a Clerk, one at random: some give up before an election can end, some after
PAUSE_S = 0.012  # at most, between two operations of a client: the nodes need the processors, too

#: How often which operation comes.
OPERATIONS = ("get",) * 4 + ("put",) * 3 + ("append",) * 3 + ("cas",) * 3 + ("delete",) + ("count",) * 3
SHARED_SESSION = "shared"  # instead of the number of its Clerk, in the words of a client that shares one
NEW_CLERK = 0.002  # the probability that a client leaves, and comes back as another one


class Client:
    """One thread's part. `clerk` None: it makes its own, and a new one now and then."""

    def __init__(
        self, name: str, ini: str, clerk: Clerk | None, recorder: Recorder, began: float, seed: str
    ) -> None:
        self._name, self._ini, self._recorder, self._began = name, ini, recorder, began
        self._rng = random.Random(seed)
        self._shared = clerk is not None
        self._clerk = clerk or self._new_clerk()
        self._life = 0  # how many Clerks there were before this one
        self._number = 0  # of operations
        self._seen: dict[str, str | None] = {}  # what this client believes that a key holds, for cas

    def run(self, stopping: threading.Event) -> None:
        while not stopping.wait(self._rng.random() * PAUSE_S):
            self._step()
        self._close()

    def _close(self) -> None:
        if not self._shared:
            self._clerk.close()

    def _new_clerk(self) -> Clerk:
        return Clerk.from_config(self._ini, timeout=self._rng.choice(TIMEOUTS_S))

    def _step(self) -> None:
        rng, now = self._rng, time.monotonic() - self._began
        self._number += 1
        if rng.random() < NEW_CLERK and not self._shared:
            self._clerk.close()
            self._clerk = self._new_clerk()
            self._life += 1
        period, number = int(now / PERIOD_S), rng.randrange(KEYS)
        f, key = rng.choice(OPERATIONS), f"k{number}-{period}"
        if f == "count":
            session = SHARED_SESSION if self._shared else self._life
            word = f"{self._name}.{session}.{self._number};"
            self._do("append", f"count-{int(now / COUNTER_PERIOD_S)}", word)
        elif f == "delete" and period >= 2 and rng.random() < 0.7:
            self._do("delete", f"k{number}-{period - 2}", None)
        else:
            self._do(f, key, self._value(f, key))

    def _value(self, f: str, key: str) -> Any:
        new = f"{self._name}.{self._number};"  # never twice
        if f == "cas":
            return [self._seen.get(key), new]
        return new if f in ("put", "append") else None

    def _do(self, f: str, key: str, value: Any) -> None:
        record = self._recorder
        record.invoke(self._name, f, key, value)
        try:
            result = self._ask(f, key, value)
        except NotApplied as error:
            record.end(self._name, "fail", f, key, error=str(error))
        except OutcomeUnknown as error:
            record.end(self._name, "info", f, key, error=str(error))
        except UnavailableError as error:  # of a read
            record.end(self._name, "fail", f, key, error=str(error))
        else:
            record.end(self._name, "ok", f, key, result)
            return
        self._failed()

    def _failed(self) -> None:
        """An operation had no answer."""

    def _ask(self, f: str, key: str, value: Any) -> Any:
        """The value of the operation's ok event."""
        clerk = self._clerk
        if f == "get":
            self._seen[key] = clerk.get(key)
            return self._seen[key]
        if f == "delete":
            existed = clerk.delete(key)
            self._seen.pop(key, None)
            return existed
        if f == "cas":
            swapped = clerk.cas(key, value[0], value[1])
            if swapped:
                self._seen[key] = value[1]
            return swapped
        (clerk.put if f == "put" else clerk.append)(key, value)
        if f == "put":
            self._seen[key] = value
        return value
