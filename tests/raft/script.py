"""A small language to tell a cluster of cores what happens to it, for golden traces.

A script is lines. `# …` is for the reader, `> …` is a command; what happened follows it, line by line
(see trace.py), up to the next command. Nodes are n1, n2, …. A command after `quiet` says nothing.

    nodes N [option=value …]     N nodes, all voters, up, in term 0; options as in raftkv.raft.types.Options
    log nX TERMS [term=T]        nX has always had a log of these terms, as `1*3 4*2 5`; or an older copy of its disk
    timeout nX                   nX's longest election timeout passes, on its clock only
    heartbeat nX                 nX's heartbeat interval passes, on its clock only
    elapse SECONDS [nX …]        time passes for these, or for all that are up
    found nX                     nX, whose disk is empty, begins a cluster of itself that waits for others
    propose nX WORD …            a batch of proposals
    read nX NAME                 a linearizable read
    join nX                      a new server, with an empty disk, knows of nobody
    change nX add=nY promote=nY remove=nZ …   an operator asks for a change of the members
    transfer nX [nY]             nX hands its leadership to nY, or to whoever holds most
    snapshot nX                  its state machine's snapshot becomes durable, and its log is compacted
    slow nX / fast nX            its disk writes nothing until told to; writes at once
    write nX                     its slow disk writes what is first in its queue
    damage nX                    the next snapshot that it receives whole turns out damaged
    deliver nX [nY]              what is on the wire to nX (from nY) arrives, in its order
    lose nX [nY]                 … is lost
    cut nX [nY] / heal           what is sent between nX and nY (all others) is lost, until healed
    crash nX / start nX          its power goes; brought up again from its disk
    copy nX nY                   nY, which is down, is a server on a copy of the disk of nX as it is now
    restore nX nY                nX, which is down, gets that disk of nY
    meet nX nY                   nX and nY say hello to each other; who is refused is cut off
    stabilize                    all messages arrive, all disks but slow ones write, until all is done
    status [nX]                  where nodes are, and what leaders know of others
"""

from __future__ import annotations

from typing import Any, Callable

from raftkv.errors import ProtocolError, RaftKVError
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration, MemberRecord
from raftkv.raft.core import Raft
from raftkv.raft.types import HardState, Options, Role

from tests.raft.cluster import Cluster, Member
from tests.raft.harness import entries
from tests.raft.trace import format_configuration, format_log, format_progress, format_raft


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
        return [] if quiet else list(self._lines)

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "a script begins with `nodes`"
        return self._cluster

    def _member(self, node: str) -> Member:
        assert _id(node) in self.cluster.members, f"{node} is down"
        return self.cluster.members[_id(node)]

    # -- commands ----------------------------------------------------------------------------------

    def _do_nodes(self, count: str, *options: str) -> None:
        settings: dict[str, Any] = {}
        for option in options:
            name, value = option.split("=")
            settings[name] = type(getattr(Options(), name))(value)
        self._cluster = Cluster(int(count), Options(**settings), self._lines.append)

    def _do_log(self, node: str, *words: str) -> None:
        terms: list[int] = []
        term = None
        for word in words:
            if word.startswith("term="):
                term = int(word[5:])
            else:
                of, _, times = word.partition("*")
                terms += [int(of)] * int(times or 1)
        self.cluster.replace_disk(_id(node), HardState(terms[-1] if term is None else term), entries(terms))
        self.cluster.start(_id(node))

    def _do_timeout(self, node: str) -> None:
        self._member(node).tick(2 * self.cluster.options.election_timeout_s)

    def _do_heartbeat(self, node: str) -> None:
        self._member(node).tick(self.cluster.options.heartbeat_interval_s)

    def _do_elapse(self, seconds: str, *nodes: str) -> None:
        for member in [self._member(node) for node in nodes] or list(self.cluster.members.values()):
            member.tick(float(seconds))

    def _do_found(self, node: str) -> None:
        alone = Configuration((_id(node),), cluster_id=_id(node), founding=True)
        self._member(node).raft.found(alone)
        self._member(node).collect()

    def _do_propose(self, node: str, *commands: str) -> None:
        self._try(node, lambda raft: raft.propose(commands))

    def _do_read(self, node: str, name: str) -> None:
        self._try(node, lambda raft: raft.read_index(name))

    def _try(self, node: str, what: Callable[[Raft], Any]) -> None:
        try:
            what(self._member(node).raft)
        except RaftKVError as error:
            self._lines.append(f"refused: {error}")
        self._member(node).collect()

    def _do_join(self, node: str) -> None:
        self.cluster.join(_id(node))

    def _do_change(self, node: str, *words: str) -> None:
        wanted: dict[str, tuple[Any, ...]] = {}
        for word in words:
            name, _, of = word.partition("=")
            what = MemberRecord(_id(of), _id(of)) if name == "add" else _id(of)
            wanted[name] = (*wanted.get(name, ()), what)
        self._try(node, lambda raft: raft.propose_configuration(Change(**wanted)))

    def _do_transfer(self, node: str, to: str = "") -> None:
        self._try(node, lambda raft: raft.transfer_leadership(_id(to) if to else None))

    def _do_copy(self, node: str, other: str) -> None:
        self.cluster.copy(_id(node), _id(other))

    def _do_restore(self, node: str, copy: str) -> None:
        self.cluster.restore(_id(node), _id(copy))

    def _do_meet(self, one: str, other: str) -> None:
        for node, caller in ((one, other), (other, one)):
            try:
                self._member(node).meet(self._member(caller))
            except ProtocolError as error:
                self._lines.append(f"{node} refuses {caller}: {error}")
                self._do_cut(one, other)

    def _do_snapshot(self, node: str) -> None:
        self._member(node).snapshot()

    def _do_slow(self, node: str) -> None:
        self._member(node).slow = True

    def _do_fast(self, node: str) -> None:
        self._member(node).slow = False
        self._member(node).collect()

    def _do_write(self, node: str) -> None:
        self._member(node).write()

    def _do_damage(self, node: str) -> None:
        self._member(node).damages_next = True

    def _do_deliver(self, to: str, sender: str = "") -> None:
        for message in self._on_the_wire(to, sender):
            self.cluster.deliver(self.cluster.wire.index(message))

    def _do_lose(self, to: str, sender: str = "") -> None:
        for message in self._on_the_wire(to, sender):
            self.cluster.wire.remove(message)

    def _on_the_wire(self, to: str, sender: str) -> list[Any]:
        senders = [_id(sender)] if sender else self.cluster.ids
        return [each for each in self.cluster.wire if each.to == _id(to) and each.sender in senders]

    def _do_cut(self, node: str, *others: str) -> None:
        ids = [_id(other) for other in others] or [id for id in self.cluster.ids if id != _id(node)]
        for other in ids:
            self.cluster.cut |= {(_id(node), other), (other, _id(node))}

    def _do_heal(self) -> None:
        self.cluster.cut.clear()

    def _do_crash(self, node: str) -> None:
        self.cluster.crash(_id(node))

    def _do_start(self, node: str) -> None:
        self.cluster.start(_id(node))

    def _do_stabilize(self) -> None:
        for _ in range(10_000):
            if not self.cluster.wire:
                return
            self.cluster.deliver(0)
        raise AssertionError("the cluster never falls silent")

    def _do_status(self, *nodes: str) -> None:
        for id in [_id(node) for node in nodes] or self.cluster.ids:
            if id not in self.cluster.members:
                self._lines.append(f"n{id} is down")
                continue
            raft = self.cluster.members[id].raft
            self._lines.append(f"{format_raft(raft)} {format_log(raft)}{format_configuration(raft)}")
            if raft.role is Role.LEADER:
                self._lines += [
                    f"    {format_progress(peer, progress)}"
                    for peer, progress in sorted(raft.progress.items())
                ]


def _id(node: str) -> int:
    assert node[0] == "n", f"{node} is not a node: write n1, n2, …"
    return int(node[1:])
