"""Which few seeds, of many, are worth keeping in seeds.txt: servers die in them at every place there is.

python -m tests.sim --known --seeds 1500 --start 1
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.runner import Outcome


def cover(outcomes: Iterable[Outcome]) -> dict[int, list[str]]:
    """Seeds that together have all places at which somebody dies in any of `outcomes`, and for each the ones
    that those before it lack. (The smallest such set is not looked for: this one is small enough.)"""
    places = {outcome.case.seed: set(outcome.points) for outcome in outcomes if outcome.failure is None}
    found: dict[int, list[str]] = {}
    while True:
        seed = max(sorted(places), key=lambda seed: len(places[seed]), default=None)
        if seed is None or not places[seed]:
            return found
        new = places[seed]
        found[seed] = sorted(new - {"disk operation"})
        places = {other: rest - new for other, rest in places.items()}
