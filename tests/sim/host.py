"""Host: a machine of the cluster. Its disk and its clock outlive the processes that run on it."""

from __future__ import annotations

import errno
import random
from collections.abc import Collection
from typing import TYPE_CHECKING

from raftkv.errors import DamagedDataError, StorageError
from raftkv.raft.configuration import Configuration

from tests.sim.disk import Crash, SimDisk
from tests.sim.fiber import Fiber
from tests.sim.network import Letter
from tests.sim.peers import address_of
from tests.sim.process import Process
from tests.sim.promises import Promised

if TYPE_CHECKING:
    from tests.sim.world import World

RETRY_S = (0.2, 1.0)  # after a start that failed
PING_TIMEOUT_S = 3.0  # when the others notice at the latest that a machine is gone
CALM_S = 0.02  # of a disk operation after the faults: an fsync as long as an election timeout is one
LONGEST_S = 3.0  # of one disk operation: one that began under faults must not go on for all of the calm


class Trap:
    """The process dies at the `count`th place that has one of these names, or, if the name is None, at the `count`th
    disk operation.

    A name is one of the product's crash points, or the class of a message that has just left. Then `then`
    is set.
    """

    def __init__(
        self, names: Collection[str | None], count: int, power: bool, then: Trap | None = None
    ) -> None:
        self.names, self.count, self.power, self.then = names, count, power, then

    def springs(self, name: str | None) -> bool:
        if name not in self.names:
            return False
        self.count -= 1
        return self.count == 0


class Host:
    """`process` is None while none runs. `node_id`: what its configuration file says; another machine's, on a copy
    of that one's disk."""

    def __init__(self, world: World, id: int, node_id: int = 0) -> None:
        self.world, self.id, self.node_id = world, id, node_id or id
        self.is_founder = self.in_use = id <= world.plan.servers
        self.wanted = self.in_use  # as a member, by the operator
        self.held = False  # it is added as a learner that waits to be promoted
        self.port = 1
        self.rng = random.Random(f"{world.plan.seed}/host/{id}")
        self.process: Process | None = None
        self.lives = self.disks = 0
        self.trap: Trap | None = None
        self.promised: Promised | None = None
        self.flipped = False  # a bit of its disk was flipped, and no start has shown that it does not matter
        self.old_copy_until: float | None = None  # it is an older copy; its operator will look then
        self.has_joined = False  # it has been a member at least once
        self.has_left = False  # and this disk is none any more
        self.configurations: tuple[Configuration, ...] = ()  # that counted here when it was looked last
        self.sick = False  # the next fsync fails
        self.slowness = 1.0  # of the disk
        self.hanging = 0  # faults that let its disk finish nothing
        self._hung: list[Fiber] = []  # that wait for it
        self._rate, self._clock_base, self._clock_since = world.plan.clock_rates[0], 0.0, 0.0
        self.set_rate(self.rng.uniform(*world.plan.clock_rates))
        self.disk = self._new_disk()

    @property
    def address(self) -> str:
        """Where its next process will listen."""
        return address_of(self.id, self.port)

    @property
    def is_clone(self) -> bool:
        return self.node_id != self.id

    @property
    def is_whole(self) -> bool:
        """Does its disk hold all that it ever acknowledged, as far as is known?"""
        return not self.flipped and self.old_copy_until is None

    @property
    def is_voter(self) -> bool:
        """Does its log say so, and that no change is under way?"""
        if not self.configurations:
            return False
        configuration = self.configurations[0]
        return self.uid in configuration.voters and not configuration.is_joint and not configuration.founding

    # -- clock and disk --------------------------------------------------------------------------------------

    def clock(self) -> float:
        return self._clock_base + (self.world.now - self._clock_since) * self._rate

    def set_rate(self, rate: float, jump_s: float = 0.0) -> None:
        self._clock_base, self._clock_since = self.clock() + jump_s, self.world.now
        self._rate = rate

    @property
    def tick_s(self) -> float:
        return self.world.plan.tick_s / self._rate

    def _new_disk(self) -> SimDisk:
        self.disks += 1
        self.uid = 1000 * self.id + self.disks  # the disk's
        disk = SimDisk(random.Random(self.rng.getrandbits(64)), reorders=self.world.plan.reorders)
        disk.before = self._before
        return disk

    def _before(self, operation: str, path: str) -> None:
        """Ahead of each disk operation: it may be the last one, take its time, or fail."""
        if self.trap is not None:
            self.spring(None)
        fiber = self.world.fibers.current
        while fiber is not None and self.hanging:
            self._hung.append(fiber)
            fiber.suspend(None)
        if fiber is not None and operation in ("write", "sync"):
            plan = self.world.plan
            usual_s = plan.sync_s if operation == "sync" else plan.write_s
            if self.world.calm:
                usual_s = min(usual_s, CALM_S)
            if usual_s:
                fiber.suspend(min(usual_s * (0.5 + self.rng.random()) * self.slowness, LONGEST_S))
        if self.sick and operation == "sync":
            self.sick = False
            self.world.count["failed fsyncs"] += 1
            raise OSError(errno.EIO, "Input/output error", path)

    def hang(self) -> None:
        """From now on its disk finishes nothing."""
        self.hanging += 1

    def go_on(self) -> None:
        """One reason for its disk to hang is over."""
        self.hanging = max(0, self.hanging - 1)
        if not self.hanging:
            hung, self._hung = self._hung, []
            for fiber in hung:
                if self.process is not None and fiber in self.process.fibers:
                    self.process.threads.wake(fiber)

    def spring(self, name: str | None) -> None:
        if self.trap is not None and self.trap.springs(name):
            self.world.count["crashes at a named point" if name else "crashes at a disk operation"] += 1
            self.world.points[name or "disk operation"] += 1
            self.world.say(f"n{self.id} dies at {name or 'a disk operation'}")
            raise Crash

    # -- lives -----------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the process, unless it runs."""
        if self.process is not None or not self.in_use:
            return
        if not self.disk.files() and any(host.old_copy_until for host in self.world.hosts.values()):
            self.world.schedule(0.5, self.boot)  # a newcomer could not tell a copy: docs/divergence.md
            return
        self.lives += 1
        try:
            process = Process(self)
        except Crash:
            self.end(power=self._sprung())
        except StorageError as error:
            self.failed(error)
        else:
            self.world.say(
                f"n{self.id} starts{' with ' + '; '.join(process.notices) if process.notices else ''}"
            )
            self.world.checks.recovered(self, process)
            self.promised = None
            self.process = process
            process.run(process.start)
            if self.process is process and not self.hanging:
                self.flipped = False  # all that it needs was read and found right

    def _sprung(self) -> bool:
        """The trap has done its work. Returns whether it was a power cut."""
        trap = self.trap
        self.trap = trap.then if trap is not None else None
        return trap is not None and trap.power

    def crashed(self) -> None:
        """The process died at the place that the trap was set at."""
        self.end(power=self._sprung())

    def failed(self, error: StorageError) -> None:
        """The process ended itself, since it could not use its disk."""
        self.world.say(f"n{self.id} ends: {error}")
        self.end(power=False, retry=True)
        if isinstance(error, DamagedDataError):
            assert self.flipped or self.old_copy_until, (
                f"n{self.id} finds damage where there is none: {error}"
            )
            self.world.count["damage found"] += 1
            self.wipe()
        else:
            self.world.count["stops for a disk that is full or failing"] += 1

    def end(self, power: bool, retry: bool = False) -> None:
        """The process, if there is one, ends at once; with `power`, so does the machine. It will be started
        again."""
        process, self.process = self.process, None
        self.sick = False
        if process is not None:
            self.world.count["crashes and stops"] += 1
            self.promised = process.die()
            self._tell(process, power)
        if power:
            self.world.count["power cuts"] += 1
            self.disk.power_cut()
        else:
            self.disk.kill()
        after_s = self.rng.uniform(*(RETRY_S if retry else self.world.plan.restart_s))
        self.world.schedule(0.05 if self.world.calm else after_s, self.boot)

    def _tell(self, process: Process, power: bool) -> None:
        """The other sides of its connections notice: soon, or after a power cut when they hear nothing."""
        longest_s = PING_TIMEOUT_S if power and not self.world.calm else 0.01
        for connection in [*process.port.dialled.values()]:
            if connection.open:
                connection.open = False
                to = connection.to
                wait_s = self.rng.uniform(0, longest_s)
                self.world.schedule(wait_s, to.arrives, to.port.lost_incoming, connection)
        for host in self.world.hosts.values():
            for connection in host.process.port.to(self.id) if host.process is not None else ():
                connection.open = False
                sender = connection.sender
                self.world.schedule(self.rng.uniform(0, longest_s), sender.run, sender.port.end, connection)
        for client in [*self.world.clients, *self.world.watchers]:
            client.server_gone(self.id, None if power else longest_s)

    def stop(self) -> None:
        """SIGTERM: the process ends in good order."""
        if self.process is not None and not self.process.paused:
            self.process.run(self.process.stop)

    def stopped(self, process: Process) -> None:
        """It has stopped in good order."""
        if self.process is process:
            self.end(power=False)

    def wipe(self) -> None:
        """Its disk is replaced by an empty one."""
        if self.process is not None:
            self.end(power=True)
        self.disk = self._new_disk()
        self.promised = None
        self.flipped = self.has_left = False
        self.is_founder &= self.world.plan.servers > 1  # alone, it would found again: docs/divergence.md
        self.configurations, self.old_copy_until = (), None
        self.world.count["wiped disks"] += 1
        self.world.say(f"n{self.id} gets an empty disk")

    def put_into_service(self, held: bool = False) -> None:
        """It starts with an empty disk, and waits to be added to the cluster."""
        self.in_use = self.wanted = True
        self.is_founder, self.held = False, held
        self.boot()

    def retire(self) -> None:
        """It is taken away."""
        self.in_use = self.wanted = False
        self.wipe()

    def put_back(self, image: SimDisk, for_s: float) -> None:
        """Its disk is replaced by an older or damaged copy of it, until its operator looks, in `for_s`."""
        if self.process is not None:
            self.end(power=True)
        self.disk, self.promised = image, None
        image.before = self._before
        self.old_copy_until = self.world.now + for_s

    def receive_letter(self, letter: Letter) -> None:
        """A Raft message arrives by itself, whatever became of the connection that it left on."""
        if self.process is not None:
            self.process.receive_peer(None, letter.cargo)

    def mend(self) -> None:
        """Nothing of this machine is wrong any more, but for what nobody knows yet."""
        self.trap, self.sick, self.slowness = None, False, 1.0
        self.hanging = 0
        self.go_on()
        self.disk.capacity = None
        self.set_rate(1.0)
        if self.process is None:
            self.boot()
        elif self.process.paused:
            self.process.resume()
