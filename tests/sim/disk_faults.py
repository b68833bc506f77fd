"""What goes wrong with disks. A function returns False if it could not strike.

The protocol bears any number of crashes, but only a minority of lost disks: a wipe, or a flipped bit, only
strikes while a majority of whole disks is left besides (docs/divergence.md).
"""

from __future__ import annotations

from tests.sim.fault import Fault
from tests.sim.host import Host

LOCK_FILE = "data/LOCK"  # holds a pid that nobody relies on


def slow_disk(fault: Fault) -> bool | None:
    host, slowness = fault.host(), fault.rng.choice([10.0, 100.0])
    host.slowness = slowness
    fault.say(f"the disk of n{host.id} is {slowness:.0f} times slower")
    fault.until(lambda: setattr(host, "slowness", 1.0))
    return None


def hung_disks(fault: Fault) -> bool | None:
    """The disks of some machines finish nothing for a while: of one, of all that share one, of any."""
    rng = fault.rng
    hosts = rng.choice(
        [[fault.host()], [fault.host()], rng.sample(fault.hosts, min(2, len(fault.hosts))), fault.hosts]
    )
    for host in hosts:
        host.hang()

    def end() -> None:
        for host in hosts:
            host.go_on()

    duration_s = fault.until(end, rng.choice([0.3, 1.0, 3.0, 10.0, 60.0]) * (0.5 + rng.random()))
    fault.say(f"the disks of {sorted(host.id for host in hosts)} hang for {duration_s:.2f} s")
    return None


def full_disk(fault: Fault) -> bool | None:
    _fill(fault, [fault.host()])
    return None


def full_disks(fault: Fault) -> bool | None:
    """All at once: replicas grow alike."""
    _fill(fault, fault.hosts)
    return None


def _fill(fault: Fault, hosts: list[Host]) -> None:
    disks = [host.disk for host in hosts]
    for host, disk in zip(hosts, disks):
        disk.capacity = disk.used() + fault.rng.choice([0, 100, 1000, 5000])
        fault.say(f"the disk of n{host.id} has room for {disk.capacity - disk.used()} bytes")

    def free() -> None:
        for disk in disks:
            disk.capacity = None

    fault.until(free)


def failing_fsync(fault: Fault) -> bool | None:
    host = fault.running()
    if host is None:
        return False
    host.sick = True
    fault.say(f"the next fsync of n{host.id} fails")
    return None


def bit_flip(fault: Fault) -> bool | None:
    """A bit changes on a disk, and nobody notices yet."""
    host = fault.host()
    files = [
        path
        for path in host.disk.files()
        if path != LOCK_FILE and "/reserve/" not in path and host.disk.size_of(path)
    ]
    if not files or not fault.world.operator.may_lose(host):
        return False
    logs = [path for path in files if "/log/" in path]
    whim = fault.rng.random()
    if logs and whim < 0.4:
        path = logs[-1]  # where what follows the last fsync may be torn: damage there is not to pass for that
    else:
        path = fault.rng.choice(logs if logs and whim < 0.6 else files)
    size = host.disk.size_of(path)
    if fault.rng.random() < 0.8:
        size = host.disk.written(path) or size
    bit = fault.rng.randrange(8 * size)
    host.disk.flip(path, bit)
    host.flipped = True
    fault.say(f"n{host.id}: bit {bit} of {path} flips")
    if fault.rng.random() < 0.7:  # else it stays hidden until something else restarts the process
        fault.world.schedule(fault.duration_s(), fault.restart, host)
    return None


def lost_disk(fault: Fault) -> bool | None:
    """A server comes back with an empty disk."""
    host = fault.host()
    if not fault.world.operator.may_lose(host):
        return False
    fault.say(f"n{host.id} loses its disk")
    host.wipe()
    return None
