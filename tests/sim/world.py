"""World: one simulated cluster from its first start to its end, decided by a seed.

First comes a time in which anything may go wrong (faults.py), and
every event is followed by the checks of safety (checks.py). Then the calm: whatever is broken is mended, and
within LIVENESS_S of virtual time, and as long as it takes to send what servers lack, there must be one leader,
equal logs and states, and an end of every command.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Callable

from raftkv.kvdb import service as service_module
from raftkv.node import applier, log_writer, node, snapshotter

from tests.sim.checks import Checks
from tests.sim.client import SimClient
from tests.sim.data_client import DataClient
from tests.sim.events import Events
from tests.sim.faults import Faults
from tests.sim.holder import SimHolder
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.operator import Operator
from tests.sim.plan import Plan
from tests.sim.process import Process
from tests.sim.record import Record
from tests.sim.verdict import check_history
from tests.sim.watcher import SimWatcher

LIVENESS_S = 20.0  # of virtual time; the election timeout is 0.5 s
SMALL_APPEND_BYTES = 100  # an entry or two
SETTLED_EVERY_S = 0.1
LATE_START_S = 3.0


class Failure(Exception):
    """A run showed that something is wrong. `events`: how many it took."""

    def __init__(self, message: str, events: int) -> None:
        super().__init__(message)
        self.events = events


class World(Events):
    """`say` gets a line for each event, if anybody wants to read them. `only`: the faults that may strike, or
    all."""

    def __init__(
        self,
        plan: Plan,
        *,
        only: Collection[int] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.calm = False
        self.calm_since = self._calm_until = 0.0
        self._look_at = 0.0  # when it is looked next whether all is well
        self.count: Counter[str] = Counter()
        self.points: Counter[str] = Counter()  # where processes died
        self.struck: list[int] = []  # the faults that did something
        self.current: Process | None = None  # whose code runs
        self.tracing, self._say = say is not None, say
        self.network = Network(plan, self, self.count)
        self.checks = Checks(self)
        self.network_rng = random.Random(f"{plan.seed}/streams")
        self.record = Record(lambda: self.now)
        self.hosts: dict[int, Host] = {}
        self.hosts = {id: Host(self, id) for id in range(1, plan.servers + plan.spares + 1)}
        self.clients: list[SimClient] = []
        self.clients = [SimClient(self, number) for number in range(1, plan.clients + 1)]
        self.clients += [
            DataClient(self, plan.clients + number) for number in range(1, plan.data_clients + 1)
        ]
        many = len(self.clients)
        self.holders = [SimHolder(self, many + number) for number in range(1, plan.holders + 1)]
        self.clients += self.holders
        self.watchers = [SimWatcher(self, number) for number in range(1, plan.watchers + 1)]
        for host in self.members:
            late = plan.late_starts and host.rng.random() < 0.5
            self.schedule(host.rng.random() * (LATE_START_S if late else 0.05), host.boot)
        self.operator = Operator(self)
        self.faults = Faults(self, only)

    @property
    def members(self) -> list[Host]:
        """The machines that the operator wants to be the cluster."""
        return [host for host in self.hosts.values() if host.wanted]

    def say(self, line: str) -> None:
        if self._say is not None:
            self._say(f"{self.now:10.6f}  {line}")

    def reach(self, name: str) -> None:
        """Stands for crash_points.reach in the product's modules."""
        if self.current is not None:
            self.current.reach(name)

    # -- a whole run -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises Failure."""
        try:
            with self.plan.applied(), self._crash_points():
                self.fibers.pump(lambda: self.events < self.plan.events, self.step)
                self._begin_calm()
                self._live()
                self.checks.at_the_end()
                check_history(self.record.operations)
        except Exception as error:
            raise Failure(_describe(error), self.events) from error
        finally:
            self._close()

    @contextmanager
    def _crash_points(self) -> Iterator[None]:
        modules: tuple[Any, ...] = (node, log_writer, applier, snapshotter, service_module)
        real = node.reach
        for module in modules:
            module.reach = self.reach
        try:
            yield
        finally:
            for module in modules:
                module.reach = real

    def _begin_calm(self) -> None:
        """From here on nothing goes wrong, and what did is mended."""
        self.calm, self.calm_since = True, self.now
        self.say("the faults end")
        self.network.calm()
        for host in self.hosts.values():
            host.mend()
        for client in self.clients:
            client.mend()
        self._calm_until = self.now + LIVENESS_S + self._sending_s()

    def _sending_s(self) -> float:
        """How long it takes to send the server that is farthest behind what it may lack, if each entry is a
        message of its own and waits for the one before: some plans have it, and small messages that overtake each other
        make it so."""
        logs = [host.process.raft.log for host in self.hosts.values() if host.process and host.process.raft]
        options = self.plan.options
        if (options.max_inflight_appends > 1 and options.max_append_bytes > SMALL_APPEND_BYTES) or not logs:
            return 0.0
        known = min(log.commit if len(logs) == len(self.hosts) else log.first_index - 1 for log in logs)
        lacking = max(log.last_index for log in logs) - known
        return lacking * (2 * self.plan.delay_s + self.plan.write_s + self.plan.sync_s)

    def _live(self) -> None:
        """Wait until the cluster is well; it must be before the time is over."""
        self._look_at = self.now
        self.fibers.pump(lambda: not self._is_well(), self.step)
        self.count["calm until all was well, ms"] = round((self.now - self.calm_since) * 1000)

    def _is_well(self) -> bool:
        """Looks now and then."""
        if self.now < self._look_at:
            return False
        if all(client.finished for client in self.clients) and self.checks.settled() and self._are_told():
            return True
        self._look_at = self.now + SETTLED_EVERY_S
        assert self.now < self._calm_until, (
            f"no life {self._calm_until - self.calm_since:.1f} s after the faults: {self._state()}"
        )
        return False

    def _are_told(self) -> bool:
        """Have all watchers been told of all?"""
        revisions = [
            host.process.machine.revision for host in self.hosts.values() if host.process is not None
        ]
        return all(watcher.is_up_to(max(revisions)) for watcher in self.watchers)

    def _state(self) -> str:
        """Where everybody is, for a failure of liveness."""
        words = []
        for host in self.hosts.values():
            raft = host.process.raft if host.process is not None else None
            if raft is None:
                words.append(f"n{host.id} is down")
            else:
                log = raft.log
                words.append(
                    f"n{host.id}@{raft.term} {raft.role.value} last={log.last_index} commit={log.commit} "
                    f"applied={log.applied} stable={log.stable} {raft.configuration[:3]}"
                )
        for client in self.clients:
            if not client.finished:
                words.append(
                    f"{client.name} waits for {[command.method for command in client.under_way.values()]}"
                )
        words += [f"{watcher.name} was told {watcher.episodes[-1].reached}" for watcher in self.watchers]
        return "; ".join(words)

    def _close(self) -> None:
        for host in self.hosts.values():
            if host.process is not None:
                host.process.die()
        self.fibers.close()


def _describe(error: Exception) -> str:
    """The error, and where in the product or the simulator it came up."""
    frames = traceback.extract_tb(error.__traceback__)
    where = next((f for f in reversed(frames) if f"{'raftkv'}/" in f.filename.replace("\\", "/")), frames[-1])
    place = "/".join(where.filename.replace("\\", "/").split("/")[-3:])
    return f"{type(error).__name__}: {error} (at {place}:{where.lineno})"
