"""Fault: one thing that goes wrong, as the functions see it that make it happen.

Fault number n is fixed by the seed and by n alone. Each says what it did in the trace, and ends itself.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Callable

from tests.sim.host import Host
from tests.sim.network import Link

if TYPE_CHECKING:
    from tests.sim.world import World


class Fault:
    """What it can do and look at. `rng` is its own."""

    def __init__(self, world: World, rng: random.Random, number: int) -> None:
        self.world, self.rng, self.number = world, rng, number

    @property
    def hosts(self) -> list[Host]:
        """Those that are in use."""
        return [host for host in self.world.hosts.values() if host.in_use and not host.is_clone]

    def say(self, line: str) -> None:
        self.world.say(f"fault {self.number}: {line}")

    def host(self) -> Host:
        """Any, or rather the leader."""
        if self.rng.random() < self.world.plan.bias:
            leader = max(
                self.hosts, key=lambda host: host.process.was_leader_of if host.process is not None else 0
            )
            if leader.process is not None:
                return leader
        return self.rng.choice(self.hosts)

    def running(self) -> Host | None:
        """One with a process that could do something now."""
        for _ in range(3):
            host = self.host()
            if host.process is not None and not host.process.paused:
                return host
        return None

    def duration_s(self) -> float:
        return self.rng.choice([0.1, 0.5, 1.0, 2.0, 4.0]) * (0.5 + self.rng.random())

    def until(self, end: Callable[[], None], duration_s: float | None = None) -> float:
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

    def wait_for(self, reactions: dict[str, Callable[[Host], None]], duration_s: float) -> None:
        """`reactions`: moment (checks.MOMENTS) -> what is called, for so long, with each host on which it comes."""
        waiting = self.world.faults.waiting
        waiting[self.number] = reactions
        self.until(lambda: waiting.pop(self.number, None), duration_s)

    @property
    def is_waiting(self) -> bool:
        return self.number in self.world.faults.waiting

    def cut(self, links: list[Link], what: str) -> None:
        network = self.world.network
        network.cut(links)
        duration_s = self.until(lambda: network.mend(links))
        self.say(f"{what} for {duration_s:.2f} s")
        if self.rng.random() < 0.5:  # the connections may break, too, and not only fall silent
            self.world.schedule(duration_s * self.rng.random(), self.break_connections, links)

    def break_connections(self, links: list[Link]) -> None:
        for link in links:
            host = self.world.hosts.get(link[0])  # type: ignore[arg-type]
            process = host.process if host is not None else None
            if process is None:
                continue
            for connection in process.port.to(link[1]):  # type: ignore[arg-type]
                process.run(process.port.end, connection)

    def restart(self, host: Host) -> None:
        if host.process is not None and not self.world.calm:
            host.end(power=False)
