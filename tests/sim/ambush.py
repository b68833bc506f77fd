"""Ambush: whoever leads is struck, or silenced before it has told anybody, so that leaders take turns.

It is what paper figure 8 is made of: logs diverge, and a leader brings old entries to a majority, but none of its own.
"""

from __future__ import annotations

from tests.sim.fault import Fault
from tests.sim.host import Host
from tests.sim.network import Link, pairs

SILENCED = 0.4  # of those who ask for votes
SOON_S = (0.01, 0.1, 0.4, 0.8)  # after it was elected a leader is struck, at the latest
BLOWS = (["kill", "power"], ["cut", "half cut"], ["kill", "power", "cut", "half cut"])


def ambush(fault: Fault) -> bool | None:
    """For a while. A function as those of server_faults.py."""
    if not all(host.is_voter for host in fault.hosts if host.is_founder):
        return False  # while a cluster is founded, only one can lead
    _Ambush(fault).begin()
    return None


class _Ambush:
    """Who is cut off comes back when the next one is struck or silenced, if not before."""

    def __init__(self, fault: Fault) -> None:
        self._fault, self._world, self._rng = fault, fault.world, fault.rng
        self._blows = fault.rng.choice(BLOWS)
        self._gone: dict[Host, list[Link]] = {}  # who is cut off -> how

    def begin(self) -> None:
        fault = self._fault
        fault.wait_for({"elected": self._plan, "stands": self._silence}, self._rng.choice([3.0, 10.0]))
        fault.say(f"who leads is struck: {self._blows}")
        for host in fault.hosts:
            self._plan(host)

    def _plan(self, host: Host) -> None:
        if self._fault.is_waiting:
            self._world.schedule(self._rng.choice(SOON_S) * self._rng.random(), self._strike, host)

    def _strike(self, host: Host) -> None:
        if self._world.calm or host in self._gone or host.process is None or not host.process.leads:
            return
        self._bring_back()
        rng, blow = self._rng, self._rng.choice(self._blows)
        self._fault.say(f"n{host.id} is struck as the leader: {blow}")
        if blow in ("kill", "power"):
            host.end(power=blow == "power")
            return
        others = self._others(host)
        if blow == "half cut":
            others = rng.sample(others, len(others) // 2)
        links = pairs([host.id], others) + (pairs(others, [host.id]) if rng.random() < 0.5 else [])
        self._cut(host, links, rng.uniform(0.2, 2.5))

    def _silence(self, host: Host) -> None:
        """Nobody hears it any more once it has asked for votes; when it has them, it hears nobody: it leads, and its
        term is in no log but its own."""
        if host in self._gone or self._rng.random() >= SILENCED:
            return
        self._bring_back()
        plan, others = self._world.plan, self._others(host)
        trip_s, wait_s = 1.5 * (plan.sync_s + plan.delay_s), self._rng.uniform(0.5, 3.0)
        self._fault.say(f"n{host.id} is silenced as a candidate for {wait_s:.2f} s")
        asked_s = trip_s - plan.delay_s  # its own vote is durable, and the requests have left
        self._world.schedule(asked_s, self._cut, host, pairs([host.id], others), wait_s)
        self._world.schedule(2 * trip_s, self._cut, host, pairs(others, [host.id]), wait_s)

    def _others(self, host: Host) -> list[int]:
        return [other.id for other in self._fault.hosts if other is not host]

    def _cut(self, host: Host, links: list[Link], wait_s: float) -> None:
        if not self._world.calm:
            self._world.network.cut(links)
            self._gone[host] = self._gone.get(host, []) + links
            self._world.schedule(wait_s, self._mend, host)

    def _mend(self, host: Host) -> None:
        self._world.network.mend(self._gone.pop(host, []))
        self._plan(host)

    def _bring_back(self) -> None:
        for host in list(self._gone):
            self._mend(host)
