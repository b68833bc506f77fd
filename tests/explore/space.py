"""The space of states: where it begins, and what follows a state.

A transition touches one server. What it does depends on that server and on the event alone, so the real core
computes it once for each two of them; it is looked up for all states that share them.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from itertools import permutations, product
from typing import NamedTuple, Optional

from raftkv.raft.messages import Message, VoteReply

from tests.explore.frozen import Frozen, digest, pickled_digest
from tests.explore.history import Changed, History, Violation, check_matching, grown
from tests.explore.past import is_past
from tests.explore.scenario import Scenario
from tests.explore.server import ID, Server, new_server
from tests.explore.view import View, view_of


class FrozenMessage(Frozen):
    message: Message
    link: tuple[int, int]


class FrozenHistory(Frozen):
    history: History


class FrozenServer(Frozen):
    pickled: bytes
    view: View
    outcomes: dict[object, Outcome]
    events: dict[tuple[str, ...], list[Event]]


class Outcome(NamedTuple):
    """Of one event at one server."""

    server: FrozenServer
    sent: tuple[FrozenMessage, ...]
    is_news: bool  # for the history
    problem: str  # the invariant that does not hold, or ""


class Event(NamedTuple):
    """`message`: what arrives, if that is it. `about`: the ids of the servers that it names."""

    kind: str
    id: int
    about: tuple[int, ...] = ()
    message: Optional[FrozenMessage] = None  # noqa: UP045


class State(NamedTuple):
    servers: tuple[FrozenServer, ...]
    wire: tuple[FrozenMessage, ...]  # on the way; of equal ones there is one
    spent: tuple[int, ...]  # of each bound of the scenario
    history: FrozenHistory


class Space:
    """Not thread-safe."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.kinds = tuple(scenario.bounds)
        self._bounds = tuple(scenario.bounds.values())
        self.ids = tuple(ID + 1 + place for place in range(scenario.servers + scenario.joining))
        self._servers: dict[bytes, FrozenServer] = {}
        self._messages: dict[tuple[type, Message], FrozenMessage] = {}
        self._histories: dict[History, FrozenHistory] = {}
        self._matching: set[tuple[int, int]] = set()  # logs that were compared, by identity

    def first(self) -> State:
        """All servers with empty disks. Those that join know of nobody."""
        scenario, voters = self.scenario, range(1, self.scenario.servers + 1)
        servers = []
        for number in [id - ID for id in self.ids]:
            known = voters if number in voters else ()
            servers.append(self._freeze(new_server(number, known, scenario.options, scenario.slow_disks)))
        return State(tuple(servers), (), (0,) * len(self.kinds), self._frozen_history(History()))

    @property
    def servers(self) -> Collection[FrozenServer]:
        """All states of one server that were met."""
        return self._servers.values()

    @property
    def messages(self) -> Collection[FrozenMessage]:
        """All that were ever sent."""
        return self._messages.values()

    # -- what can happen -------------------------------------------------------------------------------------

    def events(self, state: State) -> list[Event]:
        """All that can happen, in an order that depends on nothing else."""
        left = tuple(
            kind for kind, spent, bound in zip(self.kinds, state.spent, self._bounds) if spent < bound
        )
        found = [Event("deliver", m.message.to, (), m) for m in state.wire]
        if "duplicate" in left:
            found += [Event("duplicate", m.message.to, (), m) for m in state.wire]
        for server in state.servers:
            events = server.events.get(left)
            if events is None:
                events = server.events[left] = list(self._own_events(server.view, left))
            found += events
        return found

    def _own_events(self, view: View, left: Sequence[str]) -> Iterator[Event]:
        if view.writes:
            yield Event("write", view.id)
        if self.scenario.leases and view.hears_leader:
            yield Event("disconnect", view.id)
        for kind in left:
            if kind in _ABOUT:
                for about in _ABOUT[kind](view, self.ids) if view.leads else ():
                    yield Event(kind, view.id, about)
            elif kind != "duplicate" and (view.leads or kind not in _FOR_LEADERS):
                yield Event(kind, view.id)

    # -- what follows ----------------------------------------------------------------------------------------

    def after(self, state: State, event: Event) -> State | None:
        """The state that follows; None if nothing has changed but that a message arrived. Raises Violation."""
        place = event.id - ID - 1
        before = state.servers[place]
        outcome = self.outcome(before, event)
        if outcome.problem:
            raise Violation(outcome.problem)
        server, sent = outcome.server, outcome.sent
        if server is before and not sent:
            return None
        servers = (*state.servers[:place], server, *state.servers[place + 1 :])
        history = state.history
        if outcome.is_news:
            views = [each.view for each in servers]
            messages = [each.message for each in sent]
            changed = Changed(before.view, server.view, messages, event.kind in CHANGES)
            history = self._frozen_history(grown(history.history, changed, views))
        if server.view.log is not before.view.log:
            self._check_matching(server, servers)
        return State(servers, self._wire(state, event, servers, outcome), self._spent(state, event), history)

    def _spent(self, state: State, event: Event) -> tuple[int, ...]:
        if event.kind not in self.kinds:
            return state.spent
        at = self.kinds.index(event.kind)
        return (*state.spent[:at], state.spent[at] + 1, *state.spent[at + 1 :])

    def _wire(
        self, state: State, event: Event, servers: Sequence[FrozenServer], outcome: Outcome
    ) -> tuple[FrozenMessage, ...]:
        wire = list(state.wire)
        if event.kind == "deliver":
            at = wire.index(event.message)  # type: ignore[arg-type]
            gone = wire[: at + 1] if self.scenario.ordered else [wire[at]]
            wire = [each for each in wire if each.link != wire[at].link or each not in gone]
        wire += [message for message in outcome.sent if message not in wire]
        first = 0 if outcome.is_news else len(wire) - len(outcome.sent)  # those before are as they were
        views = {server.view.id: server.view for server in servers}
        return (
            *wire[:first],
            *[each for each in wire[first:] if not is_past(each.message, views[each.message.to])],
        )

    def outcome(self, server: FrozenServer, event: Event) -> Outcome:
        """What `event` does to `server`, in any state."""
        key = event.message or (event.kind, event.about)
        found = server.outcomes.get(key)
        if found is None:
            found = server.outcomes[key] = self._computed(server, event)
        return found

    def _computed(self, frozen: FrozenServer, event: Event) -> Outcome:
        server: Server = pickle.loads(frozen.pickled)
        try:
            message = event.message and event.message.message
            sent = server.take(event.kind, message, event.about, self.scenario.leases, self.scenario.rules)
            after = self._freeze(server)
        except Violation as violation:
            return Outcome(frozen, (), False, str(violation))
        except Exception as error:  # of an invariant of one server, or whatever a broken core does
            return Outcome(frozen, (), False, f"{type(error).__name__}: {error}")
        known = [self._frozen_message(message) for message in sent if message.to in self.ids]
        old, new = frozen.view, after.view
        is_news = (old.role, old.term, old.commit, old.disk.hard_state) != (
            new.role,
            new.term,
            new.commit,
            new.disk.hard_state,
        ) or any(type(message) is VoteReply for message in sent)
        return Outcome(after, tuple(known), is_news, "")

    def _check_matching(self, changed: FrozenServer, servers: Sequence[FrozenServer]) -> None:
        for other in servers:
            pair = id(changed.view.log), id(other.view.log)
            if pair not in self._matching and other is not changed:
                check_matching(changed.view, other.view)
                self._matching.add(pair)

    # -- one object for equal things -------------------------------------------------------------------------

    def _freeze(self, server: Server) -> FrozenServer:
        pickled = pickle.dumps(server, protocol=5)
        of_server = pickled_digest(pickled)
        key = of_server({})
        found = self._servers.get(key)
        if found is None:
            found = self._servers[key] = FrozenServer(of_server, self.ids, server.raft.id)
            found.pickled, found.view = pickled, view_of(server)
            found.outcomes, found.events = {}, {}
        return found

    def _frozen_message(self, message: Message) -> FrozenMessage:
        key = type(message), message  # as tuples, messages of two kinds may be equal
        found = self._messages.get(key)
        if found is None:
            found = self._messages[key] = FrozenMessage(lambda names: digest(message, names), self.ids)
            found.message, found.link = message, (message.sender, message.to)
        return found

    def _frozen_history(self, history: History) -> FrozenHistory:
        found = self._histories.get(history)
        if found is None:
            found = self._histories[history] = FrozenHistory(lambda names: digest(history, names), self.ids)
            found.history = history
        return found


CHANGES = {"add", "remove", "replace"}
_FOR_LEADERS = {"heartbeat", "propose"}
_ABOUT = {
    "add": lambda view, ids: [(id,) for id in ids if id not in view.configuration.members],
    "remove": lambda view, ids: [(id,) for id in view.configuration.voters],
    "replace": lambda view, ids: [
        pair for pair in product(view.configuration.voters, ids) if pair[1] not in view.configuration.members
    ],
    "transfer": lambda view, ids: [(id,) for id in view.configuration.voters if id != view.id],
}


def fingerprint(state: State, is_ordered: bool) -> bytes:
    """128 bits that states share which differ in nothing but the names of the servers.

    The servers are called after their place in the order of their signatures; of those with equal ones, all
    orders are tried.
    """
    ranked = sorted(state.servers, key=lambda server: server.signature)
    groups: list[list[FrozenServer]] = []
    for server in ranked:
        if groups and groups[-1][0].signature == server.signature:
            groups[-1].append(server)
        else:
            groups.append([server])
    if len(groups) == len(ranked):
        return _named(state, ranked, is_ordered)
    orders = product(*[list(permutations(group)) for group in groups])
    return min(_named(state, [server for group in order for server in group], is_ordered) for order in orders)


def _named(state: State, servers: Sequence[FrozenServer], is_ordered: bool) -> bytes:
    order = tuple([server.view.id for server in servers])
    parts = [server.digest(order) for server in servers]
    if is_ordered:
        links: dict[tuple[int, int], bytes] = {}
        for message in state.wire:
            links[message.link] = links.get(message.link, b"") + message.digest(order)
        parts += sorted(links.values())
    else:
        parts += sorted([message.digest(order) for message in state.wire])
    parts += [state.history.digest(order), bytes(state.spent)]
    return blake2b(b"".join(parts), digest_size=16).digest()
