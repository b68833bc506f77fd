"""A small language to tell a cluster of cores what happens to it, for golden traces.

A script is lines. `# …` is for the reader, `> …` is a command; what happened follows it, line by line
(see trace.py), up to the next command. Nodes are n1, n2, …. A command after `quiet` says nothing.

    nodes N [option=value …]     N nodes, all voters, up, in term 0; options as in raftkv.raft.core.Options
    log nX TERMS [term=T]        nX has always had a log of these terms, as `1*3 4*2 5`
    timeout nX                   nX's longest election timeout passes, on its clock only
    heartbeat nX                 nX's heartbeat interval passes, on its clock only
    elapse SECONDS [nX …]        time passes for these, or for all that are up
    propose nX WORD …            a batch of proposals
    read nX NAME                 a linearizable read
    snapshot nX                  its state machine's snapshot becomes durable, and its log is compacted
    slow nX / fast nX            its disk writes nothing until told to; writes at once
    write nX                     its slow disk writes what is first in its queue
    damage nX                    the next snapshot that it receives whole turns out damaged
    deliver nX [nY]              what is on the wire to nX (from nY) arrives, in its order
    lose nX [nY]                 … is lost
    cut nX [nY] / heal           what is sent between nX and nY (all others) is lost, until healed
    crash nX / start nX          kill -9; brought up again from its disk
    wipe nX                      it lost its disk and rejoins (start it afterwards)
    stabilize                    all messages arrive, all disks but slow ones write, until all is done
    status [nX]                  where nodes are, and what leaders know of others
"""

from __future__ import annotations

from typing import Any

from raftkv.raft.log import RaftLog
from raftkv.raft.types import Options, Role

from tests.raft.cluster import Cluster
from tests.raft.harness import empty_snapshot, entries
from tests.raft.trace import format_log, format_progress, format_raft


def play(text: str) -> str:
    """The script with what happened at each command; what `text` said about that is left out."""
    script, lines = Script(), []
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            lines += script.command(line[2:])
        elif not line or line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"


class Script:
    """One run of a script."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._slow: set = set()
        self._cluster: Cluster | None = None

    def command(self, line: str) -> list[str]:
        """Do one command. Returns what happened."""
        words = line.split()
        quiet = words[0] == "quiet"
        name, *args = words[quiet:]
        method = getattr(self, f"_do_{name}", None)
        assert method is not None, f"no such command: {line}"
        self._lines.clear()
        method(*args)
        self._work()
        return [] if quiet else list(self._lines)

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "a script begins with `nodes`"
        return self._cluster

    def _work(self) -> None:
        """Disks that are not slow write, and state machines apply, at once."""
        for member, _ in self.cluster.live():
            while member.disk_queue and member.id not in self._slow or member.apply_queue:
                if member.disk_queue and member.id not in self._slow:
                    self.cluster.write(member.id)
                else:
                    self.cluster.apply(member.id)

    # -- commands ----------------------------------------------------------------------------------

    def _do_nodes(self, count: str, *options: str) -> None:
        settings: dict[str, Any] = {}
        for option in options:
            name, value = option.split("=")
            settings[name] = type(getattr(Options(), name))(value)
        self._cluster = Cluster(int(count), options=Options(**settings), say=self._lines.append)

    def _do_log(self, node: str, *words: str) -> None:
        terms: list[int] = []
        term = None
        for word in words:
            if word.startswith("term="):
                term = int(word[5:])
            else:
                of, _, times = word.partition("*")
                terms += [int(of)] * int(times or 1)
        log = RaftLog(empty_snapshot(self.cluster.voters), entries(terms))
        self.cluster.make_log(_id(node), log, terms[-1] if term is None else term)

    def _do_timeout(self, node: str) -> None:
        self.cluster.tick(_id(node), 2 * self.cluster.options.election_timeout_s)

    def _do_heartbeat(self, node: str) -> None:
        self.cluster.tick(_id(node), self.cluster.options.heartbeat_interval_s)

    def _do_elapse(self, seconds: str, *nodes: str) -> None:
        for id in [_id(node) for node in nodes] or [member.id for member, _ in self.cluster.live()]:
            self.cluster.tick(id, float(seconds))

    def _do_propose(self, node: str, *commands: str) -> None:
        self.cluster.propose(_id(node), *commands)

    def _do_read(self, node: str, name: str) -> None:
        self.cluster.read(_id(node), name)

    def _do_snapshot(self, node: str) -> None:
        assert self.cluster.begin_snapshot(_id(node)), f"{node} has nothing new to write"
        self.cluster.end_snapshot(_id(node))

    def _do_slow(self, node: str) -> None:
        self._slow.add(_id(node))

    def _do_fast(self, node: str) -> None:
        self._slow.remove(_id(node))

    def _do_write(self, node: str) -> None:
        self.cluster.write(_id(node))

    def _do_damage(self, node: str) -> None:
        self.cluster.members[_id(node)].disk.damage_next = True

    def _do_deliver(self, to: str, sender: str = "") -> None:
        for message in self._on_the_wire(to, sender):
            self.cluster.deliver(self.cluster.wire.index(message))
            self._work()

    def _do_lose(self, to: str, sender: str = "") -> None:
        for message in self._on_the_wire(to, sender):
            self.cluster.wire.remove(message)

    def _on_the_wire(self, to: str, sender: str) -> list[Any]:
        return [
            message
            for message in self.cluster.wire
            if message.to == _id(to) and (not sender or message.sender == _id(sender))
        ]

    def _do_cut(self, node: str, *others: str) -> None:
        ids = [_id(other) for other in others] or [id for id in self.cluster.voters if id != _id(node)]
        for other in ids:
            self.cluster.cut |= {(_id(node), other), (other, _id(node))}

    def _do_heal(self) -> None:
        self.cluster.cut.clear()

    def _do_crash(self, node: str) -> None:
        self.cluster.crash(_id(node))

    def _do_start(self, node: str) -> None:
        self.cluster.start(_id(node))

    def _do_wipe(self, node: str) -> None:
        self.cluster.wipe(_id(node))

    def _do_stabilize(self) -> None:
        for _ in range(10_000):
            self._work()
            if not self.cluster.wire:
                return
            self.cluster.deliver(0)
        raise AssertionError("the cluster never falls silent")

    def _do_status(self, *nodes: str) -> None:
        for id in [_id(node) for node in nodes] or self.cluster.voters:
            raft = self.cluster.members[id].raft
            if raft is None:
                self._lines.append(f"n{id} is down")
                continue
            self._lines.append(f"{format_raft(raft)} {format_log(raft)}")
            if raft.role is Role.LEADER:
                self._lines += [
                    f"    {format_progress(peer, progress)}"
                    for peer, progress in sorted(raft.progress.items())
                ]


def _id(node: str) -> int:
    assert node[0] == "n", f"{node} is not a node: write n1, n2, …"
    return int(node[1:])
