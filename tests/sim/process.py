"""Process: one life of a server. All of the real code runs in here; its threads are fibers and plain calls.

    rpc         what arrives in one turn is one call: receive_peer(), receive_request() → _turn()
    ticker      an event of its own, node.tick()
    log-writer  a fiber that runs node.write_log(), started whenever there is something for the disk
    others      a fiber for each

Everything that happens to a process goes through run(), which catches its death and checks the invariants
after.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Callable

from raftkv.errors import StorageError
from raftkv.kvdb.service import KVService
from raftkv.node.member import Member
from raftkv.node.node import RaftNode
from raftkv.raft import invariants
from raftkv.raft.core import Raft
from raftkv.raft.types import Entry, Role
from raftkv.storage.persister import Persister

from tests.sim.disk import Crash
from tests.sim.fiber import Fiber, FiberLock
from tests.sim.peers import Connection, PeerPort
from tests.sim.promises import Promised, Promises
from tests.sim.trace import describe, format_saved

if TYPE_CHECKING:
    from tests.sim.host import Host

CLUSTER = "sim"
DATA = "data"

_JOBS = {
    "_write_snapshot": "own snapshots",
    "_restore": "restored snapshots",
    "_apply_and_go_on": "batches applied on a thread of their own",
}


class Process:
    """Raises StorageError, or Crash if a trap was set for its start. `raft` is None until it takes part."""

    def __init__(self, host: Host) -> None:
        self.host, self.world, self.id = host, host.world, host.id
        plan = self.world.plan
        self.rng = random.Random(f"{plan.seed}/process/{host.id}/{host.lives}")
        self.dead = self.paused = False
        self.node: RaftNode | None = None
        self.raft: Raft | None = None
        self.seen: Any = None  # what checks.py has seen last
        self.promises = Promises()
        self.last_entry: Entry | None = None  # and this is how
        self.installing = False  # its log was then
        self.was_leader_of = 0  # the term that it was last seen to lead
        self._fibers: list[Fiber] = []
        self._writer: Fiber | None = None
        self._deferred: list[tuple[Callable[..., None], tuple]] = []
        self._peer_inbox: list[Any] = []
        self._request_inbox: list[Any] = []
        self._turn_is_due = False
        ids = sorted(self.world.hosts)
        options = plan.options
        self.persister = Persister(
            DATA,
            node_id=self.id,
            cluster=CLUSTER,
            voters=ids,
            segment_bytes=options.segment_bytes,
            disk=host.disk,
            crash_point=self.reach,
            uid=f"disk-{self.id}.{host.disks}",
        )
        self.notices = self.persister.notices
        others = [id for id in ids if id != self.id]
        self.port = PeerPort(self, others, options.snapshot_chunk_bytes, self.rng)
        self._service = KVService(self._send_replies, "sim")
        self.member = Member(
            self.id,
            CLUSTER,
            self.persister,
            self.port,  # type: ignore[arg-type]  # it stands for a PeerNetwork
            self._service,
            options,
            self._on_fatal,
            clock=host.clock,
            rng=self.rng,
            spawn=self._spawn,
            pause=self._pause,
        )
        self._service.consensus = self.member

    # -- life ------------------------------------------------------------------------------------------------

    def run(self, action: Callable[..., None], *args: Any) -> None:
        """Let something happen to this process, if it lives; later, if it is paused."""
        if self.dead:
            return
        if self.paused:
            self._deferred.append((action, args))
            return
        self.world.current = self
        try:
            action(*args)
        except Crash:
            self.world.checks.at_death(self)
            self.host.crashed()
        except StorageError as error:
            self.world.checks.at_death(self)
            self.host.failed(error)
        else:
            self.world.checks.after(self)
            self._start_writer()
        finally:
            self.world.current = None

    def start(self) -> None:
        if self.world.tracing:
            self._trace_disk()
        self.member.start()
        self.world.schedule(self._until_tick_s(self.rng.random()), self.run, self._tick)

    def stop(self) -> None:
        """In good order: what the disk is busy with is finished."""
        self.world.say(f"n{self.id} is stopped")
        self.port.close()
        self.member.stop()
        while self._writer is not None:
            self.run(self._resume, self._writer)
        if not self.dead:
            self.persister.close()

    def die(self) -> Promised:
        """It ends now, wherever it is. Returns what it believed durable."""
        promised = self.promises.at_the_end(self.raft, self.persister)
        self.dead = True
        before, self.world.current = (
            self.world.current,
            self,
        )  # what still runs on its way out is this process
        for fiber in self._fibers:
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
            self.world.schedule(0.0, self.run, action, *args)

    @property
    def leads(self) -> bool:
        """Does it believe so?"""
        return self.raft is not None and self.raft.role is Role.LEADER

    def has_applied(self, index: int) -> bool:
        """Has the state machine come to `index`, and is nothing under way any more?"""
        return self.node is not None and self.node.status()["applied_index"] == index and not self._fibers

    def reach(self, name: str) -> None:
        """A crash point, named by the product: the end, or a moment in which another thread runs."""
        if self.dead:
            raise Crash
        if self.host.trap is not None:
            self.host.spring(name)
        fiber = self.world.fibers.current
        if fiber is not None and name.startswith("node:") and self.world.plan.preemption:
            if self.rng.random() < self.world.plan.preemption:
                fiber.suspend(self.rng.random() * 0.01)

    def _on_fatal(self, error: BaseException) -> None:
        raise error

    # -- threads ---------------------------------------------------------------------------------------------

    def _spawn(self, name: str, target: Callable[..., None], *args: Any) -> None:
        if name == "log-writer":
            node: RaftNode = target.__self__  # type: ignore[attr-defined]
            node._apply_lock = FiberLock(self.world.fibers)  # type: ignore[assignment]
            self.node, self.raft = node, node._raft
            self.seen = invariants.observe(self.raft)
            self.host.settled = True
        elif name != "ticker":
            self.world.count[_JOBS[target.__name__]] += 1
            self._start_fiber(target, *args)

    def _start_fiber(self, target: Callable[..., None], *args: Any) -> Fiber:
        fiber = self.world.fibers.start(target, *args)
        self._fibers.append(fiber)
        self.world.schedule(self.rng.random() * 0.0005, self.run, self._resume, fiber)
        return fiber

    def _start_writer(self) -> None:
        if self._writer is None and self.node is not None and not self.dead and self.node.has_disk_work:
            self._writer = self._start_fiber(self.node.write_log)

    def _resume(self, fiber: Fiber) -> None:
        if fiber.over:
            return
        try:
            wait_s = fiber.resume()
        finally:
            if fiber.over:
                self._fibers.remove(fiber)
                if fiber is self._writer:
                    self._writer = None
        if wait_s is not None:
            self.world.schedule(wait_s, self.run, self._resume, fiber)

    def _pause(self, seconds: float) -> None:
        fiber = self.world.fibers.current
        assert fiber is not None, "only a fiber may wait"
        fiber.suspend(seconds)

    def _tick(self) -> None:
        self.world.schedule(self._until_tick_s(1.0), self.run, self._tick)
        if self.node is not None:
            self.node.tick()

    def _until_tick_s(self, share: float) -> float:
        """A whole tick interval, or a share of it; or until about then everybody ticks."""
        tick_s = self.host.tick_s
        if not self.world.plan.in_step:
            return tick_s * share
        until_next = tick_s - self.world.now % tick_s
        return until_next if until_next > tick_s / 2 else until_next + tick_s

    # -- what arrives ----------------------------------------------------------------------------------------

    def receive_peer(self, connection: Connection | None, cargo: Any) -> None:
        self._peer_inbox.append((connection, cargo))
        self._arrived()

    def receive_request(self, request: tuple[Any, int, str, tuple]) -> None:
        self._request_inbox.append(request)
        self._arrived()

    def _arrived(self) -> None:
        if self._turn_is_due:
            return
        if self.rng.random() < self.world.plan.batching:
            self._turn_is_due = True
            self.world.schedule(self.rng.random() * 0.005, self.run, self._turn)
        else:
            self._turn()

    def _turn(self) -> None:
        self._turn_is_due = False
        peers, self._peer_inbox = self._peer_inbox, []
        requests, self._request_inbox = self._request_inbox, []
        if peers:
            self.port.receive(peers)
        if requests:
            self._service.on_requests(requests)

    def _send_replies(self, replies: list[tuple[Any, int, bool, Any]]) -> None:
        if self.dead:
            raise Crash
        for client, id, ok, result in replies:
            self.world.network.carry(self.id, client.name, client.receive, id, ok, result)

    # -- for the trace ---------------------------------------------------------------------------------------

    @property
    def machine(self) -> KVService:
        """The state machine."""
        return self._service

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
