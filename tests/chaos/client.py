"""A process of clients. Ends when its standard input does, so that it outlives nobody.

    python -m tests.chaos.client CLIENT.ini --name A --history FILE --began SECONDS --seed S

Each of its threads is one client: one operation after the other, each on a random one of a few keys that
all clients of all processes share, and now and then an append to a counter (see verdict.py). Two of the
threads share a Clerk, so that a session has several commands under way.

Keys are rotated: a key's name holds the number of its period since `began` (of time.monotonic()), so that
every key's history stays short enough to be checked. Data keys of an older period are deleted, so that the
data does not grow.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from raftkv import Clerk
from raftkv.errors import NotApplied, OutcomeUnknown, UnavailableError
from tests.chaos.recorder import Recorder

KEYS = 4
PERIOD_S = 8.0  # of a data key
COUNTER_PERIOD_S = 60.0
TIMEOUTS_S = (0.3, 1.0, 3.0)  # of a Clerk, one at random: some give up before an election can end, some after
PAUSE_S = 0.012  # at most, between two operations of a client: the nodes need the processors, too
THREADS = 4
SHARED = 2  # of them use one Clerk together

#: How often which operation comes.
OPERATIONS = ("get",) * 4 + ("put",) * 3 + ("append",) * 3 + ("cas",) * 3 + ("delete",) + ("count",) * 3
SHARED_SESSION = "shared"  # instead of the number of its Clerk, in the words of a client that shares one
NEW_CLERK = 0.002  # the probability that a client leaves, and comes back as another one


class Client:
    """One thread's part. `clerk` None: it makes its own, and a new one now and then."""

    def __init__(
        self, name: str, ini: str, clerk: Optional[Clerk], recorder: Recorder, began: float, seed: str
    ) -> None:
        self._name, self._ini, self._recorder, self._began = name, ini, recorder, began
        self._rng = random.Random(seed)
        self._shared = clerk is not None
        self._clerk = clerk or self._new_clerk()
        self._life = 0  # how many Clerks there were before this one
        self._number = 0  # of operations
        self._seen: Dict[str, Optional[str]] = {}  # what this client believes that a key holds, for cas

    def run(self, stopping: threading.Event) -> None:
        while not stopping.wait(self._rng.random() * PAUSE_S):
            self._step()
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


def _watch_parent(stopping: threading.Event) -> None:
    while os.read(0, 4096):
        continue
    stopping.set()


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser("client", description="Clients for tests.chaos.")
    parser.add_argument("ini")
    parser.add_argument("--name", required=True)
    parser.add_argument("--history", required=True, type=Path)
    parser.add_argument("--began", required=True, type=float)
    parser.add_argument("--seed", required=True)
    args = parser.parse_args(argv)
    stopping, errors = threading.Event(), []  # type: ignore[var-annotated]

    def run(client: Client) -> None:
        try:
            client.run(stopping)
        except BaseException as error:
            errors.append(error)
            stopping.set()

    # Line by line: an operation must be on record before it can have an effect.
    with (
        open(args.history, "w", buffering=1, encoding="ascii") as file,
        Clerk.from_config(args.ini, timeout=TIMEOUTS_S[-1]) as shared,
    ):
        recorder = Recorder(file)
        threads = []
        for index in range(THREADS):
            name, clerk = f"{args.name}{index}", shared if index < SHARED else None
            client = Client(name, args.ini, clerk, recorder, args.began, f"{args.seed} {name}")
            threads.append(threading.Thread(target=run, args=(client,), name=name))
        for thread in threads:
            thread.start()
        threading.Thread(target=_watch_parent, args=(stopping,), daemon=True).start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
