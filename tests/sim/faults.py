"""Faults: everything that goes wrong, one after the other, until the calm.

Fault number n is fixed by the seed and by n alone, and can be left out without making others of those that remain;
that is what lets shrink.py look for the few that matter. Each says what it did in the trace, and ends itself.

The protocol bears any number of crashes, but only a minority of lost disks: a wipe, or a flipped bit, only strikes while
a majority of whole disks is left besides (docs/divergence.md).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Callable, Collection, Dict, List, Optional, Tuple, get_args

from raftkv.raft.crash_points import CRASH_POINTS as NODE_POINTS
from raftkv.raft.messages import Message
from raftkv.raft.persister import CRASH_POINTS as DISK_POINTS
from tests.sim.host import Host, Trap
from tests.sim.network import Link, pairs

if TYPE_CHECKING:
    from tests.sim.world import World

LOCK_FILE = "data/LOCK"  # holds a pid that nobody relies on
MESSAGES = sorted(cls.__name__ for cls in get_args(Message))


class Faults:
    """The faults of one run. `only`: the numbers of those that may strike; None: all."""

    def __init__(self, world: "World", only: Optional[Collection[int]] = None) -> None:
        self._world, self._only = world, only
        plan = world.plan
        rng = random.Random(f"{plan.seed}/faults")
        kinds = [kind for kind in KINDS if rng.random() < plan.enabled] or [rng.choice(KINDS)] * (not plan.kinds)
        kinds = [kind for kind in KINDS if kind in kinds or kind.__name__ in plan.kinds]
        self._kinds = kinds
        self._weights = [10 if kind.__name__ in plan.kinds else rng.choice([1, 1, 3, 10]) for kind in kinds]
        self.number = 0  # of the next one
        self.active = 0  # those that have not ended
        self.on_election: Dict[int, Callable[[Host], None]] = {}  # by the number of the fault that waits for one
        self._next()

    def elected(self, host: Host) -> None:
        """The server on `host` has become the leader."""
        for react in list(self.on_election.values()):
            react(host)

    @property
    def kinds(self) -> List[str]:
        return [kind.__name__ for kind in self._kinds]

    def _next(self) -> None:
        rng = random.Random(f"{self._world.plan.seed}/fault/{self.number}")
        self._world.schedule(rng.expovariate(1 / self._world.plan.fault_every_s), self._strike, rng, self.number)
        self.number += 1

    def _strike(self, rng: random.Random, number: int) -> None:
        world = self._world
        if world.calm:
            return
        self._next()
        if self.active >= world.plan.faults_at_once or (self._only is not None and number not in self._only):
            return
        (kind,) = rng.choices(self._kinds, self._weights)
        fault = _Fault(world, rng, number)
        if kind(fault) is not False:
            world.count["fault: " + kind.__name__.replace("_", " ")] += 1
            world.struck.append(number)


class _Fault:
    """What a fault can do and look at."""

    def __init__(self, world: "World", rng: random.Random, number: int) -> None:
        self.world, self.rng, self.number = world, rng, number
        self.hosts: List[Host] = list(world.hosts.values())

    def say(self, line: str) -> None:
        self.world.say(f"fault {self.number}: {line}")

    def host(self) -> Host:
        """Any, or rather the leader."""
        if self.rng.random() < self.world.plan.bias:
            leader = max(self.hosts, key=lambda host: host.process.was_leader_of if host.process is not None else 0)
            if leader.process is not None:
                return leader
        return self.rng.choice(self.hosts)

    def running(self) -> Optional[Host]:
        """One with a process that could do something now."""
        for _ in range(3):
            host = self.host()
            if host.process is not None and not host.process.paused:
                return host
        return None

    def duration_s(self) -> float:
        return self.rng.choice([0.1, 0.5, 1.0, 2.0, 4.0]) * (0.5 + self.rng.random())

    def until(self, end: Callable[[], None], duration_s: Optional[float] = None) -> float:
        """Call `end` after a while, unless the calm has ended it before."""
        duration_s = self.duration_s() if duration_s is None else duration_s
        self.world.faults.active += 1
        self.world.schedule(duration_s, self._end, end)
        return duration_s

    def _end(self, end: Callable[[], None]) -> None:
        self.world.faults.active -= 1
        if not self.world.calm:
            self.say("ends")
            end()

    def cut(self, links: List[Link], what: str) -> None:
        network = self.world.network
        network.cut(links)
        duration_s = self.until(lambda: network.mend(links))
        self.say(f"{what} for {duration_s:.2f} s")
        if self.rng.random() < 0.5:  # the connections may break, too, and not only fall silent
            self.world.schedule(duration_s * self.rng.random(), self.break_connections, links)

    def break_connections(self, links: List[Link]) -> None:
        for link in links:
            host = self.world.hosts.get(link[0])  # type: ignore[arg-type]
            process = host.process if host is not None else None
            connection = process.port.dialled.get(link[1]) if process is not None else None  # type: ignore[arg-type]
            if process is not None and connection is not None and connection.open:
                process.run(process.port.end, connection)

    def restart(self, host: Host) -> None:
        if host.process is not None and not self.world.calm:
            host.end(power=False)

    def may_lose_a_disk(self, victim: Host) -> bool:
        """Would a majority of whole disks be left without the victim's? And has everybody taken part before?"""
        if not all(host.settled for host in self.hosts):
            return False
        left = sum(1 for host in self.hosts if host.whole and host is not victim)
        return left > len(self.hosts) // 2


# -- the network -----------------------------------------------------------------------------------------------


def partition(fault: _Fault) -> Optional[bool]:
    """Some servers on one side, the others on the other; clients on either."""
    ids = [host.id for host in fault.hosts]
    fault.rng.shuffle(ids)
    at = fault.rng.randint(1, len(ids) - 1)
    some, others = ids[:at], ids[at:]
    names = [client.name for client in fault.world.clients if fault.rng.random() < 0.3]
    fault.cut(
        pairs(some, others) + pairs(others, some) + pairs(names, others) + pairs(others, names),
        f"{sorted(some)} | {sorted(others)}",
    )
    return None


def one_way_cut(fault: _Fault) -> Optional[bool]:
    """Nothing that a server says arrives, or nothing arrives there; or that is so between two servers only."""
    one = fault.host().id
    others = [host.id for host in fault.hosts if host.id != one]
    if fault.rng.random() < 0.4:
        others = [fault.rng.choice(others)]
    if fault.rng.random() < 0.5:
        fault.cut(pairs([one], others), f"n{one} -/-> {others}")
    else:
        fault.cut(pairs(others, [one]), f"{others} -/-> n{one}")
    return None


def flapping_link(fault: _Fault) -> Optional[bool]:
    """A link that comes and goes."""
    one, other = fault.rng.sample([host.id for host in fault.hosts], 2)
    links, period_s = pairs([one], [other]), fault.rng.choice([0.02, 0.1, 0.4])
    if fault.rng.random() < 0.7:
        links += pairs([other], [one])
    left = fault.rng.randint(4, 12)
    network = fault.world.network

    def flap(left: int) -> None:
        if not fault.world.calm:
            (network.cut if left % 2 == 0 else network.mend)(links)
            if left > 1:
                fault.world.schedule(period_s, flap, left - 1)

    flap(left - left % 2)
    fault.say(f"{links} flap every {period_s} s")
    return None


def client_cut_off(fault: _Fault) -> Optional[bool]:
    client, ids = fault.rng.choice(fault.world.clients).name, [host.id for host in fault.hosts]
    links = pairs([client], ids) if fault.rng.random() < 0.5 else pairs(ids, [client])
    fault.cut(links, f"{links[0][0]} -/-> {links[0][1]}, …")
    return None


def loss(fault: _Fault) -> Optional[bool]:
    network, plan = fault.world.network, fault.world.plan
    network.loss = fault.rng.choice([0.1, 0.3, 0.6])
    fault.say(f"{network.loss:.0%} of all messages are lost")
    fault.until(lambda: setattr(network, "loss", plan.loss))
    return None


def doubling(fault: _Fault) -> Optional[bool]:
    network, plan = fault.world.network, fault.world.plan
    network.doubling = fault.rng.choice([0.3, 0.8])
    fault.say(f"{network.doubling:.0%} of all messages arrive twice")
    fault.until(lambda: setattr(network, "doubling", plan.doubling))
    return None


def slow_network(fault: _Fault) -> Optional[bool]:
    network, plan = fault.world.network, fault.world.plan
    network.slowness, network.tail = fault.rng.choice([5.0, 30.0]), fault.rng.choice([0.0, 0.3])

    def end() -> None:
        network.slowness, network.tail = 1.0, plan.tail

    fault.say(f"the network is {network.slowness:.0f} times slower")
    fault.until(end)
    return None


def flood(fault: _Fault) -> Optional[bool]:
    """Old messages come once more, many at once."""
    recent = list(fault.world.network.recent)
    if not recent:
        return False
    chosen = fault.rng.sample(recent, min(len(recent), fault.rng.choice([5, 30, 100])))
    for letter in chosen:
        fault.world.schedule(fault.rng.random() * 0.02, fault.world.hosts[letter.to].receive_letter, letter)
    fault.say(f"{len(chosen)} old messages come again")
    return None


def broken_connections(fault: _Fault) -> Optional[bool]:
    """Some connections break, though nobody is down."""
    ids = [host.id for host in fault.hosts]
    links = [link for link in pairs(ids, ids) if link[0] != link[1] and fault.rng.random() < 0.4]
    fault.say(f"the connections {links} break")
    fault.break_connections(links)
    return None


# -- servers ---------------------------------------------------------------------------------------------------


def crash(fault: _Fault) -> Optional[bool]:
    host = fault.running()
    if host is None:
        return False
    power = fault.rng.random() < 0.6
    fault.say(f"n{host.id} {'loses power' if power else 'is killed'}")
    host.end(power)
    return None


def crash_of_many(fault: _Fault) -> Optional[bool]:
    power = fault.rng.random() < 0.6
    victims = fault.rng.sample(fault.hosts, fault.rng.randint(2, len(fault.hosts)))
    fault.say(f"{sorted(host.id for host in victims)} {'lose power' if power else 'are killed'}")
    for host in victims:
        if host.process is not None:
            host.end(power)
    return None


def ambush(fault: _Fault) -> Optional[bool]:
    """For a while, whoever leads is struck down soon after it was elected: what paper figure 8 is made of."""
    faults, world, rng = fault.world.faults, fault.world, fault.rng
    blows = rng.choice([["kill", "power"], ["cut", "half cut"], ["kill", "power", "cut", "half cut"]])

    def plan(host: Host) -> None:
        if fault.number in faults.on_election:
            world.schedule(rng.choice([0.01, 0.05, 0.1, 0.4]) * rng.random(), strike, host)

    def strike(host: Host) -> None:
        if world.calm or host.process is None or not host.process.leads:
            return
        blow = rng.choice(blows)
        fault.say(f"n{host.id} is struck as the leader: {blow}")
        if blow in ("kill", "power"):
            host.end(power=blow == "power")
            return
        others = [other.id for other in fault.hosts if other is not host]
        if blow == "half cut":
            others = rng.sample(others, len(others) // 2)
        links = pairs([host.id], others) + (pairs(others, [host.id]) if rng.random() < 0.5 else [])
        world.network.cut(links)
        wait_s = 0.2 + rng.random()
        world.schedule(wait_s, world.network.mend, links)
        world.schedule(wait_s, plan, host)

    faults.on_election[fault.number] = plan
    fault.until(lambda: faults.on_election.pop(fault.number, None), rng.choice([3.0, 10.0]))
    fault.say(f"who leads is struck: {blows}")
    for host in fault.hosts:
        plan(host)
    return None


def crash_at_a_point(fault: _Fault) -> Optional[bool]:
    """Between two steps of the node's or the persister's."""
    name = fault.rng.choice(NODE_POINTS + DISK_POINTS)
    trap = Trap(name, fault.rng.choice([1, 1, 2, 5]), fault.rng.random() < 0.7)
    host = fault.host()
    host.trap = trap
    fault.say(f"n{host.id} will die at {name}@{trap.count}")
    return None


def crash_after_a_message(fault: _Fault) -> Optional[bool]:
    """As soon as it has said something, or in the middle of saying it to all."""
    name = fault.rng.choice(MESSAGES)
    trap = Trap(name, fault.rng.choice([1, 1, 2, 3, 10]), fault.rng.random() < 0.7)
    host = fault.host()
    host.trap = trap
    fault.say(f"n{host.id} will die after its {name}@{trap.count}")
    return None


def crash_at_a_disk_operation(fault: _Fault) -> Optional[bool]:
    host = fault.host()
    host.trap = Trap(None, fault.rng.randint(1, 60), fault.rng.random() < 0.7)
    fault.say(f"n{host.id} will die at its disk operation {host.trap.count} from here")
    return None


def orderly_stop(fault: _Fault) -> Optional[bool]:
    host = fault.running()
    if host is None:
        return False
    fault.say(f"n{host.id} gets SIGTERM")
    host.stop()
    return None


def pause(fault: _Fault) -> Optional[bool]:
    """SIGSTOP, or a machine that is suspended."""
    host = fault.running()
    if host is None or host.process is None:
        return False
    process = host.process
    process.pause()
    duration_s = fault.until(process.resume)
    fault.say(f"n{host.id} is paused for {duration_s:.2f} s")
    if fault.rng.random() < 0.3:
        ids = [other.id for other in fault.hosts if other is not host]
        fault.world.schedule(duration_s / 2, fault.break_connections, pairs(ids, [host.id]))
    return None


def clock_rate(fault: _Fault) -> Optional[bool]:
    host, rate = fault.host(), fault.rng.choice([0.3, 0.8, 1.25, 3.0])
    host.set_rate(rate)
    fault.say(f"the clock of n{host.id} runs at {rate}")
    fault.until(lambda: host.set_rate(1.0))
    return None


def clock_jump(fault: _Fault) -> Optional[bool]:
    host, jump_s = fault.host(), fault.rng.choice([0.3, 1.0, 10.0, 1000.0])
    host.set_rate(1.0, jump_s)
    fault.say(f"the clock of n{host.id} jumps by {jump_s} s")
    return None


# -- disks -----------------------------------------------------------------------------------------------------


def slow_disk(fault: _Fault) -> Optional[bool]:
    host, slowness = fault.host(), fault.rng.choice([10.0, 100.0])
    host.slowness = slowness
    fault.say(f"the disk of n{host.id} is {slowness:.0f} times slower")
    fault.until(lambda: setattr(host, "slowness", 1.0))
    return None


def full_disk(fault: _Fault) -> Optional[bool]:
    host = fault.host()
    disk = host.disk
    disk.capacity = disk.used() + fault.rng.choice([0, 100, 1000, 5000])
    fault.say(f"the disk of n{host.id} has room for {disk.capacity - disk.used()} bytes")
    fault.until(lambda: setattr(disk, "capacity", None))
    return None


def failing_fsync(fault: _Fault) -> Optional[bool]:
    host = fault.running()
    if host is None:
        return False
    host.sick = True
    fault.say(f"the next fsync of n{host.id} fails")
    return None


def bit_flip(fault: _Fault) -> Optional[bool]:
    """A bit changes on a disk, and nobody notices yet."""
    host = fault.host()
    files = [path for path in host.disk.files() if path != LOCK_FILE and host.disk.size_of(path)]
    if not files or not fault.may_lose_a_disk(host):
        return False
    logs = [path for path in files if "/log/" in path]
    path = fault.rng.choice(logs if logs and fault.rng.random() < 0.5 else files)
    bit = fault.rng.randrange(8 * host.disk.size_of(path))
    host.disk.flip(path, bit)
    host.flipped = True
    fault.say(f"n{host.id}: bit {bit} of {path} flips")
    if fault.rng.random() < 0.7:  # else it stays hidden until something else restarts the process
        fault.world.schedule(fault.duration_s(), fault.restart, host)
    return None


def lost_disk(fault: _Fault) -> Optional[bool]:
    """A server comes back with an empty disk."""
    host = fault.host()
    if not fault.may_lose_a_disk(host):
        return False
    fault.say(f"n{host.id} loses its disk")
    host.wipe()
    return None


# -- clients ---------------------------------------------------------------------------------------------------


def abandoned_command(fault: _Fault) -> Optional[bool]:
    client = fault.rng.choice(fault.world.clients)
    fault.say(f"{client.name} abandons a command")
    client.abandon_one()
    return None


def restarted_client(fault: _Fault) -> Optional[bool]:
    """A client begins anew, without the session it had."""
    client = fault.rng.choice(fault.world.clients)
    fault.say(f"{client.name} starts anew")
    client.restart()
    return None


KINDS: Tuple[Callable[[_Fault], Optional[bool]], ...] = (
    partition, one_way_cut, flapping_link, client_cut_off, loss, doubling, slow_network, flood, broken_connections,
    crash, crash_of_many, ambush, crash_at_a_point, crash_after_a_message,
    crash_at_a_disk_operation, orderly_stop, pause, clock_rate, clock_jump,
    slow_disk, full_disk, failing_fsync, bit_flip, lost_disk, abandoned_command, restarted_client,
)  # fmt: skip
