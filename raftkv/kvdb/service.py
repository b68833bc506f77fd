"""KVService: what one server does with its clients' requests, and with the entries that the log hands back.

It has no thread, socket or file of its own. Requests come in as one batch a turn; writes of a turn become one
batch of proposals and reads share one ReadIndex round. Entries come back committed, are applied to the Store,
and their clients are answered from the thread that saw the commit, with one write a connection.
"""

from __future__ import annotations

import contextlib
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
from raftkv.kvdb.history_yield import HistoryYield
from raftkv.kvdb.lease_keeper import LeaseKeeper
from raftkv.kvdb.limits import KEY_BYTES
from raftkv.kvdb.local_reads import Serializable
from raftkv.kvdb.maintenance import (
    DropHistory,
    Dump,
    DumpEnd,
    DumpPiece,
    LeaseKeepAlive,
    LeaseTimeToLive,
    Status,
)
from raftkv.kvdb.member_requests import Hello, Member
from raftkv.kvdb.members import Members
from raftkv.kvdb.operation import Operation, Read, Write
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.kvdb.requests import entry_of, of_request
from raftkv.kvdb.session_table import expired
from raftkv.kvdb.snapshot_view import SnapshotView, encode_record
from raftkv.kvdb.store import Store
from raftkv.kvdb.watch_requests import Watch, WatchCancel, WatchTaken
from raftkv.kvdb.watches import Watches
from raftkv.node.crash_points import reach
from raftkv.node.interfaces import Consensus, RoleChange
from raftkv.raft.types import Entry, Role

log = logging.getLogger("raftkv")

NOSPACE = "NOSPACE"  # the alarm in status, by etcd's name
_AFTER_READ_INDEX = (Read, LeaseKeepAlive, LeaseTimeToLive, Dump)
_TICK = (None, None, None)  # among reads: leases and watches look at the clock
PAUSE_S = 0.001
_SOON_S = 0.002

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
    DataLimit; `election_timeout_s`: see LeaseClock. tick() is to be called on a thread of its own.
    """

    def __init__(
        self,
        send_replies: Callable[[list[Reply]], None],
        version: str,
        describe: Callable[[], dict[str, Any]] = dict,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_data_bytes: int = 0,
        election_timeout_s: float = 1.0,
    ) -> None:
        self._send_replies = send_replies
        self._version = version
        self._describe = describe
        self._store = Store()
        self._dumps = Dumps(clock)
        self._clock, self._started_at = clock, clock()
        self._limit = DataLimit(max_data_bytes)
        self._keeper = LeaseKeeper(clock, election_timeout_s)
        self._yield = HistoryYield(clock)
        self._watches = Watches(send_replies, clock, election_timeout_s)
        self._begin_with(self._store)
        self._role = RoleChange(Role.FOLLOWER, 0, None, "")
        # Since the start: leaders seen, proposals without an outcome, leases that this server has ended as their leader.
        self._counts = {"leader_changes": 0, "failed_proposals": 0, "expired_leases": 0}
        self._is_behind = False  # watches are, that could be served at once
        self._consensus: Consensus  # from replicated_by() on
        self._members: Members | None = None

    # -- requests (the rpc server's handler) -----------------------------------------------------------------

    def on_requests(self, batch: Sequence[Request]) -> None:
        writes: list[PendingWrite] = []
        growth = 0
        reads: list[PendingRead] = []
        pieces: list[PendingRead] = []  # what is answered from the state as it is: of dumps, and watches
        replies: list[Reply] = []
        horizon = self._store.sessions.horizon
        for channel, id, method, args in batch:
            try:
                operation = of_request(method, args)
                size = operation.check()
            except InvalidRequestError as error:
                replies.append((channel, id, *refused(error.code, str(error))))
                continue
            if isinstance(operation, _AFTER_READ_INDEX):
                reads.append((channel, id, operation))
            elif isinstance(operation, Write):
                if operation.numbered and args[1] <= horizon and not self._store.sessions.admits(args[0]):
                    # Without an entry of the log: whoever leads refuses it, now or later.
                    replies.append((channel, id, *expired(self._birth)))
                    continue
                most = size + KEY_BYTES * operation.operations if operation.grows else 0
                writes.append((channel, id, entry_of(operation, args), operation, most))
                growth += most
            elif isinstance(operation, Hello):
                replies.append((channel, id, *ok({**self._guide(), "applied": self._birth})))
            elif isinstance(operation, Status):
                replies.append((channel, id, *ok(self.status())))
            elif isinstance(operation, Member):
                replies.append((channel, id, *self._of_members(operation, channel)))
            elif isinstance(operation, Serializable):
                pieces.append((channel, id, operation.read()))
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

    @property
    def _birth(self) -> int:
        """An applied index for a client that begins."""
        return max(1, self._store.applied)

    def on_close(self, channel: Any) -> None:
        """Replies to a closed channel are dropped by the channel; of what is kept here, dumps and watches are its."""
        self._dumps.closed(channel)
        self._watches.closed(channel)

    @property
    def revision(self) -> int:
        """The one that it has applied."""
        return self._store.data.revision

    def status(self) -> dict[str, Any]:
        """What this server knows of itself, as plain data (DESIGN: `status --json`)."""
        node, server = self._consensus.status(), self._describe()
        alarms, problems = node.get("alarms", []), server.get("problems", [])
        if self._limit.is_reached:
            alarms, problems = [NOSPACE], [*problems, self._limit.reason]
        own = {
            "pid": os.getpid(),
            "version": self._version,
            "data_bytes": self._store.data_bytes,
            "max_data_bytes": self._limit.limit,
            "revision": self._store.data.revision,
            "keys": len(self._store),
            "leases": len(self._store.data.leases),
            "sessions": len(self._store.sessions),
            "watches": len(self._watches),
            "uptime_s": round(self._clock() - self._started_at, 1),
            **self._counts,
        }
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
        return {"leader": self._role.leader} if self._members is None else self._members.guide()

    def _of_members(self, operation: Member, channel: Any) -> Outcome:
        if self._members is None:
            return refused(BAD_REQUEST, "this server has no members")
        return self._members.answer(operation, channel.peer)

    # -- the state machine (raft.node.StateMachine) ----------------------------------------------------------

    def apply(self, entries: list[Entry], contexts: list[Any]) -> None:
        if self._dumps:
            self._dumps.tidy_up()
        if not contexts:
            self._store.apply_entries(entries)
            self._watches.changed()
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
        self._watches.changed()

    def takes_long(self, entries: list[Entry]) -> bool:
        return self._store.takes_long(entries)

    def read(self, contexts: list[Any]) -> None:
        data = self._store.data
        replies: list[Reply] = []
        for channel, id, op in contexts:
            if isinstance(op, Read):
                replies.append((channel, id, *op.read(data)))
            elif op is None:
                replies += self._keeper.tick(data)
                self._is_behind = self._watches.tick()
            else:
                outcome = self._answer(channel, id, op)
                if outcome is not None:
                    replies.append((channel, id, *outcome))
        if replies:
            self._send_replies(replies)

    def _answer(self, channel: Any, id: Any, operation: Operation) -> Outcome | None:
        """That of what is no plain read; None: later."""
        if isinstance(operation, LeaseKeepAlive):
            return self._keeper.keepalive(channel, id, operation, self._store.data)
        if isinstance(operation, LeaseTimeToLive):
            return self._keeper.time_to_live(operation, self._store.data)
        if isinstance(operation, Watch):
            return self._watches.begin(channel, id, operation)
        if isinstance(operation, WatchTaken):
            self._watches.taken(channel, operation)
            return None
        if isinstance(operation, WatchCancel):
            self._watches.cancel(channel, operation)
            return None
        return self._answer_dump(channel, operation)

    def refuse(self, proposals: list[Any], reads: list[Any]) -> None:
        leader = self._role.leader
        self._limit.finished += sum([growth for *_, growth in proposals])
        self._counts["failed_proposals"] += len(proposals)
        message = "this node lost the leadership before it could answer"
        for requests, proposed in ((proposals, True), (reads, False)):
            refusal = refused(NOT_LEADER, message, {"leader": leader, "proposed": proposed})
            self._send_replies([(request[0], request[1], *refusal) for request in requests])

    def role_changed(self, change: RoleChange) -> None:
        """One log line a change."""
        before, self._role = self._role, change
        if change.leader is not None and change.leader != before.leader:
            self._counts["leader_changes"] += 1
        self._tell_keeper(change)
        self._watches.role_changed(change.leader)
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
        self._begin_with(self._store)
        old.clear()

    def _begin_with(self, store: Store) -> None:
        self._keeper.watch(store.data)
        self._watches.watch(store.data)
        store.data.pause = _let_others_run

    # -- leases ----------------------------------------------------------------------------------------------

    def _tell_keeper(self, change: RoleChange) -> None:
        if change.role is Role.LEADER and change.term == self._keeper.term:
            return
        unanswered = self._keeper.lost()
        if unanswered:
            self.refuse([], unanswered)
        if change.role is Role.LEADER:
            self._keeper.leads(change.term, self._store.data.leases.all())

    def tick(self) -> float:
        """To be called again and again: end leases, serve watches, make room. Returns how long to wait before the next
        time, in seconds."""
        if self._keeper.term or self._watches:
            self._consensus.read_now([_TICK])
            self._propose_expiries()
            if self._consensus.no_room:
                self._drop_history()
        else:
            self._is_behind = False
        return _SOON_S if self._is_behind else self._keeper.tick_s

    def _propose_expiries(self) -> None:
        expiries = self._keeper.expiries()
        try:
            while expiries:
                expiry = expiries.popleft()
                self._consensus.propose([entry_of(expiry.operation, ())], [None], expiry.term)
                self._counts["expired_leases"] += len(expiry.operation.leases)
        except (NotLeaderError, IndexError):
            pass  # whoever leads now looks after them
        except OverloadedError:
            expiries.appendleft(expiry)  # with the next tick

    def _drop_history(self) -> None:
        """If it is time for that; else, or if it is refused, with a later tick."""
        term, history = self._keeper.term, self._store.data.history
        if term and self._yield.is_due(term, history):
            floor = history.floor
            with contextlib.suppress(NotLeaderError, OverloadedError):
                self._consensus.propose([entry_of(DropHistory(), ())], [None], term)
                self._yield.proposed(term, floor)

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
        data = self._store.data
        leases = [(lease.id, lease.ttl) for lease in data.leases.all()]
        return ok((status["id"], result, len(data), data.revision, leases))


def _let_others_run() -> None:
    """In the middle of a command that changes many keys, on a thread of its own: who reads what peers send need not wait
    for the GIL at each call."""
    time.sleep(PAUSE_S)
