"""RaftCluster: what the course's lab 2 tests do to a cluster, under the names they have there.

The servers are real members, on simulated machines, that replicate a list of commands.

*Indexes.* A leader here begins its term with a no-op (paper, section 8), which takes an index of the log; the
course has none. So where the course speaks of the index of a command, these tests speak of its **position**:
its place among the commands in the log, the no-ops left out. Logs that agree up to an index agree up to a
position.

*Commits.* Counted is, as there, what a server has ever handed to its state machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from raftkv.errors import NotLeaderError
from raftkv.kvdb.snapshot_view import encode_record
from raftkv.node.interfaces import Consensus, RoleChange
from raftkv.raft.types import COMMAND, Entry

from tests.course.world import CourseCluster, Machine, Procedure, options_for
from tests.sim.process import Process

if TYPE_CHECKING:
    from tests.course.run import Run

ELECTION_S = 1.0  # the course's RaftElectionTimeout: time enough for an election, not Raft's own timeout
SNAPSHOT_INTERVAL = 10  # commands between two snapshots
ENTRY_BYTES = 48  # of one with a random number

#: (machine, position, command): one was applied.
Applied = Callable[[int, int, Any], None]


class Started(NamedTuple):
    """A leader has taken a command: it is its log's command number `position`, in `term`."""

    position: int
    term: int


class CommandList:
    """The state machine: all commands, in the order of the log. `index`: of the last entry applied."""

    def __init__(self, id: int, applied: Applied) -> None:
        self._id, self._applied = id, applied
        self.index = 0
        self.commands: list[Any] = []

    def apply(self, entries: list[Entry], contexts: list[Any]) -> None:
        for entry in entries:
            assert entry.index == self.index + 1, f"n{self._id} applied {entry} after {self.index}"
            self.index = entry.index
            if entry.kind == COMMAND:
                self._add(entry.data)

    def _add(self, command: Any) -> None:
        self.commands.append(command)
        self._applied(self._id, len(self.commands), command)

    def restore(self, records: Iterable[Any]) -> None:
        self.commands = []
        for index, commands in records:
            self.index = index
            for command in commands:
                self._add(command)

    def takes_long(self, entries: list[Entry]) -> bool:
        return False

    def snapshot_bytes(self) -> int:
        return 0

    def begin_snapshot(self) -> CommandList.View:
        return self.View([[self.index, list(self.commands)]])

    def encode_record(self, record: Any) -> bytes:
        return encode_record(record)

    def read(self, contexts: list[Any]) -> None:
        raise AssertionError("nobody reads in lab 2")

    def refuse(self, proposals: list[Any], reads: list[Any]) -> None:
        """Nobody waits for an answer."""

    def role_changed(self, change: RoleChange) -> None:
        """Asked for when it matters."""

    def replicated_by(self, consensus: Consensus) -> None:
        """It asks for nothing."""

    class View:
        def __init__(self, rows: list[Any]) -> None:
            self._rows = rows

        def next_chunk(self, n: int) -> list[Any]:
            chunk, self._rows = self._rows[:n], self._rows[n:]
            return chunk

        def close(self) -> None:
            """Nothing was lent."""


class RaftProcess(Process):
    """A server with a CommandList in place of the database."""

    def __init__(self, host: Machine, applied: Applied) -> None:
        self.list = CommandList(host.id, applied)
        super().__init__(host)

    def make_machine(self) -> CommandList:
        return self.list

    def position(self) -> int:
        """The position of the last entry of its log."""
        assert self.raft is not None
        log, applied = self.raft.log, self.list.index
        rest = log.slice(applied + 1, log.last_index)
        return len(self.list.commands) + sum(entry.kind == COMMAND for entry in rest)


class RaftCluster(CourseCluster):
    """`servers` servers, all started and connected. Their ids count from 1.

    `one_by_one`: a message carries one entry, whatever its size.
    """

    def __init__(
        self, run: Run, servers: int, *, unreliable: bool, snapshots: bool, one_by_one: bool
    ) -> None:
        options = options_for(SNAPSHOT_INTERVAL * ENTRY_BYTES if snapshots else -1)
        if one_by_one:
            options = dataclasses.replace(options, max_append_bytes=1)
        super().__init__(run, "raft", servers, options, self._make_process, unreliable)
        self.agreed: list[Any] = []  # the commands, as the first server applied them
        self._applied: dict[int, int] = dict.fromkeys(self.ids, 0)  # server -> how many it has ever applied
        self._next = 0  # whom one() asks first
        for id in self.ids:
            self.start_server(id)
            self.connect(id)

    def _make_process(self, machine: Machine) -> RaftProcess:
        return RaftProcess(machine, self._apply)

    def _apply(self, id: int, position: int, command: Any) -> None:
        if position > len(self.agreed):
            self.agreed.append(command)
        known = self.agreed[position - 1]
        assert known == command, f"n{id} applied {command} as command {position}, another applied {known}"
        self._applied[id] = max(self._applied[id], position)

    # -- what happens to servers ----------------------------------------------------------------------------

    def after(self, id: int, steps: int) -> int:
        """The server that many steps after `id`, round and round."""
        return (id - 1 + steps) % len(self.ids) + 1

    def start_server(self, id: int) -> None:
        """Start it, anew if it runs."""
        self.crash(id)
        self.world.hosts[id].start()

    def crash(self, id: int) -> None:
        self.disconnect(id)
        self.world.hosts[id].crash()

    def connect(self, *ids: int) -> None:
        for id in ids:
            self.network.groups[id] = 0
            self.world.say(f"n{id} is connected")

    def disconnect(self, *ids: int) -> None:
        for id in ids:
            self.network.groups[id] = None
            self.world.say(f"n{id} is cut off")

    def is_connected(self, id: int) -> bool:
        return self.network.groups[id] is not None

    def is_up(self, id: int) -> bool:
        return self.world.hosts[id].process is not None

    # -- looking --------------------------------------------------------------------------------------------

    def number(self) -> int:
        """Some command."""
        return self.rng.randrange(1 << 62)

    def chance(self, thousandths: int) -> bool:
        return self.rng.randrange(1000) < thousandths

    def get_state(self, id: int) -> tuple[int, bool]:
        """(term, whether it believes that it leads)."""
        process = self.world.hosts[id].process
        return process.raft.get_state() if process is not None and process.raft is not None else (0, False)

    def requests(self) -> int:
        """How many came to all servers, since the beginning."""
        return sum(self.network.requests.values())

    def committed(self, position: int) -> int:
        """How many servers have ever applied a command there."""
        return sum(applied >= position for applied in self._applied.values())

    def check_one_leader(self) -> int:
        """The leader of the newest term among the connected; there must be one within 5 s, and one a term."""
        for _ in range(10):
            self.sleep((450 + self.rng.randrange(100)) / 1000)
            leaders: dict[int, int] = {}
            for id in filter(self.is_connected, self.ids):
                term, leads = self.get_state(id)
                if leads:
                    assert term not in leaders, f"n{leaders[term]} and n{id} both lead term {term}"
                    leaders[term] = id
            if leaders:
                return leaders[max(leaders)]
        raise AssertionError("there should be a leader after 10 looks in 5 s, and there is none")

    def check_no_leader(self) -> None:
        leaders = [id for id in self.ids if self.is_connected(id) and self.get_state(id)[1]]
        assert not leaders, f"{leaders} believe that they lead, though they reach no majority"

    def check_terms(self) -> int:
        """The term, on which all connected servers must agree."""
        terms = {id: self.get_state(id)[0] for id in self.ids if self.is_connected(id)}
        assert len(set(terms.values())) == 1, f"the servers are in different terms: {terms}"
        return min(terms.values())

    # -- commands -------------------------------------------------------------------------------------------

    def start(self, id: int, command: Any) -> Started | None:
        """The original's Start. None if this server does not lead, or is down."""
        process = self.world.hosts[id].process
        started: list[Started] = []
        if isinstance(process, RaftProcess):
            process.run(self._propose, process, command, started)
        return started[0] if started else None

    @staticmethod
    def _propose(process: RaftProcess, command: Any, started: list[Started]) -> None:
        try:
            process.member.node.propose([command], [None])
        except NotLeaderError:
            return
        assert process.raft is not None
        started.append(Started(process.position(), process.raft.term))

    def wait(self, position: int, servers: int, term: int | None = None) -> Any:
        """Wait until so many have applied the command there, and return it; None if a new term began."""
        wait_s = 0.01
        for _ in range(30):
            if self.committed(position) >= servers:
                break
            self.sleep(wait_s)
            wait_s = min(2 * wait_s, 1.28)
            if term is not None and any(self.get_state(id)[0] > term for id in self.ids):
                return None
        count = self.committed(position)
        assert count >= servers, f"only {count} servers applied command {position}, and {servers} should have"
        return self.agreed[position - 1]

    def one(self, command: Any, servers: int, retry: bool) -> int:
        """Have so many servers agree on `command`, within 10 s. Returns its position. With `retry`, it may be
        started again when nothing came of it within 2 s."""
        return self.world.run(self.agreement(command, servers, retry))

    def agreement(self, command: Any, servers: int, retry: bool) -> Procedure:
        """one(), as a procedure to run beside the test."""
        world = self.world
        begun = world.now
        while world.now - begun < 10:
            started = self._start_anywhere(command)
            if started is None:
                yield 0.05
                continue
            since = world.now
            while world.now - since < 2:
                enough = self.committed(started.position) >= servers
                if enough and self.agreed[started.position - 1] == command:
                    return started.position
                yield 0.02
            assert retry, f"no agreement of {servers} servers on {command} within 2 s"
        raise AssertionError(f"no agreement of {servers} servers on {command} within 10 s")

    def _start_anywhere(self, command: Any) -> Started | None:
        for _ in self.ids:
            self._next = self._next % len(self.ids) + 1
            started = self.start(self._next, command) if self.is_connected(self._next) else None
            if started is not None:
                return started
        return None
