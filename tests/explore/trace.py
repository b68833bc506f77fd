"""A path in words: those of tests/raft/trace.py."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence

from tests.explore.history import Violation
from tests.explore.scenario import Scenario
from tests.explore.script import prepared
from tests.explore.server import ID, Server
from tests.explore.space import Event, FrozenServer, Space
from tests.raft.trace import format_entries, format_log, format_message, format_raft, format_saved


def readable(text: str) -> str:
    """n9000001 is n1."""
    return text.replace(str(ID)[:-1], "")


def told(scenario: Scenario, path: Sequence[int]) -> Iterator[str]:
    """What happens: the script, then an event a paragraph. Ends with the violation, if there is one."""
    space = Space(scenario)
    yield from scenario.start.split("\n")
    try:
        state = prepared(space)
        for server in state.servers:
            yield readable(f"# {_brief(server)}")
        for choice in path:
            events = space.events(state)
            if choice >= len(events):
                yield f"there is no event {choice} here: the path is of another scenario or another core"
                return
            event = events[choice]
            yield readable(f"> {_words(event)}")
            after = space.after(state, event)
            if after is None:
                yield "nothing changes"
                continue
            place = event.id - ID - 1
            sent = [each for each in after.wire if each not in state.wire]
            yield from map(readable, _changes(state.servers[place], after.servers[place]))
            for message in sent:
                yield readable(format_message(message.message))
            state = after
        for server in state.servers:
            yield readable(f"# {_brief(server)}")
    except Violation as violation:
        yield readable(f"VIOLATION: {violation}")


def _words(event: Event) -> str:
    if event.message is not None:
        return f"{event.kind} n{event.id}: {format_message(event.message.message)}"
    return " ".join([event.kind, f"n{event.id}", *(f"n{id}" for id in event.about)])


def _brief(server: FrozenServer) -> str:
    woken: Server = pickle.loads(server.pickled)
    return f"{format_raft(woken.raft)} {format_log(woken.raft)}"


def _changes(before: FrozenServer, after: FrozenServer) -> Iterator[str]:
    raft = pickle.loads(after.pickled).raft
    head, old, new = format_raft(raft), before.view, after.view
    if old.role is not new.role:
        yield f"{head}: {raft.role_reason}"
    hard_state = new.disk.hard_state if new.disk.hard_state != old.disk.hard_state else None
    entries = [entry for entry in new.disk.entries if entry not in old.disk.entries]
    if hard_state or entries:
        yield f"{head} {format_saved(hard_state, entries)}"
    applied = [entry for entry in new.log.entries if old.commit < entry.index <= new.commit]
    if applied:
        yield f"{head} applies {format_entries(applied)}"
