"""KVService: what one server does with its clients' requests, and with the entries that the log hands back.

It has no thread, socket or file of its own. Requests come in as one batch a turn; writes of a turn become one
batch of proposals and reads share one ReadIndex round. Entries come back committed, are applied to the Store,
and their clients are answered from the thread that saw the commit, with one write a connection.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Callable

from raftkv.errors import (
    BAD_REQUEST,
    NO_SPACE,
    NOT_LEADER,
    OVERLOADED,
    InvalidRequestError,
    NotLeaderError,
    OverloadedError,
)
from raftkv.kvdb.commands import WRITES, command, validate
from raftkv.kvdb.data_limit import DataLimit
from raftkv.kvdb.dumps import Dumps
from raftkv.kvdb.snapshot_view import SnapshotView
from raftkv.kvdb.store import Store, encode_record
from raftkv.node.crash_points import reach
from raftkv.node.interfaces import Consensus, RoleChange
from raftkv.raft.types import COMMAND, Entry, Role

log = logging.getLogger("raftkv")

NOSPACE = "NOSPACE"  # the alarm in status, by etcd's name
MAX_GETS_CHARS = 8 << 20  # of values in the answer to one "gets"

#: A request: (channel, id, method, args). A reply: (channel, id, ok, result).
Request = tuple[Any, Any, str, tuple[Any, ...]]
Reply = tuple[Any, Any, bool, Any]
#: A write on its way: (channel, id, command, bytes by which it can make the data grow).
Write = tuple[Any, Any, list[Any], int]


class KVService:
    """The replicated state machine (raft.node.StateMachine), and the handler of the clients' requests.

    `send_replies` takes a list of replies.
    `version` is what status() says of the program; `describe()` gives what else it says. `max_data_bytes`: see
    DataLimit.
    """

    def __init__(
        self,
        send_replies: Callable[[list[Reply]], None],
        version: str,
        describe: Callable[[], dict[str, Any]] = dict,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_data_bytes: int = 0,
    ) -> None:
        self._send_replies = send_replies
        self._version = version
        self._describe = describe
        self._store = Store()
        self._dumps = Dumps(clock)
        self._limit = DataLimit(max_data_bytes)
        self._role = RoleChange(Role.FOLLOWER, 0, None, "")
        self._consensus: Consensus  # from replicated_by() on

    # -- requests (the rpc server's handler) -----------------------------------------------------------------

    def on_requests(self, batch: Sequence[Request]) -> None:
        writes: list[Write] = []
        growth = 0
        reads: list[Request] = []
        pieces: list[Request] = []  # of dumps
        replies: list[Reply] = []
        for request in batch:
            channel, id, method, args = request
            try:
                most = validate(method, args)
            except InvalidRequestError as error:
                replies.append((channel, id, False, (BAD_REQUEST, str(error), None)))
                continue
            if method in WRITES:
                writes.append((channel, id, command(method, args), most))
                growth += most
            elif method == "status":
                replies.append((channel, id, True, self.status()))
            elif method == "dump_piece" or method == "dump_end":
                pieces.append(request)
            else:
                reads.append(request)
        if growth and (self._consensus.no_room or not self._limit.admits(growth, self._store.data_bytes)):
            writes, growth = self._with_room(writes, growth, replies)
        if reads:
            replies += self._try(reads, lambda: self._consensus.read_index(reads))
        if pieces:
            replies += self._try(pieces, lambda: self._consensus.read_now(pieces))
        if replies:
            self._send_replies(replies)
        if writes:  # last: this thread may write them itself, and the disk may take its time
            self._limit.proposed += growth
            commands = [write[2] for write in writes]
            refusals = self._try(writes, lambda: self._consensus.propose(commands, writes))
            if refusals:
                self._limit.proposed -= growth
                self._send_replies(refusals)

    def _with_room(self, writes: list[Write], growth: int, replies: list[Reply]) -> tuple[list[Write], int]:
        """Those of `writes` for which there is room, and their growth; the others are refused in `replies`, if
        this server leads."""
        if self._role.role is not Role.LEADER:
            return writes, growth
        no_room, limit, data_bytes = self._consensus.no_room, self._limit, self._store.data_bytes
        taken, growth = [], 0
        for write in writes:
            channel, id, _, most = write
            if most and (no_room or not limit.admits(growth + most, data_bytes)):
                if not no_room:
                    limit.alarm()
                replies.append((channel, id, False, (NO_SPACE, no_room or limit.reason, {"proposed": False})))
            else:
                taken.append(write)
                growth += most
        return taken, growth

    def on_close(self, channel: Any) -> None:
        """Replies to a closed channel are dropped by the channel; of what is kept here, only dumps are its."""
        self._dumps.closed(channel)

    def status(self) -> dict[str, Any]:
        """What this server knows of itself, as plain data (DESIGN: `status --json`)."""
        node, server = self._consensus.status(), self._describe()
        alarms, problems = node.get("alarms", []), server.get("problems", [])
        if self._limit.is_reached:
            alarms, problems = [NOSPACE], [*problems, self._limit.reason]
        own = {"pid": os.getpid(), "version": self._version, "data_bytes": self._store.data_bytes}
        return {**node, **own, **server, "alarms": alarms, "problems": problems}

    def _try(self, requests: Sequence[tuple[Any, ...]], action: Callable[[], None]) -> list[Reply]:
        """Do it, or return the refusals."""
        try:
            action()
            return []
        except NotLeaderError as error:
            refusal = (NOT_LEADER, str(error), {"leader": error.leader, "proposed": False})
        except OverloadedError as error:
            refusal = (OVERLOADED, str(error), {"proposed": False})
        return [(request[0], request[1], False, refusal) for request in requests]

    # -- the state machine (raft.node.StateMachine) ----------------------------------------------------------

    def apply(self, entries: list[Entry], contexts: list[Any]) -> None:
        if self._dumps:
            self._dumps.tidy_up()
        apply = self._store.apply
        if not contexts:
            for entry in entries:
                if entry.kind == COMMAND:
                    apply(entry.index, entry.data)
            return
        replies: list[Reply] = []
        growth = 0
        for entry, context in zip(entries, contexts):
            if context is not None:
                channel, id, data, most = (
                    context  # decoding the entry would bring the same data, and takes longer
                )
                ok, result = apply(entry.index, data)
                replies.append((channel, id, ok, result))
                growth += most
            elif entry.kind == COMMAND:
                apply(entry.index, entry.data)
        self._limit.finished += growth
        if self._limit.is_reached:
            self._limit.look(self._store.data_bytes)
        reach("node:before-reply")
        self._send_replies(replies)

    def read(self, contexts: list[Any]) -> None:
        self._send_replies(
            [(channel, id, *self._answer(channel, method, args)) for channel, id, method, args in contexts]
        )

    def refuse(self, proposals: list[Any], reads: list[Any]) -> None:
        leader = self._role.leader
        self._limit.finished += sum([growth for _, _, _, growth in proposals])
        message = "this node lost the leadership before it could answer"
        for requests, proposed in ((proposals, True), (reads, False)):
            refusal = (NOT_LEADER, message, {"leader": leader, "proposed": proposed})
            self._send_replies([(request[0], request[1], False, refusal) for request in requests])

    def role_changed(self, change: RoleChange) -> None:
        """One log line a change."""
        before, self._role = self._role, change
        if change.role is not Role.LEADER:
            self._limit.is_reached = False  # the next leader looks for itself
        if change.role is not before.role:
            log.info("%s in term %d: %s", change.role.value, change.term, change.reason)
        if change.leader is not None and change.role is Role.FOLLOWER:
            log.info("follows node %d in term %d", change.leader, change.term)

    def snapshot_bytes(self) -> int:
        return self._store.snapshot_bytes

    def replicated_by(self, consensus: Consensus) -> None:
        self._consensus = consensus

    def begin_snapshot(self) -> SnapshotView:
        return self._store.begin_snapshot()

    def restore(self, records: Iterable[Any]) -> None:
        self._dumps.drop_all()
        old, self._store = self._store, Store.restore(records)
        old.clear()

    def encode_record(self, record: Any) -> bytes:
        return encode_record(record)

    def _answer(self, channel: Any, method: str, args: tuple[Any, ...]) -> tuple[bool, Any]:
        store = self._store
        if method == "dump_piece":
            return self._dumps.next_piece(channel, *args)
        if method == "dump_end":
            return self._dumps.end(channel, *args)
        if method == "dump":
            return self._begin_dump(channel)
        if method == "get":
            return True, store.get(args[0])
        if method == "scan":
            return True, store.scan(*args)
        items, size = [], 0
        for key in args[0]:
            item = store.get(key)
            items.append(item)
            size += len(item[0]) if item is not None else 0
            if size > MAX_GETS_CHARS:
                message = (
                    f"the values of {len(args[0])} keys together are too large for one answer: ask for fewer"
                )
                return False, (BAD_REQUEST, message, None)
        return True, items

    def _begin_dump(self, channel: Any) -> tuple[bool, Any]:
        ok, result = self._dumps.begin(channel, self._store.begin_view)
        if not ok:
            return ok, result
        status = self._consensus.status()
        return True, (status["id"], result, len(self._store), status["applied_index"])
