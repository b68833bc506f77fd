"""Each scenario within a small bound; and that what is broken is found, with a path that can be told."""

from __future__ import annotations

import pytest

from tests.explore.__main__ import explore
from tests.explore.scenario import Scenario
from tests.explore.scenarios import SCENARIOS
from tests.explore.search import Limits
from tests.explore.trace import readable

STATES = 600
SMALL = Scenario("small", "an election", 3, "", {"campaign": 1})


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_invariant_breaks(scenario: Scenario) -> None:
    result = explore(scenario, Limits(STATES))
    assert not result.violation, readable(result.violation)
    assert result.is_complete or result.states >= STATES
