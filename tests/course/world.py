"""World: the simulated machines of tests/sim, driven by a test's procedure instead of by faults.

A test is written as the course's are: it calls, sleeps and looks, and what it calls `sleep` lets the
virtual clock run. What happens beside it (clients, a partitioner) is a generator: it yields how many
seconds it waits, or a Pending.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator
from typing import Any, Callable

from raftkv.config import RaftOptions
from raftkv.raft.types import Role

from tests.course.network import Network
from tests.sim.checks import Checks
from tests.sim.events import Events
from tests.sim.host import Host
from tests.sim.plan import Plan
from tests.sim.process import Process

SYNC_S = 0.002  # an fsync takes that, more or less
LIMIT_S = 120.0  # of virtual time: the course lets no test take longer
WHOLE_TEST = "seconds"  # the name of that figure

Procedure = Generator[Any, Any, Any]


def options_for(max_raft_state: int) -> RaftOptions:
    """The product's own, but for this many bytes of log before a snapshot (-1: never), however large the last
    one was: the course bounds the log by that number alone. A log goes by whole files: they are a fourth of
    that, as with the product's own options."""
    return RaftOptions(
        max_raft_state=max_raft_state,
        snapshot_growth_percent=0,
        segment_bytes=max_raft_state // 4 if max_raft_state > 0 else RaftOptions.segment_bytes,
    )


class Pending:
    """Something that is not `done` yet; then it has its `result`."""

    def __init__(self) -> None:
        self.done = False
        self.result: Any = None
        self._waiting: list[Callable[[Any], None]] = []

    def finish(self, result: Any) -> None:
        self.done, self.result = True, result
        for callback in self._waiting:
            callback(result)

    def then(self, callback: Callable[[Any], None]) -> None:
        if self.done:
            callback(self.result)
        else:
            self._waiting.append(callback)


class Machine(Host):
    """A machine whose process runs when the test says so, and at no other time."""

    on = False

    def start(self) -> None:
        self.on = True
        self.boot()

    def crash(self) -> None:
        """The power goes: of what was not fsynced, some is lost."""
        self.on = False
        if self.process is not None:
            self.end(power=True)

    def boot(self) -> None:
        if self.process is not None or not self.on:
            return
        self.lives += 1
        self.process = process = self.world.make_process(self)  # type: ignore[attr-defined]
        self.world.checks.recovered(self, process)
        self.promised = None
        self.world.say(f"n{self.id} starts")
        process.run(process.start)

    def failed(self, error: Exception) -> None:
        raise AssertionError(f"n{self.id} cannot use its disk, though nothing is wrong with it: {error}")

    def log_size(self) -> int:
        """Bytes on the disk that are Raft's state: term, vote and log. The course's RaftStateSize."""
        return sum(self._sizes("data/log/", "data/hard_state"))

    def snapshot_size(self) -> int:
        """Bytes of the newest snapshot."""
        return max(self._sizes("data/snapshot/"), default=0)

    def _sizes(self, *prefixes: str) -> list[int]:
        disk = self.disk
        paths = [path.replace("\\", "/") for path in disk.files()]
        return [disk.size_of(path) for path, name in zip(disk.files(), paths) if name.startswith(prefixes)]


class Watch(Checks):
    """The checks of tests/sim, but for those that RAFTKV_CHECK makes at every release of a node's mutex."""

    def after(self, process: Process) -> None:
        raft = process.raft
        if raft is None:
            return
        self.history.check((raft,))
        if raft.role is Role.LEADER and process.was_leader_of != raft.term:
            process.was_leader_of = raft.term
            self._world.count["elections"] += 1
            self._world.say(f"n{raft.id}@{raft.term} leads: {raft.role_reason}")
            self.history.check_leader_completeness(raft)


class World(Events):
    """`servers` machines, none of which runs yet. `make_process(machine)` begins a life of one.

    Times are in seconds. `say` gets a line for each event, if anybody wants to read them. What is not
    explained here is what tests/sim/host.py, process.py and peers.py expect of a world.
    """

    def __init__(
        self,
        seed: str,
        servers: int,
        options: RaftOptions,
        make_process: Callable[[Machine], Process],
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.plan = _Plan(seed, servers, options)
        self.rng = random.Random(f"{seed}/test")
        self.make_process = make_process
        self.calm = True  # the others notice at once when a process ends
        self.count: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.current: Process | None = None
        self.clients: list[Any] = []
        self.watchers: list[Any] = []
        self.tracing, self._say = say is not None, say
        self.network = Network(random.Random(f"{seed}/network"), self.schedule)
        self.checks = Watch(self)  # type: ignore[arg-type]
        self.hosts: dict[int, Machine] = {}
        for id in range(1, servers + 1):
            self.hosts[id] = Machine(self, id)  # type: ignore[arg-type]

    def close(self) -> None:
        for host in self.hosts.values():
            if host.process is not None:
                host.process.die()
        self.fibers.close()

    # -- events ---------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        if self._say is not None:
            self._say(f"{self.now:10.6f}  {line}")

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass, and happen what happens in them."""
        end = self.now + seconds
        self.fibers.pump(lambda: self.next_at <= end, self.step)
        self.now = end

    def wait_for(self, *pending: Pending) -> None:
        """Let time pass until all of these are done."""
        for each in pending:
            self.fibers.pump(lambda each=each: not each.done, self.step)  # type: ignore[misc]

    def step(self) -> None:
        assert self.now < LIMIT_S, f"the test took longer than {LIMIT_S:.0f} s"
        super().step()

    # -- procedures -----------------------------------------------------------------------------------------

    def spawn(self, procedure: Procedure) -> Pending:
        """Run `procedure` beside the test. Its result is what it returns."""
        pending = Pending()
        self.schedule(0.0, self._go_on, procedure, pending, None)
        return pending

    def run(self, procedure: Procedure) -> Any:
        """Run `procedure` to its end, and return what it returns."""
        pending = self.spawn(procedure)
        self.wait_for(pending)
        return pending.result

    def _go_on(self, procedure: Procedure, pending: Pending, value: Any) -> None:
        try:
            wait = procedure.send(value)
        except StopIteration as end:
            pending.finish(end.value)
            return
        if isinstance(wait, Pending):
            wait.then(lambda result: self.schedule(0.0, self._go_on, procedure, pending, result))
        else:
            self.schedule(wait, self._go_on, procedure, pending, None)


class CourseCluster:
    """What the clusters of both labs have: servers with ids from 1 on, in a world of their own."""

    def __init__(
        self, run: Any, what: str, servers: int, options: RaftOptions, make_process: Any, unreliable: bool
    ) -> None:
        self._run = run
        self.world: World = run.open(World(run.seed_of(what), servers, options, make_process, run.say))
        self.ids = list(self.world.hosts)
        self.rng, self.network = self.world.rng, self.world.network
        self.network.unreliable = unreliable

    def sleep(self, seconds: float) -> None:
        self.world.sleep(seconds)

    def log_size(self) -> int:
        """Bytes of Raft's state on the disk where it is largest."""
        return max(host.log_size() for host in self.world.hosts.values())

    def end(self) -> None:
        """The test is over: it was not too long, and all logs agree."""
        self._run.at_most(WHOLE_TEST, round(self.world.now, 1), LIMIT_S)
        self.world.checks.compare_logs()


class _Plan(Plan):
    """What tests/sim leaves to the seed, without any trouble in it."""

    def __init__(self, seed: str, servers: int, options: RaftOptions) -> None:
        super().__init__(0, (servers,))
        self.seed = seed  # type: ignore[assignment]  # it only names its random numbers
        self.options = options
        self.tick_s = options.heartbeat_interval_ms / 1000 / 5  # as RaftNode's own ticker
        self.encoded = self.letters = self.late_starts = self.reorders = False
        self.batching = self.preemption = 0.0
        self.write_s, self.sync_s = 0.0, SYNC_S
        self.clock_rates = (1.0, 1.0)
