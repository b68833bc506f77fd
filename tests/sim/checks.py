"""What must be true: of a server after each event, of the whole cluster all the time, and of the clients at
the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable

from raftkv.kvdb.history import Event
from raftkv.kvdb.maintenance import LeaseExpire
from raftkv.kvdb.snapshot_view import encode_record
from raftkv.kvdb.store import Store
from raftkv.raft import invariants
from raftkv.raft.core import Raft
from raftkv.raft.types import COMMAND, Role

from tests.linearizability.store_model import Changes
from tests.sim.holder import SMALL_JUMP_S, check_holds
from tests.sim.leases import LeaseWatch
from tests.sim.promises import check_kept
from tests.sim.verdict import check_revisions

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World

#: When the rarest events begin; faults may wait for one: a server asks for votes, it was elected, entries of
#: its log were replaced, a snapshot that it received is being installed.
MOMENTS = ("stands", "elected", "replaced", "installs")


class Checks:
    """All of them raise AssertionError with what contradicts what."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.history = invariants.ClusterHistory()
        self.leases = LeaseWatch(world)
        self._store = Store()  # what all committed entries add up to
        self._applied = 0  # entries
        self._leaders_logs: dict[int, int] = {}  # term -> the last index of its leader's log, as seen
        self._store.data.leases.observer = self.leases
        self._outcomes: dict[tuple[str, int], Any] = {}  # what became of each numbered command
        self._events: dict[int, Changes] = {}  # what each revision changed
        self._happened: list[Event] = []  # all events
        self.watchers: list[Callable[[str, Host], None]] = []  # called with one of MOMENTS and where it is

    # -- all the time ----------------------------------------------------------------------------------------

    def after(self, process: Process) -> None:
        """Something happened to `process`."""
        raft = process.raft
        invariants.check_state(raft)
        process.seen = invariants.check_delta(process.seen, raft)
        self.history.check((raft,))
        if raft.role is Role.LEADER and process.was_leader_of != raft.term:
            process.was_leader_of = raft.term
            self._world.count["elections"] += 1
            self._world.say(f"n{raft.id}@{raft.term} leads: {raft.role_reason}")
            self.history.check_leader_completeness(raft)
            self._tell("elected", process)
            self.compare_logs()
        self._look_for_moments(process, raft)
        self._look_for_ends_of_leases(process)
        self._apply_committed()

    def at_death(self, process: Process) -> None:
        """`process` ends in the middle of an event. What it has just committed, it may have told a client."""
        self.history.check((process.raft,))
        self._look_for_ends_of_leases(process)

    def _look_for_ends_of_leases(self, process: Process) -> None:
        """What a leader has appended since it was looked at last."""
        raft = process.raft
        if raft.role is not Role.LEADER:
            return
        log, seen = raft.log, self._leaders_logs.get(raft.term, 0)
        waiting_bytes = log.bytes_of(min(log.commit, log.stable) + 1, log.last_index)
        if (
            log.term(log.commit) != raft.term  # it does not know yet what there is,
            or waiting_bytes
            > raft.options.max_uncommitted_bytes  # or a disk is so slow that it can propose nothing
        ):
            self.leases.begins_to_lead(raft.term, process.id)
        self._leaders_logs[raft.term] = log.last_index
        for entry in log.entries[max(0, seen + 1 - log.first_index) :]:
            if entry.term == raft.term and LeaseExpire.name.encode() in entry.line:
                self.leases.proposed(entry.index, entry.term)

    def _look_for_moments(self, process: Process, raft: Raft) -> None:
        if raft.role is Role.CANDIDATE and process.stood_in != raft.term:
            process.stood_in = raft.term
            self._tell("stands", process)
        entries, last = raft.log.entries, process.last_entry
        process.last_entry = entries[-1] if entries else None
        offset = last.index - raft.log.first_index if last is not None else -1
        if offset >= 0 and (offset >= len(entries) or entries[offset] is not last):
            self._tell("replaced", process)
        installing = raft.following.installing is not None
        if installing and not process.installing:
            self._tell("installs", process)
        process.installing = installing

    def _tell(self, moment: str, process: Process) -> None:
        for watch in self.watchers:
            watch(moment, process.host)

    def compare_logs(self) -> None:
        """Log matching once more, between all that run, entry by entry."""
        invariants.check_log_matching(self._rafts())

    def recovered(self, host: Host, process: Process) -> None:
        """A process has opened its disk: all that the one before it promised must be there."""
        self.history.restarted(host.uid)
        if host.promised is not None:
            check_kept(host.id, host.promised, process.persister)

    # -- at the end ------------------------------------------------------------------------------------------

    def settled(self) -> bool:
        """Is there one leader, and do all hold and apply the same, with nothing under way?"""
        members = self._world.members
        rafts = [host.process.raft for host in members if host.process is not None]
        if len(rafts) < len(members):
            return False
        last, configuration = rafts[0].log.last_index, rafts[0].configuration
        return (
            configuration.voters == tuple(sorted(host.uid for host in members))
            and not configuration.is_joint
            and not configuration.learners
            and not configuration.founding
            and len({raft.term for raft in rafts}) == 1
            and sum(raft.role is Role.LEADER for raft in rafts) == 1
            and all(raft.log.last_index == raft.log.commit == raft.log.stable == last for raft in rafts)
            and not self._store.data.leases
            and all(host.process is not None and host.process.has_applied(last) for host in members)
        )

    def at_the_end(self) -> None:
        """Stores, sessions, appends and histories, once all is settled."""
        self.compare_logs()
        self._apply_committed()
        missing = self._applied + 1
        assert len(self.history.committed) < missing, f"nobody ever showed the committed entry {missing}"
        expected = _dump(self._store)
        for host in self._world.members:
            assert host.process is not None, f"n{host.id} does not run"
            found = _dump(host.process.machine._store)
            assert found == expected, f"n{host.id} is in another state: {_difference(found, expected)}"
        for client in self._world.clients:
            client.check_acknowledged(self._outcomes)
        self._check_tokens(self._store)
        check_revisions(self._world.record.asked, self._events)
        for watcher in self._world.watchers:
            watcher.check(self._happened)
        holds = [hold for holder in self._world.holders for hold in holder.holds]
        check_holds(holds, SMALL_JUMP_S * self._world.count["fault: clock jump"])

    def _apply_committed(self) -> None:
        """As soon as they are committed: so it is known when a lease ended."""
        committed, store = self.history.committed, self._store
        while self._applied + 1 in committed:
            self._applied = index = self._applied + 1
            before = store.data.revision
            term, line = committed[index]
            _, _, kind, data, _ = json.loads(line)
            if kind != COMMAND:
                continue
            self.leases.ending = (index, term) if data[4] == LeaseExpire.name else None
            outcome = store.apply(index, data)
            first = max(before + 1, store.data.history.floor)
            self._happened += store.data.history.events_since(first)
            for revision in range(first, store.data.revision + 1):
                self._events[revision] = {key: item for _, key, item, _ in store.data.history.at(revision)}
            if not self._outcomes.get((data[0], data[2]), (False,))[0]:
                self._outcomes[data[0], data[2]] = outcome  # one with too many in flight comes again

    def _check_tokens(self, store: Store) -> None:
        """Exactly once: each append that was acknowledged is there once, the others at most once or not at
        all."""
        for client in self._world.clients:
            item = store.data.get(client.own_key.encode())
            found = item[0].decode().split(";")[:-1] if item is not None else []
            assert len(set(found)) == len(found), f"{client.name}: applied twice in {found}"
            for token, outcome in client.tokens.items():
                assert (token in found) or outcome != "ok", (
                    f"{client.name}: the acknowledged append {token} is lost"
                )
                assert (token not in found) or outcome != "fail", (
                    f"{client.name}: the append {token} took effect, but was reported as not applied"
                )
            assert set(found) <= set(client.tokens), f"{client.name}: appends that nobody made: {found}"

    def _rafts(self) -> list[Raft]:
        hosts = self._world.hosts.values()
        return [host.process.raft for host in hosts if host.process is not None]


def _dump(store: Store) -> list[Any]:
    """All that a snapshot of `store` would hold, whatever its chunks."""
    view, rows = store.begin_snapshot(), []
    while True:
        records = view.next_chunk(1 << 30)
        if not records:
            view.close()
            return rows
        for record in records:
            if record[0] == "store":
                rows.append(record)
            elif record[0] == "sessions":  # whose outcomes are tuples here and lists there
                rows += map(json.dumps, json.loads(encode_record(record))[1])
            else:
                rows += record[1]


def _difference(found: list[Any], expected: list[Any]) -> str:
    extra = [row for row in found if row not in expected][:3]
    missing = [row for row in expected if row not in found][:3]
    return f"it has {extra}, and lacks {missing}" if extra or missing else "the order of its sessions"
