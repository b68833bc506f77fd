"""What the nemesis does to the network. Generators, as in process_faults.py; run by run.

A cut is silent (what is sent arrives when it is over, or never), or refuses (connections end, and new ones
do too): a real network does either.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, Callable

from tests.chaos.cluster import ChaosCluster
from tests.chaos.proxy import BACK, BOTH, OUT, Key

Fault = Iterator[float]


class NetworkFaults:
    def __init__(self, cluster: ChaosCluster, rng: random.Random) -> None:
        self._cluster, self._proxy, self._rng = cluster, cluster.proxy, rng
        self._ids = list(cluster.nodes)

    def kinds(self) -> dict[str, Callable[[], Fault]]:
        return {
            "partition in halves": self.halves,
            "isolate the leader": self.isolate_leader,
            "depose leaders": self.depose_leaders,
            "one-way partition": self.one_way,
            "bridge": self.bridge,
            "flapping links": self.flapping,
            "slow links": self.slow,
            "throttled links": self.throttled,
            "lossy links": self.lossy,
            "cut in mid-frame": self.mid_frame,
        }

    def heal(self) -> None:
        self._proxy.heal()

    # -- cuts ------------------------------------------------------------------------------------------------

    def halves(self) -> Fault:
        ids = self._shuffled()
        size = self._rng.randint(1, len(ids) // 2)
        yield from self._cut(self._between(ids[:size], ids[size:]))

    def isolate_leader(self) -> Fault:
        leader = self._cluster.find_leader()
        yield from self._cut(self._between([leader], [id for id in self._ids if id != leader]))

    def depose_leaders(self) -> Fault:
        """Cut off one leader after the other, so that the others notice it before it does.

        For a moment there are two, and clients reach both: a stale read would be possible.
        """
        for _ in range(4):
            leader = self._cluster.find_leader()
            links = self._between([leader], [id for id in self._ids if id != leader])
            self._proxy.refuse(links)
            yield self._rng.uniform(0.6, 1.2)
            self._proxy.heal(links)
            yield self._rng.uniform(0.3, 1.0)

    def one_way(self) -> Fault:
        """One node, often the leader, is not heard by the others, or only by one, or does not hear them."""
        leader = self._cluster.find_leader()
        one = leader if self._rng.random() < 0.6 else self._rng.choice(self._ids)
        others = [id for id in self._ids if id != one]
        if self._rng.random() < 0.3:
            others = [self._rng.choice(others)]
        deaf = self._rng.random() < 0.5
        links = [(other, one) if deaf else (one, other) for other in others]
        self._proxy.set(links, ways=self._rng.choice((BOTH, (OUT,), (BACK,))), hold=True)
        yield self._a_while()
        self._proxy.heal(links)

    def bridge(self) -> Fault:
        """Two halves that cannot talk to each other, and one node that can talk to both."""
        ids = self._shuffled()
        middle = (len(ids) - 1) // 2
        yield from self._cut(self._between(ids[:middle], ids[middle + 1 :]))

    def flapping(self) -> Fault:
        ids = self._shuffled()
        size = self._rng.randint(1, len(ids) // 2)
        links = self._between(ids[:size], ids[size:])
        for _ in range(self._rng.randint(3, 8)):
            self._begin_cut(links)
            yield self._rng.uniform(0.05, 0.6)
            self._proxy.heal(links)
            yield self._rng.uniform(0.05, 0.6)

    def _cut(self, links: set[Key]) -> Fault:
        self._begin_cut(links)
        yield self._a_while()
        self._proxy.heal(links)

    def _begin_cut(self, links: set[Key]) -> None:
        if self._rng.random() < 0.5:
            self._proxy.set(links, hold=True)
        else:
            self._proxy.refuse(links)

    # -- bad links -------------------------------------------------------------------------------------------

    def slow(self) -> Fault:
        delay = self._rng.choice((0.01, 0.05, 0.2))
        yield from self._spoil(delay_s=delay, jitter_s=delay * self._rng.choice((0, 1, 3)))

    def throttled(self) -> Fault:
        yield from self._spoil(bytes_per_s=self._rng.choice((2_000.0, 10_000.0, 50_000.0)))

    def lossy(self) -> Fault:
        """Frames are lost one by one. (TCP does not do that. Raft must bear it all the same.)"""
        yield from self._spoil(loss=self._rng.choice((0.01, 0.1, 0.3)))

    def mid_frame(self) -> Fault:
        """Connections end in the middle of a frame: all of them at once, and then at random."""
        links = self._cluster.links
        self._proxy.cut_mid_frame(links, self._rng.choice(BOTH))
        yield self._rng.random()
        yield from self._spoil(cut=self._rng.choice((0.002, 0.02)))

    def _spoil(self, **faults: Any) -> Fault:
        """For all links, or those of one node, or some."""
        links = self._cluster.links
        one = self._rng.choice(self._ids)
        choices: list[list[Key]] = [
            links,
            [link for link in links if one in link],
            self._rng.sample(links, len(links) // 2),
        ]
        chosen = self._rng.choice(choices)
        self._proxy.set(chosen, **faults)
        yield self._a_while()
        self._proxy.heal(chosen)

    # -- helpers ---------------------------------------------------------------------------------------------

    def _shuffled(self) -> list[int]:
        return self._rng.sample(self._ids, len(self._ids))

    def _a_while(self) -> float:
        """Seconds: less than an election, a few elections, or more than it takes to give up a connection."""
        return self._rng.choice((0.2, 1.5, 3.0, 5.0)) * self._rng.uniform(0.6, 1.2)

    @staticmethod
    def _between(some: Iterable[int], others: Iterable[int]) -> set[Key]:
        links = {(a, b) for a in some for b in others}
        return links | {(b, a) for a, b in links}
