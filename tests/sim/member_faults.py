"""What an operator does to the members, and what goes wrong with copies of disks. A function returns False if it
could not strike."""

from __future__ import annotations

import contextlib

from raftkv.errors import InvalidChangeError, NotLeaderError
from raftkv.raft.changes import Change

from tests.sim.disk import NOTHING
from tests.sim.fault import Fault
from tests.sim.host import Host
from tests.sim.process import Process


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


def removed_member(fault: Fault) -> bool | None:
    """A member is removed, the leader perhaps. Its operator gives it an empty disk and adds it again."""
    leader, victim = _leader(fault), fault.host()
    if leader is None or not fault.may_lose_a_disk(victim):
        return False
    fault.say(f"n{victim.id} is to be removed")

    def act() -> None:
        with contextlib.suppress(InvalidChangeError, NotLeaderError):
            leader.member.node.change(Change(remove=(victim.uid,)))
            fault.world.count["members removed"] += 1

    leader.run(act)
    return None


def old_copy(fault: Fault) -> bool | None:
    """A copy of a disk is put back, later; unless somebody has not met its life since, and so could not tell."""
    host = fault.running()
    if host is None or host.process is None or host.hanging:
        return False
    copied = host.process.persister.identity.starts
    image, uid = host.disk.copy(), host.uid
    image.power_cut(NOTHING)

    def put_back() -> None:
        if host.uid == uid and _all_met_a_later_life(fault, host, copied) and fault.may_lose_a_disk(host):
            fault.say(f"n{host.id} gets back the copy of its start {copied}")
            fault.world.count["old copies put back"] += 1
            host.put_back(image, fault.rng.uniform(0.5, 4.0))

    duration_s = fault.until(put_back, fault.rng.choice([1.0, 4.0, 8.0]))
    fault.say(f"the disk of n{host.id} is copied, to be put back in {duration_s:.2f} s")
    if fault.rng.random() < 0.8:
        fault.world.schedule(duration_s * fault.rng.random(), fault.restart, host)
    return None


def _all_met_a_later_life(fault: Fault, host: Host, starts: int) -> bool:
    for other in fault.hosts:
        if other is not host:
            met = None if other.process is None else other.process.persister.identity.met.get(host.uid)
            if met is None or met.starts <= starts:
                return False
    return True
