"""States that a script prepares, since some bugs lie twenty-five events deep.

The words are those of tests/raft/script.py, and the events those of server.py: one line, one event.

    campaign n1, propose n1, remove n1 n2, …     an event at n1, and the servers that it names
    deliver n2 [n1]                              what is on the way to n2 (from n1) arrives
    lose [n2 [n1]]                               … is lost; without names, all that is on the way
    stabilize                                    all disks write and all messages arrive, until there are none
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.explore.history import Violation
from tests.explore.server import ID
from tests.explore.space import Event, Space, State


def prepared(space: Space) -> State:
    """The state at the end of the scenario's script."""
    state = space.first()
    for line in space.scenario.start.splitlines():
        words = line.split()
        if words:
            state = _done(space, state, words[0], [ID + int(word[1:]) for word in words[1:]])
    return state._replace(spent=(0,) * len(space.kinds))


def _done(space: Space, state: State, word: str, ids: Sequence[int]) -> State:
    if word == "lose":
        return state._replace(wire=tuple(m for m in state.wire if not _is_between(m.message, ids)))
    if word == "deliver":
        for each in [each for each in state.wire if _is_between(each.message, ids)]:
            state = _arrived(space, state, each)
        return state
    if word == "stabilize":
        while True:
            writing = [server.view.id for server in state.servers if server.view.writes]
            if writing:
                state = space.after(state, Event("write", writing[0])) or state
            elif state.wire:
                state = _arrived(space, state, state.wire[0])
            else:
                return state
    after = space.after(state, Event(word, ids[0], tuple(ids[1:])))
    if after is None:
        raise Violation(f"{word} does nothing")
    return after


def _arrived(space: Space, state: State, frozen) -> State:  # type: ignore[no-untyped-def]
    if frozen not in state.wire:
        return state
    after = space.after(state, Event("deliver", frozen.message.to, (), frozen))
    return after or state._replace(wire=tuple(each for each in state.wire if each is not frozen))


def _is_between(message, ids: Sequence[int]) -> bool:  # type: ignore[no-untyped-def]
    return not ids or (message.to == ids[0] and message.sender in (ids[1:] or [message.sender]))
