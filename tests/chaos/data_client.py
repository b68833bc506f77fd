"""DataClient: a client that uses all of the database, and the record of what it was told with revisions.

The record is a file of JSON lines, as history.py's, with the operation as it is asked of a server; bytes are objects,
{"b": "text"}.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, TextIO

from raftkv import Clerk
from raftkv.errors import NotApplied, OutcomeUnknown, RefusedError, UnavailableError
from raftkv.kvdb.operations import OPERATIONS
from raftkv.kvdb.store import Store
from raftkv.raft.types import COMMAND
from raftkv.storage.reading import FolderReader

from tests.linearizability.history import NEVER
from tests.linearizability.revisions import READS, Asked, Result, check
from tests.linearizability.store_model import Changes
from tests.linearizability.work import PREFIX, DataWork

PAUSE_S = 0.02
TIMEOUTS_S = (0.5, 3.0)


class DataClient:
    """One thread's part. `file` is its own."""

    def __init__(self, name: str, ini: str, file: TextIO, seed: str) -> None:
        self._name, self._file, self._rng = name, file, random.Random(seed)
        self._work = DataWork(name, random.Random(f"{seed} work"))
        self._clerk = Clerk.from_config(ini, timeout=self._rng.choice(TIMEOUTS_S), encoding=None)

    def run(self, stopping: threading.Event) -> None:
        with self._clerk:
            while not stopping.wait(self._rng.random() * PAUSE_S):
                self._step()

    def _step(self) -> None:
        # Watchers must not miss anything: a run is judged by what they were told.
        method, args = self._work.next(compacts=False)
        self._write(type="invoke", method=method, args=args)
        outcome, result = "ok", None
        try:
            result = self._clerk.submit_operation(OPERATIONS[method].of(args)).result()
            self._work.told(result)
        except (RefusedError, NotApplied):
            outcome = "fail"
        except OutcomeUnknown:
            outcome = "info"
        except (UnavailableError, FutureTimeoutError):
            outcome = "fail" if method in READS else "info"
        self._write(type=outcome, result=result)

    def _write(self, **event: Any) -> None:
        line = {"process": self._name, "time": time.monotonic(), **event}
        self._file.write(json.dumps(_tagged(line)) + "\n")


def _tagged(part: Any) -> Any:
    if isinstance(part, bytes):
        return {"b": part.decode()}
    if isinstance(part, (list, tuple)):
        return [_tagged(each) for each in part]
    return {key: _tagged(value) for key, value in part.items()} if isinstance(part, dict) else part


def _plain(part: Any) -> Any:
    if isinstance(part, list):
        return tuple(map(_plain, part))
    if isinstance(part, dict):
        return part["b"].encode() if set(part) == {"b"} else {key: _plain(each) for key, each in part.items()}
    return part


# -- afterwards ----------------------------------------------------------------------------------------------


def read_asked(files: Iterable[Path]) -> list[Asked]:
    """All that was asked, from the records of all clients."""
    events = [_plain(json.loads(line)) for file in files for line in file.read_text("ascii").splitlines()]
    events.sort(key=lambda event: (event["time"], event["type"] != "invoke"))
    asked: list[Asked] = []
    under_way: dict[str, int] = {}
    for at, event in enumerate(events):
        process = event["process"]
        if event["type"] == "invoke":
            under_way[process] = len(asked)
            asked.append(Asked(process, event["method"], event["args"], "info", None, at, NEVER))
        elif event["type"] != "info":
            place = under_way.pop(process)
            ended = {"outcome": event["type"], "result": event["result"], "returned": at}
            asked[place] = asked[place]._replace(**ended)
    return asked


def events_of(folder: Path) -> dict[int, Changes]:
    """What each revision changed, as a server that was stopped remembers it."""
    with FolderReader(str(folder)) as reader:
        store = Store.restore(reader.records()) if reader.snapshot else Store()
        store.apply_entries([entry for entry in reader.entries if entry.kind == COMMAND])
    history = store.data.history
    return {
        revision: {key: item for _, key, item, _ in history.at(revision)}
        for revision in range(history.floor, store.data.revision + 1)
    }


def judge(asked: list[Asked], events: Mapping[int, Changes]) -> Result:
    return check(asked, events, lambda key: key.startswith(PREFIX))
