"""What an operator does to the members, and what goes wrong with copies of disks. A function returns False if it
could not strike."""

from __future__ import annotations

import contextlib
from typing import Callable

from raftkv.errors import InvalidChangeError, NotLeaderError, StorageError
from raftkv.storage.persister import Persister

from tests.sim.disk import NOTHING, SimDisk
from tests.sim.fault import Fault
from tests.sim.host import Host
from tests.sim.process import CLUSTER, DATA, Process

CLONES = 1000  # from here on machines on copies of others' disks are numbered


def _leader(fault: Fault) -> Process | None:
    leading = [
        h.process for h in fault.hosts if h.process is not None and h.process.leads and not h.process.paused
    ]
    return max(leading, key=lambda process: process.raft.term) if leading else None


def transfer(fault: Fault) -> bool | None:
    """The leadership is handed to another server, or to any."""
    leader = _leader(fault)
    if leader is None:
        return False
    to = fault.rng.choice([None, *(host.uid for host in fault.hosts)])
    fault.say(f"n{leader.id} is asked to hand its leadership to {to}")

    def act() -> None:
        with contextlib.suppress(InvalidChangeError, NotLeaderError):
            leader.member.node.transfer(to)

    leader.run(act)
    return None


def added_member(fault: Fault) -> bool | None:
    """A machine is put into service, for the operator to add; perhaps as a learner that it promotes."""
    new = fault.world.operator.new_machine()
    if new is None or not any(host.has_joined for host in fault.hosts):
        return False
    fault.say(f"n{new.id} is to be a member")
    new.put_into_service(held=fault.rng.random() < 0.3)
    return None


def removed_member(fault: Fault) -> bool | None:
    """A member is removed, the leader perhaps, and wanted again after a while, perhaps."""
    victim = fault.host()
    if not victim.wanted or not fault.world.operator.may_do_without(victim):
        return False

    def again() -> None:
        if victim.in_use:
            victim.wanted = True
        else:
            victim.put_into_service()

    fault.say(f"n{victim.id} is to be removed")
    if fault.rng.random() < 0.6:
        fault.until(again, fault.rng.choice([0.5, 2.0, 5.0]))
    return None


def replaced_member(fault: Fault) -> bool | None:
    """A new machine comes in place of a member."""
    new, old = fault.world.operator.new_machine(), fault.host()
    if new is None or not old.wanted or not fault.world.operator.may_do_without(old):
        return False
    fault.say(f"n{new.id} is to replace n{old.id}")
    new.put_into_service(held=fault.rng.random() < 0.7)
    return None


def moved_member(fault: Fault) -> bool | None:
    """A member is stopped, and starts at another address."""
    host = fault.running()
    if host is None or not host.wanted or not fault.world.operator.knows_all_addresses:
        return False
    host.port += 1
    fault.say(f"n{host.id} moves to {host.address}")
    host.end(power=False) if fault.rng.random() < 0.5 else host.stop()
    return None


def old_copy(fault: Fault) -> bool | None:
    """A copy of a disk is put back, later; unless somebody has not met its life since, and so could not tell."""
    host = fault.running()
    if host is None:
        return False
    _copy_to_use_later(fault, host, host.put_back)
    return None


def clone(fault: Fault) -> bool | None:
    """The same, and the copy runs beside the original, at another address."""
    host = fault.running()
    if host is None:
        return False

    def run_beside(image: SimDisk, for_s: float) -> None:
        other = fault.world.hosts[CLONES + fault.number] = Host(fault.world, CLONES + fault.number, host.id)
        other.uid, other.in_use = host.uid, True
        other.put_back(image, for_s)
        other.boot()

    _copy_to_use_later(fault, host, run_beside)
    return None


def _copy_to_use_later(fault: Fault, host: Host, use: Callable[[SimDisk, float], None]) -> None:
    assert host.process is not None
    log = host.process.raft.log
    copied, uid = host.process.persister.identity.starts, host.uid
    configuration = log.configuration_at(log.stable)  # of the log that is on the disk
    image = host.disk.copy()
    image.power_cut(NOTHING)

    def later() -> None:
        if (
            host.uid == uid
            and len(configuration.voters) > 1  # nobody can tell a cluster of one
            and _all_met_a_later_life(fault, host, copied)
            and fault.world.operator.may_lose(host, configuration)
        ):
            fault.say(f"the copy of the start {copied} of n{host.id} is used")
            fault.world.count["old copies used"] += 1
            use(image, fault.rng.uniform(0.5, 4.0))
            leader = _leader(fault) if not fault.world.calm else None  # it may have taken time to use it
            if leader is not None and leader.host is not host and fault.rng.random() < 0.6:
                leader.pause()  # so that the copy's vote would count, if it were asked
                fault.until(leader.resume, fault.rng.uniform(1.0, 3.0))

    duration_s = fault.until(later, fault.rng.choice([1.0, 4.0, 8.0]))
    fault.say(f"the disk of n{host.id} is copied, to be used in {duration_s:.2f} s")
    if fault.rng.random() < 0.8:
        fault.world.schedule(duration_s * fault.rng.random(), fault.restart, host)


def _all_met_a_later_life(fault: Fault, host: Host, starts: int) -> bool:
    """Can all others tell? Who has no data yet believes whom it met last: docs/divergence.md."""
    for other in fault.hosts:
        if other is not host:
            if other.process is None or not other.process.raft.configuration.cluster_id:
                return False
            met = other.process.persister.identity.met.get(host.uid)
            if met is None or met.starts <= starts:
                return False
    return True


def _knows_its_configuration(host: Host, image: SimDisk) -> bool:
    """One that goes back to the configuration of a time when it was alone needs nobody's vote, and cannot be told."""
    assert host.process is not None
    try:
        opened = Persister(DATA, node_id=host.node_id, cluster=CLUSTER, disk=image.copy())
    except StorageError:
        return True  # refused
    return opened.last_index >= host.process.raft.log.configuration_index


def shortened_log(fault: Fault) -> bool | None:
    """The log of a stopped server loses its end, or all of it; what it loses is on all other disks."""
    host = fault.running()
    if host is None or host.process is None or not fault.world.operator.may_lose(host):
        return False
    log = host.process.raft.log
    others = [
        other.process.raft.log for other in fault.hosts if other is not host and other.process is not None
    ]
    image = host.disk.copy()
    image.power_cut(NOTHING)
    files = [path for path in image.files() if path.startswith("data/log/") and image.written(path)]
    if (
        not files
        or len(others) < len(fault.hosts) - 1
        or not all(o.stable >= log.last_index and o.term(log.last_index) == log.last_term for o in others)
    ):
        return False
    for path in files[fault.rng.choice([0, -1, -1]) :]:
        image.overwrite(path, image.read(path)[: fault.rng.randint(0, image.written(path))])
        if fault.rng.random() < 0.5:
            image.lose(path)
    if not _knows_its_configuration(host, image):
        return False
    fault.say(f"the log of n{host.id} loses its end")
    host.put_back(image, fault.rng.uniform(0.5, 4.0))
    return None
