"""What goes wrong with the network. A function returns False if it could not strike."""

from __future__ import annotations

from tests.sim.fault import Fault
from tests.sim.host import Host
from tests.sim.network import pairs


def partition(fault: Fault) -> bool | None:
    """Some servers on one side, the others on the other; clients on either."""
    ids = [host.id for host in fault.hosts]
    if len(ids) < 2:
        return False
    fault.rng.shuffle(ids)
    at = fault.rng.randint(1, len(ids) - 1)
    some, others = ids[:at], ids[at:]
    names = [client.name for client in fault.world.clients if fault.rng.random() < 0.3]
    fault.cut(
        pairs(some, others) + pairs(others, some) + pairs(names, others) + pairs(others, names),
        f"{sorted(some)} | {sorted(others)}",
    )
    return None


def one_way_cut(fault: Fault) -> bool | None:
    """Nothing that a server says arrives, or nothing arrives there; or that is so between two servers
    only."""
    one = fault.host().id
    others = [host.id for host in fault.hosts if host.id != one]
    if not others:
        return False
    if fault.rng.random() < 0.4:
        others = [fault.rng.choice(others)]
    if fault.rng.random() < 0.5:
        fault.cut(pairs([one], others), f"n{one} -/-> {others}")
    else:
        fault.cut(pairs(others, [one]), f"{others} -/-> n{one}")
    return None


def flapping_link(fault: Fault) -> bool | None:
    """A link that comes and goes."""
    ids = [host.id for host in fault.hosts]
    if len(ids) < 2:
        return False
    one, other = fault.rng.sample(ids, 2)
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


def client_cut_off(fault: Fault) -> bool | None:
    client, ids = fault.rng.choice(fault.world.clients).name, [host.id for host in fault.hosts]
    links = pairs([client], ids) if fault.rng.random() < 0.5 else pairs(ids, [client])
    fault.cut(links, f"{links[0][0]} -/-> {links[0][1]}, …")
    return None


def loss(fault: Fault) -> bool | None:
    network, plan = fault.world.network, fault.world.plan
    network.loss = fault.rng.choice([0.1, 0.3, 0.6])
    fault.say(f"{network.loss:.0%} of all messages are lost")
    fault.until(lambda: setattr(network, "loss", plan.loss))
    return None


def doubling(fault: Fault) -> bool | None:
    network, plan = fault.world.network, fault.world.plan
    network.doubling = fault.rng.choice([0.3, 0.8])
    fault.say(f"{network.doubling:.0%} of all messages arrive twice")
    fault.until(lambda: setattr(network, "doubling", plan.doubling))
    return None


def slow_network(fault: Fault) -> bool | None:
    network, plan = fault.world.network, fault.world.plan
    network.slowness, network.tail = fault.rng.choice([5.0, 30.0]), fault.rng.choice([0.0, 0.3])

    def end() -> None:
        network.slowness, network.tail = 1.0, plan.tail

    fault.say(f"the network is {network.slowness:.0f} times slower")
    fault.until(end)
    return None


def flood(fault: Fault) -> bool | None:
    """Old messages come once more, many at once."""
    recent = list(fault.world.network.recent)
    if not recent:
        return False
    chosen = fault.rng.sample(recent, min(len(recent), fault.rng.choice([5, 30, 100])))
    for letter in chosen:
        fault.world.schedule(fault.rng.random() * 0.02, fault.world.hosts[letter.to].receive_letter, letter)
    fault.say(f"{len(chosen)} old messages come again")
    return None


def flood_at_an_install(fault: Fault) -> bool | None:
    """For a while, whoever installs a snapshot gets the old messages of one server again, in their order."""
    network = fault.world.network

    def flood_it(host: Host) -> None:
        sender = fault.rng.choice([other.id for other in fault.hosts if other is not host])
        letters = [letter for letter in network.recent if (letter.sender, letter.to) == (sender, host.id)]
        for at, letter in enumerate(letters):
            fault.world.schedule(at * 1e-5, host.receive_letter, letter)

    fault.wait_for({"installs": flood_it}, fault.rng.choice([2.0, 5.0]))
    fault.say("who installs a snapshot gets old messages again")
    return None


def broken_connections(fault: Fault) -> bool | None:
    """Some connections break, though nobody is down."""
    ids = [host.id for host in fault.hosts]
    links = [link for link in pairs(ids, ids) if link[0] != link[1] and fault.rng.random() < 0.4]
    fault.say(f"the connections {links} break")
    fault.break_connections(links)
    return None
