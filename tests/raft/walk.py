"""A random walk of a cluster of cores through everything that may go wrong; one seed fixes all of it.

Messages are lost, doubled and reordered, links cut, nodes crash with their disk's queue unwritten and come
back, lose their disks, take snapshots, install damaged ones; clocks run at their own speed. The invariants
are checked after every event. Then the faults end, and the cluster must come to life again: elect a leader,
commit, and make all members equal.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Callable

from raftkv.errors import OverloadedError
from raftkv.raft import invariants
from raftkv.raft.messages import Message
from raftkv.raft.types import Options, Role

from tests.raft.cluster import Cluster, Member
from tests.raft.trace import format_raft


class Walk:
    """One walk. `hostility` (0..1) says how much goes wrong."""

    def __init__(self, seed: int, say: Callable[[str], None] = lambda line: None) -> None:
        self.rng = random.Random(seed)
        size = self.rng.choice([1, 2, 3, 3, 3, 4, 5, 5])
        self.hostility = self.rng.choice([0.1, 0.3, 1.0])
        options = Options(  # small, so that windows fill and messages hold part of what there is
            max_append_bytes=self.rng.choice([30, 60, 200]),
            max_inflight_appends=3,
            max_inflight_bytes=300,
            max_uncommitted_bytes=3000,
            max_kept_bytes=self.rng.choice([0, 200, 1000]),
        )
        self.cluster = Cluster(size, seed=seed, options=options, chunk_bytes=200, say=say)
        self.say = say
        self._late: list[Message] = []  # under way for long: copies, or the only ones
        self._count = 0

    # -- trouble -----------------------------------------------------------------------------------

    def run(self, events: int) -> None:
        bad = self.hostility
        weights: dict[Callable[[], None], float] = {
            self._tick: 14,
            self._time_out: 2 * bad,
            self._deliver: 60,
            self._write: 25,
            self._apply: 20,
            self._propose: 6,
            self._read: 3,
            self._snapshot: 5,
            self._start: 5,
            self._heal: 3,
            self._duplicate: 4 * bad,
            self._drop: 4 * bad,
            self._delay: 5 * bad,
            self._arrive_late: 5 * bad,
            self._cut: 2 * bad,
            self._crash: 2 * bad,
            self._lost_contact: bad,
            self._damage: 0.3 * bad,
            self._wipe: 0.4 * bad,
        }
        for event in self.rng.choices(list(weights), list(weights.values()), k=events):
            event()
        self.cluster.check_machines()
        invariants.check_log_matching([raft for _, raft in self.cluster.live()])

    def _any(self) -> int:
        """A voter; in half of all cases the one that leads, because its fall is what matters most."""
        leader = self.cluster.leader()
        if leader is not None and self.rng.random() < 0.5:
            return leader
        return self.rng.choice(self.cluster.voters)

    def _live(self) -> Member:
        return self.rng.choice([member for member, _ in self.cluster.live()])

    def _tick(self) -> None:
        if self.cluster.live():
            self.cluster.tick(self._live().id, self.rng.choice([0.01, 0.02, 0.05, 0.1, 0.3]))

    def _time_out(self) -> None:
        """A clock that runs ahead of the others."""
        if self.cluster.live():
            self.cluster.tick(self._live().id, 2 * self.cluster.options.election_timeout_s)

    def _deliver(self) -> None:
        """Mostly the oldest message of some link, sometimes any. When all is silent, time passes."""
        wire = self.cluster.wire
        if not wire:
            return self._tick()
        at = self.rng.randrange(len(wire))
        if self.rng.random() > 0.1 * self.hostility:
            link = wire[at].sender, wire[at].to
            at = next(i for i, message in enumerate(wire) if (message.sender, message.to) == link)
        self.cluster.deliver(at)

    def _duplicate(self) -> None:
        if self.cluster.wire:
            self.cluster.deliver(self.rng.randrange(len(self.cluster.wire)), keep=True)

    def _delay(self) -> None:
        """A message, or a copy of it, takes a long way: it may arrive in another term."""
        wire = self.cluster.wire
        if wire:
            at = self.rng.randrange(len(wire))
            self._late.append(wire[at] if self.rng.random() < 0.5 else wire.pop(at))

    def _arrive_late(self) -> None:
        if self._late:
            self.cluster.wire.append(self._late.pop(self.rng.randrange(len(self._late))))
            self.cluster.deliver(len(self.cluster.wire) - 1)

    def _drop(self) -> None:
        wire = self.cluster.wire
        if wire:
            first = self.rng.randrange(len(wire))
            del wire[first : first + self.rng.randint(1, 5)]

    def _write(self) -> None:
        busy = [member for member, _ in self.cluster.live() if member.disk_queue]
        if busy:
            self.cluster.write(self.rng.choice(busy).id)

    def _apply(self) -> None:
        busy = [member for member, _ in self.cluster.live() if member.apply_queue]
        if busy:
            self.cluster.apply(self.rng.choice(busy).id)

    def _propose(self) -> None:
        for member, raft in self.cluster.live():
            if raft.role is Role.LEADER:  # a deposed one, too, that does not know it yet
                self._count += 1
                commands = [f"{self._count}.{i}" for i in range(self.rng.randint(1, 4))]
                with suppress(OverloadedError):  # its bound is small here, on purpose
                    self.cluster.propose(member.id, *commands)

    def _read(self) -> None:
        for member, raft in self.cluster.live():
            if raft.role is Role.LEADER:
                self._count += 1
                self.cluster.read(member.id, f"read {self._count}")

    def _snapshot(self) -> None:
        if self.cluster.live():
            member = self._live()
            if member.writing is not None:
                self.cluster.end_snapshot(member.id)
            else:
                self.cluster.begin_snapshot(member.id)

    def _lost_contact(self) -> None:
        if self.cluster.live() and len(self.cluster.voters) > 1:
            member = self._live()
            peer = self.rng.choice([id for id in self.cluster.voters if id != member.id])
            self.cluster.lost_contact(member.id, peer)

    def _damage(self) -> None:
        if self.cluster.live():
            self._live().disk.damage_next = True

    def _cut(self) -> None:
        """A link both ways or one way, or all of a node's."""
        voters, cut = self.cluster.voters, self.cluster.cut
        one = self._any()
        for other in voters if self.rng.random() < 0.3 else [self.rng.choice(voters)]:
            cut.add((one, other))
            if self.rng.random() < 0.7:
                cut.add((other, one))

    def _heal(self) -> None:
        self.cluster.cut.clear()

    def _crash(self) -> None:
        victim = self._any()
        if self.cluster.members[victim].raft is not None:
            self.cluster.crash(victim)

    def _start(self) -> None:
        down = [member.id for member in self.cluster.members.values() if member.raft is None]
        if down:
            self.cluster.start(self.rng.choice(down))

    def _wipe(self) -> None:
        """A disk is lost, if the cluster can bear it: the others are up, and none of them rejoins itself."""
        if len(self.cluster.voters) < 3:
            return
        victim = self.rng.choice(list(self.cluster.members.values()))
        others = [raft for member, raft in self.cluster.live() if member is not victim]
        if len(others) == len(self.cluster.voters) - 1 and all(raft.may_vote for raft in others):
            self.cluster.wipe(victim.id)
            self.cluster.start(victim.id)

    # -- and peace ---------------------------------------------------------------------------------

    def settle(self, limit_s: float = 20.0) -> None:
        """From now on nothing goes wrong. Within `limit_s` a new command must be applied by everybody."""
        cluster = self.cluster
        self._heal()
        for member in cluster.members.values():
            if member.raft is None:
                cluster.start(member.id)
        waited = 0.0
        while not self._is_settled():
            assert waited < limit_s, f"no life after {limit_s} s without faults: {self._describe()}"
            waited += 0.01
            for id in cluster.voters:
                cluster.tick(id, 0.01)
            self._work()
            if not any(data == "last" for member, _ in cluster.live() for _, data in member.machine.commands):
                self._propose_last()
        cluster.check_machines()
        invariants.check_log_matching([raft for _, raft in cluster.live()])

    def _work(self) -> None:
        """All disks and state machines do what they have, and every message that is under way now arrives."""
        cluster = self.cluster
        for _ in range(len(cluster.wire)):
            cluster.deliver(0)
            for member, _ in cluster.live():
                while member.disk_queue:
                    cluster.write(member.id)
                while member.apply_queue:
                    cluster.apply(member.id)
        for member, _ in cluster.live():
            if member.writing is not None:
                cluster.end_snapshot(member.id)
            while member.disk_queue:
                cluster.write(member.id)
            while member.apply_queue:
                cluster.apply(member.id)

    def _propose_last(self) -> None:
        leader = self.cluster.leader()
        if leader is not None:
            _member, raft = self.cluster.up(leader)
            if raft.log.commit == raft.log.last_index:
                with suppress(OverloadedError):  # it will be asked again
                    self.cluster.propose(leader, "last")

    def _is_settled(self) -> bool:
        """Does everybody hold the same, with the last command in it, and wait for nothing?"""
        machines = [member.machine for member, _ in self.cluster.live()]
        return (
            all(any(data == "last" for _, data in machine.commands[-3:]) for machine in machines)
            and len({machine.applied for machine in machines}) == 1
            and len({raft.term for _, raft in self.cluster.live()}) == 1
        )

    def _describe(self) -> list[str]:
        return [
            f"{format_raft(raft)} {member.machine.applied}/{raft.log.commit}/{raft.log.last_index}"
            for member, raft in self.cluster.live()
        ]
