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
from typing import Any, Callable, Protocol

from raftkv.errors import (
    BAD_REQUEST,
    NOT_LEADER,
    OVERLOADED,
    InvalidRequestError,
    NotLeaderError,
    OverloadedError,
)
from raftkv.kvdb.commands import WRITES, command, validate
from raftkv.kvdb.dumps import Dumps
from raftkv.kvdb.snapshot_view import SnapshotView
from raftkv.kvdb.store import Store, encode_record
from raftkv.node.crash_points import reach
from raftkv.node.interfaces import RoleChange
from raftkv.raft.types import COMMAND, Entry, Role

log = logging.getLogger("raftkv")

MAX_GETS_CHARS = 8 << 20  # of values in the answer to one "gets"

#: A request: (channel, id, method, args). A reply: (channel, id, ok, result).
Request = tuple[Any, Any, str, tuple[Any, ...]]
Reply = tuple[Any, Any, bool, Any]


class Consensus(Protocol):
    """What the service needs of Raft; see raft.node.RaftNode."""

    def propose(self, commands: Sequence[Any], contexts: Sequence[Any]) -> None: ...

    def read_index(self, contexts: Sequence[Any]) -> None: ...

    def read_now(self, contexts: Sequence[Any]) -> None: ...

    def status(self) -> dict[str, Any]: ...


class KVService:
    """The replicated state machine (raft.node.StateMachine), and the handler of the clients' requests.

    `consensus` is set before the first request comes. `send_replies` takes a list of replies.
    `version` is what status() says of the program; `describe()` gives what else it says.
    """

    def __init__(
        self,
        send_replies: Callable[[list[Reply]], None],
        version: str,
        describe: Callable[[], dict[str, Any]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send_replies = send_replies
        self._version = version
        self._describe = describe
        self._store = Store()
        self._dumps = Dumps(clock)
        self._role = RoleChange(Role.FOLLOWER, 0, None, "")
        self.consensus: Consensus

    # -- requests (the rpc server's handler) -----------------------------------------------------------------

    def on_requests(self, batch: Sequence[Request]) -> None:
        commands: list[Any] = []
        writes: list[tuple[Any, Any, Any]] = []  # (channel, id, command)
        reads: list[Request] = []
        pieces: list[Request] = []  # of dumps
        replies: list[Reply] = []
        for request in batch:
            channel, id, method, args = request
            try:
                validate(method, args)
            except InvalidRequestError as error:
                replies.append((channel, id, False, (BAD_REQUEST, str(error), None)))
                continue
            if method in WRITES:
                data = command(method, args)
                commands.append(data)
                writes.append((channel, id, data))
            elif method == "status":
                replies.append((channel, id, True, self.status()))
            elif method == "dump_piece":
                pieces.append(request)
            else:
                reads.append(request)
        if reads:
            replies += self._try(reads, lambda: self.consensus.read_index(reads))
        if pieces:
            replies += self._try(pieces, lambda: self.consensus.read_now(pieces))
        if replies:
            self._send_replies(replies)
        if writes:  # last: this thread may write them itself, and the disk may take its time
            refusals = self._try(writes, lambda: self.consensus.propose(commands, writes))
            if refusals:
                self._send_replies(refusals)

    def on_close(self, channel: Any) -> None:
        """Replies to a closed channel are dropped by the channel; of what is kept here, only dumps are its."""
        self._dumps.closed(channel)

    def status(self) -> dict[str, Any]:
        """What this server knows of itself, as plain data (DESIGN: `status --json`)."""
        own = {"pid": os.getpid(), "version": self._version}
        return {**self.consensus.status(), **own, **self._describe()}

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
        for entry, context in zip(entries, contexts):
            if context is not None:
                channel, id, data = context  # decoding the entry would bring the same data, and takes longer
                ok, result = apply(entry.index, data)
                replies.append((channel, id, ok, result))
            elif entry.kind == COMMAND:
                apply(entry.index, entry.data)
        reach("node:before-reply")
        self._send_replies(replies)

    def read(self, contexts: list[Any]) -> None:
        self._send_replies(
            [(channel, id, *self._answer(channel, method, args)) for channel, id, method, args in contexts]
        )

    def refuse(self, proposals: list[Any], reads: list[Any]) -> None:
        leader = self._role.leader
        message = "this node lost the leadership before it could answer"
        for requests, proposed in ((proposals, True), (reads, False)):
            refusal = (NOT_LEADER, message, {"leader": leader, "proposed": proposed})
            self._send_replies([(request[0], request[1], False, refusal) for request in requests])

    def role_changed(self, change: RoleChange) -> None:
        """One log line a change."""
        before, self._role = self._role, change
        if change.role is not before.role:
            log.info("%s in term %d: %s", change.role.value, change.term, change.reason)
        if change.leader is not None and change.role is Role.FOLLOWER:
            log.info("follows node %d in term %d", change.leader, change.term)

    def begin_snapshot(self) -> SnapshotView:
        return self._store.begin_snapshot()

    def restore(self, records: Iterable[Any]) -> None:
        self._dumps.drop_all()
        self._store = Store.restore(records)

    def encode_record(self, record: Any) -> bytes:
        return encode_record(record)

    def _answer(self, channel: Any, method: str, args: tuple[Any, ...]) -> tuple[bool, Any]:
        store = self._store
        if method == "dump_piece":
            return self._dumps.next_piece(channel, *args)
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
        status = self.consensus.status()
        return True, (status["id"], result, len(self._store), status["applied_index"])
