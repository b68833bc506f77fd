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
from raftkv.kvdb.data_limit import DataLimit
from raftkv.kvdb.dumps import Dumps
from raftkv.kvdb.limits import KEY_BYTES
from raftkv.kvdb.members import Members
from raftkv.kvdb.operations import Dump, DumpEnd, DumpPiece, Hello, Member, Operation, Read, Status, Write
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.kvdb.requests import entry_of, of_request
from raftkv.kvdb.snapshot_view import SnapshotView
from raftkv.kvdb.store import Store, encode_record
from raftkv.node.crash_points import reach
from raftkv.node.interfaces import Consensus, RoleChange
from raftkv.raft.types import Entry, Role

log = logging.getLogger("raftkv")

NOSPACE = "NOSPACE"  # the alarm in status, by etcd's name

#: A request: (channel, id, method, args). A reply: (channel, id, ok, result).
Request = tuple[Any, Any, str, tuple[Any, ...]]
Reply = tuple[Any, Any, bool, Any]
#: A read on its way: (channel, id, operation).
PendingRead = tuple[Any, Any, Operation]
#: A write on its way: (channel, id, the entry's data, operation, bytes by which it can make the data grow).
PendingWrite = tuple[Any, Any, list[Any], Write, int]


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
        self._members: Members | None = None

    # -- requests (the rpc server's handler) -----------------------------------------------------------------

    def on_requests(self, batch: Sequence[Request]) -> None:
        writes: list[PendingWrite] = []
        growth = 0
        reads: list[PendingRead] = []
        pieces: list[PendingRead] = []  # of dumps
        replies: list[Reply] = []
        for channel, id, method, args in batch:
            try:
                operation = of_request(method, args)
                size = operation.check()
            except InvalidRequestError as error:
                replies.append((channel, id, *refused(BAD_REQUEST, str(error))))
                continue
            if isinstance(operation, (Read, Dump)):
                reads.append((channel, id, operation))
            elif isinstance(operation, Write):
                most = size + KEY_BYTES * operation.operations if operation.grows else 0
                writes.append((channel, id, entry_of(operation, args), operation, most))
                growth += most
            elif isinstance(operation, Status):
                replies.append((channel, id, *ok(self.status())))
            elif isinstance(operation, (Hello, Member)):
                replies.append((channel, id, *self._of_members(operation, channel)))
            else:
                pieces.append((channel, id, operation))
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

    def _with_room(
        self, writes: list[PendingWrite], growth: int, replies: list[Reply]
    ) -> tuple[list[PendingWrite], int]:
        """Those of `writes` for which there is room, and their growth; the others are refused in `replies`, if
        this server leads."""
        if self._role.role is not Role.LEADER:
            return writes, growth
        no_room, limit, data_bytes = self._consensus.no_room, self._limit, self._store.data_bytes
        taken, growth = [], 0
        for write in writes:
            channel, id, _, _, most = write
            if most and (no_room or not limit.admits(growth + most, data_bytes)):
                if not no_room:
                    limit.alarm()
                refusal = refused(NO_SPACE, no_room or limit.reason, {"proposed": False})
                replies.append((channel, id, *refusal))
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
            refusal = refused(
                NOT_LEADER, str(error), {**self._guide(), "leader": error.leader, "proposed": False}
            )
        except OverloadedError as error:
            refusal = refused(OVERLOADED, str(error), {"proposed": False})
        return [(request[0], request[1], *refusal) for request in requests]

    # -- the members -----------------------------------------------------------------------------------------

    def administered_by(self, members: Members) -> None:
        """From now on `members` answers what is asked of them. Called before the first request."""
        self._members = members

    def _guide(self) -> dict[str, Any]:
        return {} if self._members is None else self._members.guide()

    def _of_members(self, operation: Hello | Member, channel: Any) -> Outcome:
        if self._members is None:
            return refused(BAD_REQUEST, "this server has no members")
        return self._members.answer(operation, channel.peer)

    # -- the state machine (raft.node.StateMachine) ----------------------------------------------------------

    def apply(self, entries: list[Entry], contexts: list[Any]) -> None:
        if self._dumps:
            self._dumps.tidy_up()
        if not contexts:
            self._store.apply_entries(entries)
            return
        apply = self._store.apply
        replies: list[Reply] = []
        growth = 0
        for entry, context in zip(entries, contexts):
            if context is not None:
                # Decoding the entry would bring the same data, and takes longer.
                channel, id, data, operation, most = context
                replies.append((channel, id, *apply(entry.index, data, operation)))
                growth += most
            else:
                self._store.apply_entries([entry])
        self._limit.finished += growth
        if self._limit.is_reached:
            self._limit.look(self._store.data_bytes)
        reach("node:before-reply")
        self._send_replies(replies)

    def read(self, contexts: list[Any]) -> None:
        store = self._store
        self._send_replies(
            [
                (channel, id, *(op.read(store) if isinstance(op, Read) else self._answer_dump(channel, op)))
                for channel, id, op in contexts
            ]
        )

    def refuse(self, proposals: list[Any], reads: list[Any]) -> None:
        leader = self._role.leader
        self._limit.finished += sum([growth for *_, growth in proposals])
        message = "this node lost the leadership before it could answer"
        for requests, proposed in ((proposals, True), (reads, False)):
            refusal = refused(NOT_LEADER, message, {"leader": leader, "proposed": proposed})
            self._send_replies([(request[0], request[1], *refusal) for request in requests])

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

    def _answer_dump(self, channel: Any, operation: Operation) -> Outcome:
        if isinstance(operation, DumpPiece):
            return self._dumps.next_piece(channel, *operation)
        if isinstance(operation, DumpEnd):
            return self._dumps.end(channel, *operation)
        return self._begin_dump(channel)

    def _begin_dump(self, channel: Any) -> Outcome:
        begun, result = outcome = self._dumps.begin(channel, self._store.begin_view)
        if not begun:
            return outcome
        status = self._consensus.status()
        return ok((status["id"], result, len(self._store), status["applied_index"]))
