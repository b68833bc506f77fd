"""Process: one life of a server. All of the real code runs in here; its threads are fibers.

    rpc         what arrived since its last turn, begun when something comes and it does not run: arrives()
    log-writer, ticker, snapshot, …     the product's own loops and jobs, by way of threads.py
    main, peer  whatever else the simulator lets happen: run()

Everything that happens to a process goes through _go_on(), which catches its death and checks the invariants
after.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable

from raftkv.errors import StorageError
from raftkv.kvdb.service import KVService
from raftkv.node.member import Member
from raftkv.node.profile import Profile
from raftkv.raft import invariants
from raftkv.raft.core import Raft
from raftkv.raft.types import Entry, Role
from raftkv.storage.identity import NODE
from raftkv.storage.persister import Persister

from tests.sim.disk import Crash
from tests.sim.fiber import Fiber
from tests.sim.peers import Connection, PeerPort, address_of
from tests.sim.promises import Promised, Promises
from tests.sim.threads import SWITCH_S, SimThreads
from tests.sim.trace import describe, format_saved

if TYPE_CHECKING:
    from tests.sim.host import Host

CLUSTER = "sim"
DATA = "data"

_JOBS = {
    "_write": "own snapshots",
    "_restore_and_go_on": "restored snapshots",
    "_apply_and_go_on": "batches applied on a thread of their own",
}


class Process:
    """Raises StorageError, or Crash if a trap was set for its start."""

    def __init__(self, host: Host) -> None:
        self.host, self.world, self.id, self.address = host, host.world, host.id, host.address
        plan = self.world.plan
        self.rng = random.Random(f"{plan.seed}/process/{host.id}/{host.lives}")
        self.dead = self.paused = self.is_stopping = self.stopped = False
        self.promises = Promises()
        self.last_entry: Entry | None = None  # and this is how
        self.installing = False  # its log was then
        self.stood_in = 0  # the term that it was last seen to ask for votes in
        self.was_leader_of = 0  # the term that it was last seen to lead
        self.fibers: list[Fiber] = []
        self.threads = SimThreads(self)
        self._deferred: list[tuple[Callable[..., None], tuple]] = []
        self._inbox: list[tuple[Callable[..., None], tuple]] = []
        self._peer_inbox: list[Any] = []
        self._request_inbox: list[Any] = []
        self._reads = True  # the rpc thread is at work, or will be in a moment, or not yet begun
        self._reader: Fiber | None = None  # it, while it is at work
        founders = {id: address_of(id) for id in range(1, plan.servers + 1)} if host.is_founder else {}
        others = [other for other in self.world.hosts.values() if other.in_use and other is not host]
        hints = tuple(
            other.address for other in others
        )  # also those that are to leave: they may hold the data
        options = plan.options
        self.persister = Persister(
            DATA,
            node_id=host.node_id,
            cluster=CLUSTER,
            segment_bytes=options.segment_bytes,
            reserve_bytes=plan.reserve_bytes,
            disk=host.disk,
            crash_point=self.reach,
            draw=self._draws().__next__,
            lock=self.threads.lock,
        )
        self.notices = self.persister.notices
        self.port = PeerPort(self, options.snapshot_chunk_bytes, self.rng)
        self.machine = self.make_machine()
        self.member = Member(
            Profile(CLUSTER, host.node_id, f"client{self.id}:1", self.address, "", founders, hints),
            self.persister,
            self.port,  # type: ignore[arg-type]  # it stands for a PeerNetwork
            self.machine,
            options,
            self.threads,  # type: ignore[arg-type]  # they stand for real ones
            relieve=self._relieve,
            rng=self.rng,
        )
        self.raft: Raft = self.member.node._raft
        self.seen: Any = invariants.observe(self.raft)  # what checks.py has seen last

    def make_machine(self) -> Any:
        """What is replicated."""
        timeout_s = self.world.plan.options.election_timeout_ms / 1000
        return KVService(self._send_replies, "sim", clock=self.threads.clock, election_timeout_s=timeout_s)

    def _draws(self) -> Iterator[int]:
        """Random numbers, but uids that a reader of the trace knows again."""
        if not self.host.disk.exists(f"{DATA}/{NODE}"):
            yield self.host.uid
        while True:
            yield self.rng.getrandbits(50) + 1

    # -- life ------------------------------------------------------------------------------------------------

    def run(self, action: Callable[..., None], *args: Any) -> None:
        """Let something happen to this process, on a thread that does nothing else, if it lives; later, if it
        is paused."""
        if not self.dead:
            self._go_on(self._new_fiber(action, args))

    def start(self) -> None:
        if self.world.tracing:
            self._trace_disk()
        self.member.start()
        if isinstance(self.machine, KVService):
            self.threads.repeat("leases", self.machine.tick(), self.machine.tick)
        self.world.schedule(0.0, self.run, self._read)  # what came meanwhile

    def stop(self) -> None:
        """In good order: what the disk is busy with is finished."""
        if self.is_stopping:
            return
        self.is_stopping = True
        self.world.say(f"n{self.id} is stopped")
        self.member.hand_over()
        self.stopped = True
        self.port.close()
        if self.member.stop():
            self.persister.close()
        self.world.schedule(0.0, self.host.stopped, self)

    def die(self) -> Promised:
        """It ends now, wherever it is. Returns what it believed durable."""
        promised = self.promises.at_the_end(self.raft, self.persister)
        self.dead = True
        before, self.world.current = (
            self.world.current,
            self,
        )  # what still runs on its way out is this process
        for fiber in list(self.fibers):
            fiber.kill()
        self.world.current = before
        return promised

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """What was to happen meanwhile happens now, in its order."""
        self.paused = False
        deferred, self._deferred = self._deferred, []
        for action, args in deferred:
            self.world.schedule(0.0, action, *args)

    @property
    def leads(self) -> bool:
        """Does it believe so?"""
        return self.raft.role is Role.LEADER

    def has_applied(self, index: int) -> bool:
        """Has the state machine come to `index`, and is nothing under way any more?"""
        applied = self.member.node.status()["applied_index"]
        return applied == index and all(fiber.idle for fiber in self.fibers)

    def reach(self, name: str) -> None:
        """A crash point, named by the product: the end, or a moment in which another thread runs."""
        if self.dead:
            raise Crash
        if self.host.trap is not None:
            self.host.spring(name)
        fiber = self.world.fibers.current
        preemption = self.world.plan.preemption
        may_stop = fiber is not None and name.startswith("node:") and preemption
        if may_stop and self.rng.random() < preemption:
            fiber.suspend(self.rng.random() * 0.01)

    # -- threads ---------------------------------------------------------------------------------------------

    def begin(self, name: str, target: Callable[..., None], *args: Any) -> None:
        """Start a thread."""
        if name != "log-writer":
            self.world.count[_JOBS[target.__name__]] += 1
        self.go_on_after(self.rng.random() * SWITCH_S, self._new_fiber(target, args))

    def _new_fiber(self, target: Callable[..., None], args: tuple) -> Fiber:
        fiber = self.world.fibers.start(self._suspended, target, *args)
        self.fibers.append(fiber)
        return fiber

    def go_on_after(self, delay_s: float, fiber: Fiber) -> None:
        """`fiber` goes on then, unless it did before."""
        self.world.schedule(delay_s, self._wake, fiber, fiber.resumed)

    def _wake(self, fiber: Fiber, resumed: int) -> None:
        if not fiber.over and fiber.resumed == resumed:
            self._go_on(fiber)

    def _go_on(self, fiber: Fiber) -> None:
        """A thread of this process runs until it waits for something, or to its end."""
        if self.dead:
            return
        if self.paused:
            self._deferred.append((self._wake, (fiber, fiber.resumed)))
        elif not self.world.fibers.in_pump:
            self.world.fibers.call(self._go_on, fiber)
        elif fiber.resumed:
            self.world.current = self
            fiber.resume()
        else:
            self._begin(fiber)

    def _begin(self, fiber: Fiber) -> None:
        self.world.current = self
        try:
            if not fiber.begin():
                return
        except Crash:
            self.world.checks.at_death(self)
            self.host.crashed()
        except StorageError as error:
            self.world.checks.at_death(self)
            self.host.failed(error)
        else:
            self._look()
        finally:
            self.fibers.remove(fiber)
        self.world.current = None

    def _suspended(self, fiber: Fiber, wait_s: float | None) -> bool:
        """It waits for something now. Returns whether that was all that happened until then."""
        self._look()
        self.world.current = None
        if wait_s is None:
            return False
        self.go_on_after(wait_s, fiber)
        if not self.world.skip_to(fiber):
            return False
        self.world.current = self
        return True

    def _look(self) -> None:
        """Something happened here: is all as it must be?"""
        log = self.raft.log
        self.host.has_joined |= bool(log.configuration.voters)
        self.host.configurations = log.configuration, log.configuration_at(log.commit)
        self.world.checks.after(self)

    def until_tick_s(self) -> float:
        """A whole tick interval; or until about then everybody ticks."""
        tick_s = self.host.tick_s
        if not self.world.plan.in_step:
            return tick_s
        until_next = tick_s - self.world.now % tick_s
        return until_next if until_next > tick_s / 2 else until_next + tick_s

    # -- what arrives: the rpc thread ------------------------------------------------------------------------

    def receive_peer(self, connection: Connection | None, cargo: Any) -> None:
        self.arrives(lambda: self._peer_inbox.append((connection, cargo)))

    def receive_request(self, request: tuple[Any, int, str, tuple]) -> None:
        self.arrives(lambda: self._request_inbox.append(request))

    def arrives(self, action: Callable[..., None], *args: Any) -> None:
        """The rpc thread finds this in its next turn, and does it."""
        if self.dead or self.stopped:
            return
        if self.paused:
            self._deferred.append((self.arrives, (action, *args)))
            return
        self._inbox.append((action, args))
        if self._reads:
            return
        self._reads = True
        if self.rng.random() < self.world.plan.batching:
            self.world.schedule(self.rng.random() * 0.005, self.run, self._read)
        else:
            self.run(self._read)

    def _read(self) -> None:
        """The turns of the rpc thread until nothing is there to be read, or it is relieved."""
        self._reader = reader = self.threads.current()
        while self._inbox and self._reader is reader:
            inbox, self._inbox = self._inbox, []
            for action, args in inbox:
                action(*args)
            peers, self._peer_inbox = self._peer_inbox, []
            requests, self._request_inbox = self._request_inbox, []
            if peers:
                self.port.receive(peers)
            if requests:
                self.machine.on_requests(requests)
        if self._reader is reader:
            self._reader, self._reads = None, False

    def _relieve(self, thread: Fiber) -> None:
        """As RpcServer.relieve: another fiber reads on."""
        if self._reader is thread:
            self.world.count["relieved readers"] += 1
            self._reader, self._reads = None, False
            if self._inbox:
                self._reads = True
                self.world.schedule(self.rng.random() * SWITCH_S, self.run, self._read)

    def _send_replies(self, replies: list[tuple[Any, int, bool, Any]]) -> None:
        if self.dead:
            raise Crash
        for client, id, ok, result in replies:
            client.carry_reply(self, id, ok, result)

    # -- for the trace ---------------------------------------------------------------------------------------

    def _trace_disk(self) -> None:
        save, install = self.persister.save, self.persister.install

        def traced_save(hard_state: Any, entries: Any) -> None:
            save(hard_state, entries)
            if hard_state is not None or entries:
                self.world.say(f"{describe(self.id, self.raft)} {format_saved(hard_state, entries)}")

        def traced_install(snapshot: Any) -> bool:
            installed = install(snapshot)
            self.world.say(f"{describe(self.id, self.raft)} installs {snapshot}: {installed}")
            return installed

        self.persister.save = traced_save  # type: ignore[method-assign]
        self.persister.install = traced_install  # type: ignore[method-assign]
