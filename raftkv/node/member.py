"""Member: one process's part in the cluster. It connects the disk, the network and the node, and looks after the
members: who is met, whom to be connected with, what a leader should change.

    empty disk ──founding, or a leader that makes it a member──▶ member ──committed removal──▶ left

What an empty disk does is what any follower does: it waits for a leader. Nobody has its uid in a configuration, so
nobody asks or counts it.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Mapping
from typing import Any, Callable

from raftkv.config import RaftOptions
from raftkv.errors import (
    DamagedDataError,
    InvalidChangeError,
    NoRoomError,
    NotLeaderError,
    ProtocolError,
)
from raftkv.node.admin import MemberAdmin
from raftkv.node.founding import bring_in, difference, first_configuration, founders_text, why_not
from raftkv.node.hello import VERSION, Hello, check_called, check_hello
from raftkv.node.ini_file import differences
from raftkv.node.interfaces import Refusal, StateMachine
from raftkv.node.lives import check_life, life_of
from raftkv.node.network import PeerNetwork
from raftkv.node.node import RaftNode
from raftkv.node.profile import Profile
from raftkv.node.threads import Threads
from raftkv.node.upkeep import due_change, outsiders, what_is_missing, why_it_waits
from raftkv.node.view import View
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import Message
from raftkv.raft.quorum import is_majority
from raftkv.raft.types import Options, Snapshot
from raftkv.storage.persister import Persister

log = logging.getLogger("raftkv.raft")

LOOK_INTERVALS = 5  # of heartbeats, between looks at the members
LASTS_S = 3.0  # after that, a problem that was not noticed again is over
#: Without a leader for so long, the addresses of the ini file are tried, too, and the reason is said.
ALONE_S = 3.0


class Member:
    """The disk, the network and the node of one server. Thread-safe. `admin`: what an operator can ask of it.

    `machine` is what is replicated. `threads` are this member's own; it stops them. `relieve`: see LogWriter.
    A simulator gives `rng`, too.
    """

    def __init__(
        self,
        profile: Profile,
        persister: Persister,
        network: PeerNetwork,
        machine: StateMachine,
        options: RaftOptions,
        threads: Threads,
        *,
        relieve: Callable[[Any], None] = lambda thread: None,
        rng: random.Random | None = None,
    ) -> None:
        self.profile = profile
        self._persister, self._network, self._threads = persister, network, threads
        self._replace_after_s = options.replace_after_ms / 1000
        self._look_every_s = LOOK_INTERVALS * options.heartbeat_interval_ms / 1000
        self._look_at = self._led_at = threads.clock()
        self._has_gathered = False  # has it been connected with a majority since it started?
        self._founders = founders_text(profile.founders)
        self._looked_at: Configuration | None = None  # the members at the last look
        self._compared_with: Configuration | None = None  # the members that the file was compared with last,
        self._differences: list[tuple[int, str]] = []  # and what came of it
        self._meeting = threads.lock()  # held by who makes durable what is known of the others
        self.uid = persister.identity.uid
        raft = Raft(
            self.uid,
            RaftLog(persister.snapshot or Snapshot(0, 0, Configuration()), persister.entries),
            persister.hard_state,
            rng=rng or random.Random(),
            now=threads.clock(),
            options=_core_options(options),
        )
        self.node = RaftNode(
            raft,
            persister,
            network,
            machine,
            threads,
            id=profile.id,
            relieve=relieve,
            on_tick=self._look_if_due,
            max_raft_state=options.max_raft_state,
            snapshot_growth=options.snapshot_growth_percent / 100,
        )
        machine.replicated_by(self.node)
        self.admin = MemberAdmin(self.node, self.uid, network, options.election_timeout_ms / 1000)

    def start(self) -> None:
        """Load the state machine, and begin to take part."""
        self._persister.forget_recovered()
        self._network.start(self)
        self.node.start()
        self._look()

    def hand_over(self) -> None:
        """See RaftNode.hand_over()."""
        self.node.hand_over()

    def stop(self) -> bool:
        """Returns whether all has ended; see RaftNode.stop."""
        return self.node.stop()

    # -- what the network asks of it (network.PeerHandler) ---------------------------------------------------

    def on_messages(self, messages: list[Message]) -> list[Refusal]:
        return self.node.step(messages)

    def on_lost_contact(self, peer: int) -> None:
        self.node.lost_contact(peer)

    def on_snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        self.node.snapshot_unreadable(peer, snapshot)

    def on_removed(self, sentence: str) -> None:
        self.node.note_removal()

    def make_hello(self) -> Hello:
        return self._hello(self.node.view().configuration)

    def is_remembered(self, hello: Hello) -> bool:
        """Is all durable that on_hello(hello) would have to remember? Else that waits for the disk."""
        known = self._persister.identity.met.get(hello.uid)
        return known is not None and known == (hello.starts, *hello.tokens[-1:])

    def on_hello(self, to: int, hello: Hello) -> Hello:
        view = self.node.view()
        own = self._hello(view.configuration)
        self._meet(hello, own, view)
        check_called(to, hello, own)
        self._look_at = 0.0
        return own

    def on_hello_reply(self, hello: Hello) -> None:
        view = self.node.view()
        self._meet(hello, self._hello(view.configuration), view)
        self._look_at = 0.0

    def _meet(self, hello: Hello, own: Hello, view: View) -> None:
        """Raises ProtocolError if the other server is not to be talked to."""
        check_hello(hello, own, view.committed)
        if self.is_remembered(hello):
            return
        with self._meeting:
            # With an empty disk it has no part yet: should it have met a copy first, it is not to refuse the real one.
            # (Asked anew: it may have waited for the disk.)
            is_empty = not self.node.configuration.cluster_id
            check_life(hello, None if is_empty else self._persister.identity.met.get(hello.uid))
            try:
                self._persister.remember(hello.uid, life_of(hello))
            except NoRoomError as error:
                raise ProtocolError(f"node {hello.id} cannot be remembered: {error}") from None

    def _hello(self, configuration: Configuration) -> Hello:
        profile, identity = self.profile, self._persister.identity
        return Hello(
            VERSION,
            profile.cluster,
            configuration.cluster_id,
            profile.id,
            identity.uid,
            profile.client_address,
            profile.peer_address,
            profile.http_address,
            identity.starts,
            identity.tokens,
            self._founders,
            tuple(record.peer_address for record in configuration.records if record.peer_address),
        )

    # -- looking after the members, on the ticker ------------------------------------------------------------

    def _look_if_due(self) -> None:
        """Now and then, and when the members have changed, or somebody was met."""
        if self._threads.clock() >= self._look_at or self.node.configuration is not self._looked_at:
            self._look()

    def _look(self) -> None:
        view = self.node.view()
        if view.lost is not None:
            self._threads.fail(self._lost_disk(view.lost))
            return
        now, configuration = self._threads.clock(), view.configuration
        self._looked_at = configuration
        if view.leader is not None:
            self._led_at = now
        is_settled = bool(configuration.voters) and not configuration.founding
        self._look_at = now + self._look_every_s if is_settled else now
        own, met = self._hello(configuration), self._network.met()
        self._network.follow(self._addresses(view, met, now))
        if not self._has_gathered and is_majority(configuration, (self.uid, *met)):
            self._has_gathered = True
            self.node.gathered()
        for uid in met:
            if uid in view.committed.left:
                self._network.drop(uid, "the disk of this server was removed from the cluster")
        if view.committed is not self._compared_with:
            self._compare_file(view.committed)
        for id, sentence in self._differences:
            self._network.problems.set(("file", id), sentence, LASTS_S)
        self._say_what_is_missing(view, met, now)
        if not configuration.voters:
            self._found(own, met, now)
        elif view.leads and not view.is_changing:
            self._keep_up(view, own, met)

    def _compare_file(self, committed: Configuration) -> None:
        """What the file and the new members differ in; what they differed in before, and do no more, is over."""
        self._compared_with = committed
        before = {id for id, _ in self._differences}
        is_founded = bool(committed.voters) and not committed.founding
        self._differences = [*differences(self.profile, committed)] if is_founded else []
        for id in before - {id for id, _ in self._differences}:
            self._network.problems.clear(("file", id))
        for uid in committed.members:
            self._network.problems.clear(("outsider", uid))

    def _say_what_is_missing(self, view: View, met: Mapping[int, Hello], now: float) -> None:
        """To an operator who waits for a leader. But not on a disk that others refuse: a cluster must not be made of
        that."""
        problems = self._network.problems
        if view.leader is not None:
            problems.clear("missing")
            problems.clear("founding")
        elif view.configuration.voters and now >= self._led_at + ALONE_S and not self._network.is_refused:
            missing = what_is_missing(view.configuration, self.uid, met)
            if missing is not None:
                problems.set("missing", missing, LASTS_S)

    def _lost_disk(self, what: str) -> DamagedDataError:
        return DamagedDataError(
            f"the data folder {self._persister.folder} has lost something that this server had acknowledged, or is an "
            f"older copy: {what}. Move that folder away and start this server with an empty one: it will catch up "
            "from the others"
        )

    def _addresses(self, view: View, met: Mapping[int, Hello], now: float) -> dict[str, int]:
        """Whom to be connected with: address -> id. A server that is met is where it says."""
        configuration, profile = view.configuration, self.profile
        wanted: dict[str, int] = {}
        if not configuration.voters or now >= self._led_at + ALONE_S:
            wanted.update(dict.fromkeys(profile.hints, 0))
            wanted.update(dict.fromkeys((address for hello in met.values() for address in hello.members), 0))
            wanted.update({address: id for id, address in profile.founders.items()})
        wanted.update(dict.fromkeys(self._network.called(), 0))
        for record in configuration.records:
            if record.peer_address and record.uid not in met:
                wanted[record.peer_address] = record.id
        wanted.update({hello.peer_address: hello.id for hello in met.values()})
        wanted.pop(profile.peer_address, None)
        return wanted

    def _found(self, own: Hello, met: Mapping[int, Hello], now: float) -> None:
        """Found the cluster, if that is this server's to do and all the others are there."""
        for hello in met.values():
            other_list = difference(hello.id, hello.founders, own.founders)
            if hello.is_empty and hello.founders and own.founders and other_list is not None:
                self._network.problems.set(("founders", hello.uid), other_list, LASTS_S)
        reason = why_not(own, met.values())
        if reason is None:
            log.info("founds a new cluster of %s", self._founders)
            self.node.found(first_configuration(own))
        elif now >= self._led_at + ALONE_S:
            self._network.problems.set("founding", reason, LASTS_S)

    def _keep_up(self, view: View, own: Hello, met: Mapping[int, Hello]) -> None:
        """What a leader changes by itself."""
        configuration = view.configuration
        if configuration.founding:
            if why_not(own, met.values()) is None:
                self._change(bring_in(own, met.values()))
            return
        if configuration.recovered and len(configuration.all_voters) == 1:
            self._network.problems.set("recovered", _recovered_text(configuration), LASTS_S)
        due = due_change(configuration, {**met, own.uid: own}, view.silent_s, self._replace_after_s)
        if due is not None:
            self._change(due)
        for hello in outsiders(configuration, met):
            self._network.problems.set(("outsider", hello.uid), why_it_waits(configuration, hello), LASTS_S)

    def _change(self, change: Change) -> None:
        log.info("the members change: %s", _describe(change))
        with contextlib.suppress(NotLeaderError, InvalidChangeError):
            self.admin.change_by_itself(change)


def _recovered_text(configuration: Configuration) -> str:
    return (
        f"recovered from this disk alone, at entry {configuration.recovered}: what the old cluster acknowledged without it "
        "is lost, and this server is the only one: add others"
    )


def _describe(change: Change) -> str:
    words = [f"node {record.id} at {record.peer_address} joins" for record in change.add]
    words += [f"the disk {uid} leaves" for uid in change.remove]
    words += [f"node {record.id} is at {record.peer_address}" for record in change.update]
    return "; ".join(words)


def _core_options(options: RaftOptions) -> Options:
    return Options(
        election_timeout_s=options.election_timeout_ms / 1000,
        heartbeat_interval_s=options.heartbeat_interval_ms / 1000,
        max_append_bytes=options.max_append_bytes,
        max_inflight_appends=options.max_inflight_appends,
        max_inflight_bytes=options.max_inflight_bytes,
        max_uncommitted_bytes=options.max_uncommitted_bytes,
        max_kept_bytes=max(options.max_raft_state, 0),  # so the log about doubles at most
    )
