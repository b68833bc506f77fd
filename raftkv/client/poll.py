"""Poll: every server is asked what it says of itself, also those that only the others know."""

from __future__ import annotations

import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Callable

from raftkv import errors
from raftkv.client.directory import members_of
from raftkv.ini import Address
from raftkv.kvdb.maintenance import Status
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.future import CallFuture

#: What is said of each server, besides "error". None stands for what a dead server cannot say.
STATUS_FIELDS = (
    "id", "address", "alive", "role", "term", "leader", "quorum_silent_ms", "commit_index", "applied_index",
    "log_first_index", "log_last_index", "log_bytes", "snapshot_index", "data_bytes", "members", "recovered", "alarms",
    "pid", "version",
)  # fmt: skip

_GRACE_S = 0.1  # in which an end says why there was no answer in time

Row = dict[str, Any]


class Poll:
    """One round of questions. For one thread. `end_of(address, label)` gives the way to a server: one on which it need
    not be a member of our cluster. `timeout_s`: for all of it."""

    def __init__(self, end_of: Callable[[Address, str], ClientEnd], timeout_s: float) -> None:
        self._end_of, self._timeout_s = end_of, timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._asked: list[tuple[Address, str, Future[Any]]] = []
        self._strangers: list[errors.AuthenticationError] = []

    def ask(self, address: Address, label: str) -> None:
        """Ask the server at `address`, which people know as `label`."""
        left_s = max(0.001, self._deadline - time.monotonic())
        self._asked.append((address, label, _ask(self._end_of(address, label), left_s)))

    def rows(self) -> list[Row]:
        """A dict of STATUS_FIELDS for each, sorted by id. Raises AuthenticationError if all that answer hold another
        key."""
        rows = [self._row(*asked) for asked in self._asked]
        members = _members_in(rows)
        known = {address.plain() for address, _, _ in self._asked}
        self._asked.clear()
        for id, address in members.items():
            if address.plain() not in known and id not in [row["id"] for row in rows if row["alive"]]:
                self.ask(address, str(id))
        rows += [self._row(*asked) for asked in self._asked]
        if self._strangers and not any(row["alive"] for row in rows):
            raise self._strangers[0]
        return sorted(_distinct(rows, members), key=lambda row: (type(row["id"]) is str, row["id"]))

    def _row(self, address: Address, label: str, answer: Future[Any]) -> Row:
        row: Row = dict.fromkeys(STATUS_FIELDS)
        row.update(id=int(label) if label.isdecimal() else label)
        try:
            row.update(answer.result(max(0.0, self._deadline - time.monotonic()) + _GRACE_S), alive=True)
        except (errors.RpcError, errors.ClosedError, FutureTimeoutError) as error:
            late = isinstance(error, FutureTimeoutError)
            why = f"no answer within {self._timeout_s:g} s" if late else str(error)
            row.update(alive=False, error=why)
            if isinstance(error, errors.AuthenticationError):
                self._strangers.append(error)
        row.update(address=str(address))
        return row


def _ask(end: ClientEnd, timeout_s: float) -> Future[Any]:
    try:
        return end.submit(Status.name, (), timeout_s)
    except errors.RpcError as error:  # no thread can be started
        failed = CallFuture()
        failed.settle(None, error)
        return failed


def _members_in(rows: list[Row]) -> dict[int, Address]:
    """The members, as the server knows them that leads in the highest term, or else that has applied most."""
    told = [row for row in rows if row["alive"] and row["members"]]
    if not told:
        return {}
    newest = max(told, key=lambda row: (row["term"], row["role"] == "leader", row["applied_index"]))
    members = newest["members"]
    return members_of({row["id"]: row["client_address"] for row in members if row["role"] != "waiting"})


def _distinct(rows: list[Row], members: dict[int, Address]) -> list[Row]:
    """One row for each server: an address that leads to one that has answered already tells nothing more, nor does a
    dead one of a server that left."""
    alive = {row["id"]: row for row in reversed(rows) if row["alive"]}
    where = {str(address.plain()): id for id, address in members.items()}
    found = list(alive.values())
    for row in rows:
        if row["alive"]:
            continue
        row["id"] = where.get(row["address"], row["id"])
        if row["id"] not in alive and (not members or row["id"] in members):
            found.append(row)
    return found
