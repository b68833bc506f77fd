"""KVCluster: what the course's lab 3 tests do to a cluster, under the names they have there (in snake case).

The servers are whole ones (KVService on a member, on simulated machines), the clients CourseClerks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tests.course.clerk import CourseClerk
from tests.course.world import CourseCluster, Pending, options_for
from tests.linearizability.checker import check
from tests.sim.disk import Crash
from tests.sim.process import Process
from tests.sim.record import Record

if TYPE_CHECKING:
    from tests.course.run import Run


class KVProcess(Process):
    """A server that answers CourseClerks."""

    def _send_replies(self, replies: list[tuple[Any, int, bool, Any]]) -> None:
        if self.dead:
            raise Crash
        for clerk, request, ok, result in replies:
            clerk.carry_reply(self.id, request, ok, result)


class KVCluster(CourseCluster):
    """`servers` servers, started and connected, with ids from 1 on. `max_raft_state`: bytes, or -1."""

    def __init__(self, run: Run, servers: int, *, unreliable: bool, max_raft_state: int) -> None:
        super().__init__(run, "kv", servers, options_for(max_raft_state), KVProcess, unreliable)
        self.record = Record(lambda: self.world.now)
        self._clerks = 0
        self.connect_all()
        for id in self.ids:
            self.start_server(id)

    # -- what happens to servers ----------------------------------------------------------------------------

    def start_server(self, id: int) -> None:
        self.world.hosts[id].start()

    def shutdown_server(self, id: int) -> None:
        """It loses its power."""
        self.world.hosts[id].crash()

    def connect_all(self) -> None:
        self.partition(self.ids)

    def partition(self, *groups: Iterable[int]) -> None:
        """The servers of each group reach each other, and no others. Clients still reach all of theirs."""
        for number, group in enumerate(groups):
            self.world.network.groups.update(dict.fromkeys(group, number))
        self.world.say(" | ".join(str(sorted(group)) for group in groups))

    def leader(self) -> int:
        """A server that believes that it leads."""
        for id, host in self.world.hosts.items():
            raft = host.process and host.process.raft
            if raft is not None and raft.get_state()[1]:
                return id
        raise AssertionError("no server leads")

    # -- clients --------------------------------------------------------------------------------------------

    def make_client(self, servers: Iterable[int] | None = None) -> CourseClerk:
        """One that reaches all, or only `servers`."""
        self._clerks += 1
        return CourseClerk(
            self.world, f"c{self._clerks}", self.ids if servers is None else servers, self.record
        )

    def do(self, call: Pending) -> Any:
        """Wait for the call's result."""
        self.world.wait_for(call)
        return call.result

    def check(self, clerk: CourseClerk, key: str, value: str) -> None:
        found = self.do(clerk.get(key))
        assert found == value, f"{key} is {found!r} instead of {value!r}"

    # -- looking --------------------------------------------------------------------------------------------

    def snapshot_size(self) -> int:
        """Bytes of the largest snapshot."""
        return max(host.snapshot_size() for host in self.world.hosts.values())

    def end(self) -> None:
        """And the history is linearizable."""
        super().end()
        result = check(self.record.operations)
        assert result.verdict == "ok", str(result)
