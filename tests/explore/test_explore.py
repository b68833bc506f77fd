"""Each scenario within a small bound; and that what is broken is found, with a path that can be told."""

from __future__ import annotations

import shlex
from itertools import permutations, product

import pytest

from tests.explore.__main__ import explore, main
from tests.explore.past import is_past
from tests.explore.scenario import Scenario
from tests.explore.scenarios import BY_NAME, SCENARIOS
from tests.explore.search import Limits, Search
from tests.explore.space import Event, Space, State, fingerprint
from tests.explore.trace import readable, told

STATES = 600
SMALL = Scenario("small", "an election", 3, "", {"campaign": 1})


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_invariant_breaks(scenario: Scenario) -> None:
    states = STATES // 3 if scenario.elects else STATES  # elections are tried in each of them
    states *= 6 if scenario.slow_disks else 1  # each write is an event
    result = explore(scenario, Limits(states))
    assert not result.violation, readable(result.violation)
    assert result.is_complete or result.states >= states


def test_a_broken_rule_is_found_and_told_by_a_command_that_replays_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = ["figure_8", "--mutant", "figure 8", "--jobs", "1", "--states", "600"]
    assert main(broken) == 1
    printed = capsys.readouterr().out
    assert "VIOLATION: n3 leads term 4 without the committed entry 2@1" in printed
    command = shlex.split(printed.partition("python -m tests.explore ")[2].splitlines()[0])
    assert main(command) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("VIOLATION: n3 leads")


def test_names_of_servers_make_no_difference_and_what_they_hold_does() -> None:
    space = Space(SMALL)
    first = space.first()
    one, other = [after(space, first, Event("campaign", id)) for id in space.ids[:2]]
    assert fingerprint(one, True) == fingerprint(other, True) != fingerprint(first, True)
    votes = [after(space, one, Event("deliver", m.message.to, (), m)) for m in one.wire]
    assert fingerprint(votes[0], True) == fingerprint(votes[1], True)
    assert len({fingerprint(state, True) for state in (first, one, *votes)}) == 3


def test_two_events_at_two_servers_lead_to_one_state_in_both_orders() -> None:
    space = Space(SMALL)
    state = after(space, space.first(), Event("campaign", space.ids[0]))
    deliveries = [Event("deliver", m.message.to, (), m) for m in state.wire]
    ways = [after(space, after(space, state, a), b) for a, b in permutations(deliveries)]
    assert fingerprint(ways[0], False) == fingerprint(ways[1], False)


@pytest.mark.parametrize("name", ["elections", "transfer"])
def test_a_message_that_is_taken_off_the_way_would_have_done_nothing(name: str) -> None:
    search = Search(BY_NAME[name])
    search.run(Limits(states=200))
    past = [
        (server, message)
        for server, message in product(search.space.servers, search.space.messages)
        if message.message.to == server.view.id and is_past(message.message, server.view)
    ]
    assert len(past) > 50
    for server, message in past:
        outcome = search.space.outcome(server, Event("deliver", server.view.id, (), message))
        assert (outcome.server, outcome.sent) == (server, ()), (message.message, server.view)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_events_of_a_path_are_told(scenario: Scenario) -> None:
    lines = list(told(scenario, (0, 0)))
    assert sum(line.startswith("> ") for line in lines) == 2
    assert not any("9000" in line or "VIOLATION" in line for line in lines)


def after(space: Space, state: State, event: Event) -> State:
    following = space.after(state, event)
    assert following is not None
    return following
