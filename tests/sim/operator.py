"""Operator: who looks after the members by hand. It does what the servers' lines tell people to do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from raftkv.errors import InvalidChangeError, NotLeaderError
from raftkv.node.upkeep import newcomers
from raftkv.raft.changes import Change

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.world import World

EVERY_S = 0.3


class Operator:
    """Adds a server with an empty disk whose id nobody has, and gives an empty disk to one that was removed, or
    that runs on an older copy."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._again()

    def _again(self) -> None:
        self._world.schedule(EVERY_S, self._look)

    def _look(self) -> None:
        for host in self._world.hosts.values():
            process = host.process
            if process is not None and process.leads and not process.paused:
                process.run(self._look_after, process)
        for host in self._world.hosts.values():
            if host.old_copy_until is not None and self._world.now >= host.old_copy_until:
                host.wipe()
        self._again()

    def _look_after(self, process: Process) -> None:
        node = process.member.node
        view = node.view()
        for host in self._world.hosts.values():
            if host.uid in view.committed.left:
                self._world.say(f"operator: n{host.id} was removed, and gets an empty disk")
                host.wipe()
        if view.is_changing or view.configuration.founding:
            return
        for hello in newcomers(view.configuration, process.port.met()):
            if view.configuration.with_id(hello.id) is None:
                self._world.say(f"operator: n{hello.id} is added")
                with contextlib.suppress(InvalidChangeError, NotLeaderError):
                    node.change(Change(add=(hello.record(),)))
                    self._world.count["members added"] += 1
                return
