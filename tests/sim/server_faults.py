"""What goes wrong with servers, their clocks and clients. A function returns False if it could not strike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from raftkv.node.crash_points import CRASH_POINTS as NODE_POINTS
from raftkv.raft.messages import Message
from raftkv.storage.persister import CRASH_POINTS as DISK_POINTS

from tests.sim.fault import Fault
from tests.sim.host import Host, Trap
from tests.sim.network import Link, pairs

MESSAGES = tuple(sorted(cls.__name__ for cls in get_args(Message)))
PLACES = (*NODE_POINTS, *DISK_POINTS, *MESSAGES)  # where a server may die


def crash(fault: Fault) -> bool | None:
    host = fault.running()
    if host is None:
        return False
    power = fault.rng.random() < 0.6
    fault.say(f"n{host.id} {'loses power' if power else 'is killed'}")
    host.end(power)
    return None


def crash_of_many(fault: Fault) -> bool | None:
    power = fault.rng.random() < 0.6
    victims = fault.rng.sample(fault.hosts, fault.rng.randint(min(2, len(fault.hosts)), len(fault.hosts)))
    fault.say(f"{sorted(host.id for host in victims)} {'lose power' if power else 'are killed'}")
    for host in victims:
        if host.process is not None:
            host.end(power)
    return None


def left_alone(fault: Fault) -> bool | None:
    """For a while, whoever is elected is soon cut off from the others, but not from the clients, and is slow
    to notice: what it would read to them is old (thesis 6.4)."""
    world, rng = fault.world, fault.rng

    def plan(host: Host) -> None:
        world.schedule(rng.uniform(0.1, 1.0), strike, host)

    def strike(host: Host) -> None:
        if world.calm or not fault.is_waiting or host.process is None or not host.process.leads:
            return
        others = [other.id for other in fault.hosts if other is not host]
        links = pairs([host.id], others) + pairs(others, [host.id])
        world.network.cut(links)
        host.set_rate(0.1)
        wait_s = rng.uniform(1.0, 4.0)
        fault.say(f"n{host.id} leads, and is left alone for {wait_s:.2f} s with a slow clock")
        world.schedule(wait_s, end, host, links)

    def end(host: Host, links: list[Link]) -> None:
        world.network.mend(links)
        host.set_rate(1.0)

    fault.wait_for({"elected": plan}, rng.choice([5.0, 10.0]))
    for host in fault.hosts:
        plan(host)
    return None


def crash_after_a_replacement(fault: Fault) -> bool | None:
    """For a while, whoever replaces entries of its log dies before the new ones are written."""
    power, count = fault.rng.random() < 0.7, fault.rng.choice([1, 1, 2])

    def set_trap(host: Host) -> None:
        host.trap = Trap(["node:before-save"], count, power)

    fault.wait_for({"replaced": set_trap}, fault.rng.choice([2.0, 5.0]))
    fault.say(f"who replaces entries dies before they are written, at {count}")
    return None


def crash_at_a_point(fault: Fault) -> bool | None:
    """Between two steps of the node's or the persister's. If the places are given: of each server, at the first that it
    comes to."""
    places = fault.world.plan.places
    name = fault.rng.choice(places or NODE_POINTS + DISK_POINTS)
    if places:
        for host in fault.hosts:
            host.trap = _trap_at(fault, name, places)
        fault.say("each server will die at one of the places")
        return None
    trap = _trap_at(fault, name, [name])
    host = fault.host()
    host.trap = trap
    before = "" if trap.then is None else "segment-created, then at "
    fault.say(f"n{host.id} will die at {before}{name}@{(trap.then or trap).count}")
    return None


def _trap_at(fault: Fault, name: str, names: Sequence[str]) -> Trap:
    trap = Trap(names, fault.rng.choice([1, 1, 2, 5]), fault.rng.random() < 0.7)
    if name == "segment-discarded":  # passed by who was killed before there was anything in a new log file
        trap.count = 1
        return Trap(["segment-created"], 1, False, then=trap)
    return trap


def crash_after_a_message(fault: Fault) -> bool | None:
    """As soon as it has said something, or in the middle of saying it to all."""
    name = fault.rng.choice(fault.world.plan.places or MESSAGES)
    trap = Trap([name], fault.rng.choice([1, 1, 2, 3, 10]), fault.rng.random() < 0.7)
    host = fault.host()
    host.trap = trap
    fault.say(f"n{host.id} will die after its {name}@{trap.count}")
    return None


def crash_at_a_disk_operation(fault: Fault) -> bool | None:
    host = fault.host()
    host.trap = Trap([None], fault.rng.randint(1, 60), fault.rng.random() < 0.7)
    fault.say(f"n{host.id} will die at its disk operation {host.trap.count} from here")
    return None


def orderly_stop(fault: Fault) -> bool | None:
    host = fault.running()
    if host is None:
        return False
    fault.say(f"n{host.id} gets SIGTERM")
    host.stop()
    return None


def pause(fault: Fault) -> bool | None:
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


def clock_rate(fault: Fault) -> bool | None:
    host, rate = fault.host(), fault.rng.choice([0.3, 0.8, 1.25, 3.0])
    host.set_rate(rate)
    fault.say(f"the clock of n{host.id} runs at {rate}")
    fault.until(lambda: host.set_rate(1.0))
    return None


def clock_jump(fault: Fault) -> bool | None:
    host, jump_s = fault.host(), fault.rng.choice([0.3, 1.0, 10.0, 1000.0])
    host.set_rate(1.0, jump_s)
    fault.say(f"the clock of n{host.id} jumps by {jump_s} s")
    return None


def abandoned_command(fault: Fault) -> bool | None:
    client = fault.rng.choice(fault.world.clients)
    fault.say(f"{client.name} abandons a command")
    client.abandon_one()
    return None


def restarted_client(fault: Fault) -> bool | None:
    """A client begins anew, without the session it had."""
    client = fault.rng.choice(fault.world.clients)
    fault.say(f"{client.name} starts anew")
    client.restart()
    return None
