"""Operator: who looks after the members by hand. It wants some machines as the members, makes one change after the
other until they are, and does what the servers' lines tell people to do."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable

from raftkv.errors import InvalidChangeError, NotLeaderError
from raftkv.node.admin import MemberAdmin
from raftkv.node.node import View
from raftkv.raft.configuration import Configuration
from raftkv.raft.quorum import VoteResult, vote_result

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World

EVERY_S = 0.3


class Operator:
    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(f"{world.plan.seed}/operator")
        self._again()

    @property
    def hosts(self) -> list[Host]:
        """The machines that it looks after."""
        return [host for host in self._world.hosts.values() if host.in_use]

    # -- what it may do --------------------------------------------------------------------------------------

    def may_lose(self, victim: Host | None = None, *older: Configuration) -> bool:
        """Would a majority of whole disks be left without the victim's? In each configuration that may count: those that
        machines know, `older`, and both when all that is unwanted has left or the learners are voters. A disk is not
        whole while an older copy of it is in use, for that copy votes. False until everybody took part in the founding."""
        hosts = [host for host in self.hosts if not host.is_clone]
        if not all(host.has_joined for host in hosts if host.is_founder):
            return False
        copied = {host.uid for host in self.hosts if host.old_copy_until is not None}
        left = {
            host.uid: True
            for host in hosts
            if host is not victim and host.is_whole and host.uid not in copied
        }
        current = [host for host in hosts if not host.has_left and host.old_copy_until is None]
        known = {*older, *(each for host in current for each in host.configurations)}
        unwanted = {host.uid for host in hosts if not host.wanted}
        known |= {_without(configuration, unwanted) for configuration in known}
        known |= {_promoted(configuration) for configuration in known}
        known = {configuration for configuration in known if configuration.voters}
        return bool(known) and all(vote_result(each, left) is VoteResult.WON for each in known)

    def may_do_without(self, host: Host) -> bool:
        """Decides to remove `host`, if enough are left."""
        host.wanted = False
        if any(each.has_joined for each in self._world.members) and self.may_lose():
            return True
        host.wanted = True
        return False

    def new_machine(self) -> Host | None:
        """One that is not in use."""
        return next(
            (host for host in self._world.hosts.values() if not host.in_use and not host.is_clone), None
        )

    @property
    def knows_all_addresses(self) -> bool:
        """Does everybody know where all members are? Only then may one of them move."""
        members = [host for host in self.hosts if not (host.is_clone or host.has_left)]
        return all(
            bool(host.configurations)
            and all(_has_address(known, member) for known in host.configurations for member in members)
            for host in members
        )

    # -- what it does ----------------------------------------------------------------------------------------

    def _again(self) -> None:
        self._world.schedule(EVERY_S, self._look)

    def _look(self) -> None:
        for host in self.hosts:
            process = host.process
            if process is not None and process.leads and not process.paused:
                process.run(self._look_after, process)
            if host.old_copy_until is not None and self._world.now >= host.old_copy_until:
                if host.is_clone:
                    host.retire()
                elif self.may_lose(host):  # else it was promoted since, and is needed
                    host.wipe()
        self._again()

    def _look_after(self, process: Process) -> None:
        """By way of the leader."""
        view = process.member.node.view()
        for host in self.hosts:
            if host.uid in view.committed.left:
                host.has_left = True
                if host.wanted:
                    self._world.say(f"operator: n{host.id} was removed, and gets an empty disk")
                    host.is_founder = False
                    host.wipe()
                elif self._world.calm or self._rng.random() < 0.2:  # else it goes on, and must not disturb
                    host.retire()
            elif self._was_never_added(host, view) and self.may_lose(host):
                self._world.say(f"operator: n{host.id} was never added, and gets an empty disk")
                host.wipe()
            elif not host.wanted and host.uid not in view.configuration.members and _is_empty(host):
                host.retire()  # it lost its disk, too
        if not view.is_changing and not view.configuration.founding:
            for change in self._changes(view, process.member.admin):
                with contextlib.suppress(InvalidChangeError, NotLeaderError):
                    change()
                    return

    def _was_never_added(self, host: Host, view: View) -> bool:
        """Has a leader begun to add it, and another one does not know of that? (The leader says so in its log.)"""
        if host.process is None or host.is_clone or view.is_changing or view.configuration.founding:
            return False
        return host.wanted and not _is_empty(host) and host.uid not in view.configuration.members

    def _changes(self, view: View, admin: MemberAdmin) -> Iterator[Callable[[], object]]:
        """What to try, until one can be begun."""
        say, count = self._world.say, self._world.count
        wanted = {host.id: host for host in self._world.members}
        records = [r for r in view.configuration.records if view.configuration.with_id(r.id) == r]
        missing = [host for id, host in wanted.items() if view.configuration.with_id(id) is None]
        unwanted = [record.id for record in records if record.id not in wanted]
        for host in missing:

            def add(host: Host = host) -> None:
                admin.add(host.id, f"client{host.id}:1", host.address, learner=host.held)
                say(f"operator: n{host.id} is added")
                count["members added"] += 1

            yield add
        for record in records:
            if record.held and record.id in wanted:
                for old in unwanted:
                    yield lambda old=old, new=record.id: (
                        admin.swap(old, new),
                        say(f"operator: {new} for {old}"),
                    )
                yield lambda new=record.id: (admin.promote(new), say(f"operator: {new} is promoted"))
        if not missing or self._rng.random() < 0.5:
            for id in unwanted:

                def remove(id: int = id) -> None:
                    admin.remove(id)
                    say(f"operator: n{id} is removed")
                    count["members removed"] += 1

                yield remove


def _is_empty(host: Host) -> bool:
    return host.process is not None and not host.process.raft.configuration.voters


def _promoted(configuration: Configuration) -> Configuration:
    """When all learners are voters."""
    voters = tuple(sorted({*configuration.voters, *configuration.learners}))
    return configuration._replace(voters=voters, learners=())


def _without(configuration: Configuration, gone: set[int]) -> Configuration:
    voters = tuple(uid for uid in configuration.voters if uid not in gone)
    return configuration._replace(
        voters=voters, outgoing=tuple(uid for uid in configuration.outgoing if uid not in gone)
    )


def _has_address(configuration: Configuration, host: Host) -> bool:
    record = configuration.record(host.uid)
    return record is not None and record.peer_address == host.address
