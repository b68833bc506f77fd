"""Can those that are up elect a leader, and does it commit?

Safety alone does not notice a voter that refuses for ever. So for each state and each set of servers that is enough:
all others are dead, all that was on the way is lost; then one of them that ought to win stands, all that they send
arrives, and an entry of a new term must be committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from tests.explore.history import Violation, describe, is_majority
from tests.explore.space import Event, FrozenServer, Space, State
from tests.explore.view import View

_ATTEMPTS = 4  # the first ones may only tell a server which term it is
_MESSAGES = 500  # what all that takes at most


class Election:
    def __init__(self, space: Space) -> None:
        self._space = space
        self._good: set[tuple[int, tuple[FrozenServer, ...]]] = set()

    def check(self, state: State) -> None:
        """Raises Violation."""
        servers = state.servers
        for size in range(1, len(servers) + 1):
            for up in combinations(servers, size):
                candidate = _winner([server.view for server in up])
                if candidate is None or (candidate.id, up) in self._good:
                    continue
                if not self._is_elected(state, [server.view.id for server in up], candidate.id):
                    names = " ".join(f"n{server.view.id}" for server in up)
                    raise Violation(
                        f"n{candidate.id} cannot be elected, or leads to no end, while {names} are up, though its log is the most "
                        f"complete and they are majorities of {describe(candidate.configuration)}"
                    )
                self._good.add((candidate.id, up))

    def _is_elected(self, state: State, up: Sequence[int], candidate: int) -> bool:
        """Tried with the core itself. An entry of a new term is to be committed; or the leader goes on. A change that
        is under way comes to its end."""
        begun = max(server.view.term for server in state.servers)
        for _ in range(_ATTEMPTS):
            for id in [
                *(id for id in up if id != candidate),
                candidate,
            ]:  # a leader learns that nobody hears it
                state = self._space.after(state._replace(wire=()), Event("timeout", id)) or state
            state = self._delivered(state, up)
            views = [server.view for server in state.servers]
            if any(_newest_committed(view) > begun or (view.id in up and _leads_on(view)) for view in views):
                return not any(view.leads and view.id in up and view.configuration.is_joint for view in views)
        return False

    def _delivered(self, state: State, up: Sequence[int]) -> State:
        """All that those that are up send each other has arrived."""
        for _ in range(_MESSAGES):
            if not state.wire:
                return state
            first, *rest = state.wire
            after = None
            if first.message.to in up:
                after = self._space.after(state, Event("deliver", first.message.to, (), first))
            state = after or state._replace(wire=tuple(rest))
        raise Violation(f"servers do not fall silent: {first.message}")


def _leads_on(view: View) -> bool:
    """It is heard by a majority, perhaps its own, and all that it holds is committed."""
    return view.leads and view.commit == view.log.last_index


def _newest_committed(view: View) -> int:
    """Its term."""
    entry = view.log.entry(view.commit)
    return entry.term if entry is not None else 0


def _winner(up: Sequence[View]) -> View | None:
    """The one with the most complete log of those that ought to win if all others in `up` vote for it."""
    able = [
        view for view in up if _may_campaign(view) and is_majority(view.configuration, _not_ahead(view, up))
    ]
    return max(able, key=lambda view: view.last, default=None)


def _may_campaign(view: View) -> bool:
    known = [view.log.configuration_at(index) for index in range(view.commit, view.log.last_index + 1)]
    return any(view.id in (*each.voters, *each.outgoing) for each in known)


def _not_ahead(candidate: View, up: Sequence[View]) -> list[int]:
    return [view.id for view in up if view.last <= candidate.last]
