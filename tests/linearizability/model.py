"""The register: what each operation does to the value of one key, with states as small integers.

A state is an integer, so that the search compares and remembers it at no cost however long the value is. It
is exact, not a hash:

* ABSENT: no such key.
* OTHER: some value that no answer in this history can tell from another: no get returned it, no cas compares
  with it, and, where the key has appends, nothing that begins with it was returned or compared either. It can
  only be seen to be there, and to differ from what a cas expected. All such values are one state.
* any other integer: a value that was returned or compared (or, where the key has appends, begins one that
  was). Those strings are kept once, sorted; a value is (the first of them that begins with it, its length),
  interned.

Values also says when a state *expires*: a frontier is a number of answers that the search has passed, in the
order of their returns, and from the frontier `expiry[state]` on no answer is left that could tell the state
from OTHER. The search then takes it for OTHER. This is what keeps apart from each other only the few values
that matter at the moment, and it is exact: it never changes a verdict.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.linearizability.history import Operation

ILLEGAL = -1  # not a state: the operation cannot have had this answer here
ABSENT = 0
OTHER = 1
FOREVER = 1 << 62


class Values:
    """The states of one key."""

    def __init__(
        self,
        last_seen: Mapping[str, int],
        swaps: Sequence[tuple[str | None, str]] = (),
        has_appends: bool = False,
    ) -> None:
        """`last_seen`: each string that an answer returned or compared with -> the frontier after the last of
        them. `swaps`: (expected, new) of each unanswered cas; it tells `expected` from other values for as
        long as `new` matters. Its expected strings must be in `last_seen` too."""
        self._has_appends = has_appends
        self._observed = sorted(last_seen)
        self._expiries = [last_seen[text] for text in self._observed]
        self._spread(swaps)
        self._maximal = list(self._find_maximal())
        self._maximal_at = [index for index, _ in self._maximal]
        self._latest_first = sorted(self._maximal, key=lambda each: -each[1])
        self._places: list[tuple[int, int]] = [(0, 0), (0, 0)]  # state -> (index in _observed, length)
        self._states: dict[tuple[int, int], int] = {}
        self._text_expiries: dict[str, int] = {}
        self.expiry: list[int] = [FOREVER, 0]  # by state; OTHER is what an expired state is taken for

    def state(self, value: str | None) -> int:
        """The state in which the key holds `value` (None: absent)."""
        if value is None:
            return ABSENT
        first, end = self._range(value)
        if first == end:
            return OTHER
        place = (first, len(value))
        if place not in self._states:
            self._states[place] = len(self._places)
            self._places.append(place)
            self.expiry.append(max(self._expiries[first:end]))
        return self._states[place]

    def text(self, state: int) -> str:
        """The string of a state; "" for ABSENT, which appends as well as the empty string does."""
        assert state != OTHER, "OTHER stands for many strings"
        index, length = self._places[state]
        return self._observed[index][:length] if length else ""

    def appended(self, state: int, text: str) -> int:
        """The state after appending `text`, which makes an absent key first."""
        return OTHER if state == OTHER else self.state(self.text(state) + text)

    def expiry_of(self, operation: Operation) -> int:
        """The frontier from which on `operation`, a put or append, can only lead to OTHER or an expired
        state.

        FOREVER for the others.
        """
        if operation.f == "put":
            return self.expiry[self.state(operation.value)]
        if operation.f != "append":
            return FOREVER
        if operation.value not in self._text_expiries:
            containing = (e for index, e in self._latest_first if operation.value in self._observed[index])
            self._text_expiries[operation.value] = next(containing, 0)
        return self._text_expiries[operation.value]

    def continuations(self, state: int) -> Iterator[str]:
        """What follows the value of `state` in the strings that begin with it, the longest of each family
        only."""
        text = self.text(state)
        for n in range(bisect_left(self._maximal_at, self._places[state][0]), len(self._maximal)):
            observed = self._observed[self._maximal_at[n]]
            if not observed.startswith(text):
                break
            yield observed[len(text) :]

    def _range(self, value: str) -> tuple[int, int]:
        """The indexes in _observed of the strings that `value` can still become (is, where nothing is
        appended)."""
        first = end = bisect_left(self._observed, value)
        if not self._has_appends:
            return first, first + (self._observed[first : first + 1] == [value])
        too_far = len(self._observed)
        while end < too_far:
            middle = (end + too_far) // 2
            if self._observed[middle].startswith(value):
                end = middle + 1
            else:
                too_far = middle
        return first, end

    def _spread(self, swaps: Sequence[tuple[str | None, str]]) -> None:
        edges = [
            (bisect_left(self._observed, expected), self._range(new))
            for expected, new in reversed(swaps)
            if expected is not None
        ]
        changed = True
        while changed:
            changed = False
            for expected_at, (first, end) in edges:
                expiry = max(self._expiries[first:end], default=0)
                if self._expiries[expected_at] < expiry:
                    self._expiries[expected_at] = expiry
                    changed = True

    def _find_maximal(self) -> Iterator[tuple[int, int]]:
        """(index, expiry) of each observed string that begins no longer one, with the latest expiry of all
        observed strings that begin it."""
        beginnings: list[tuple[str, int]] = []
        for index, text in enumerate(self._observed):
            while beginnings and not text.startswith(beginnings[-1][0]):
                beginnings.pop()
            expiry = max([self._expiries[index]] + [expiry for _, expiry in beginnings[-1:]])
            beginnings.append((text, expiry))
            if index + 1 == len(self._observed) or not self._observed[index + 1].startswith(text):
                yield index, expiry


class Effect(dict[int, int]):
    """What one kind of operation does: state -> next state, or ILLEGAL where its answer was impossible.

    A table that fills itself: each entry is computed the first time it is asked for.
    """

    def __init__(self, values: Values, f: str, value: Any, answered: bool, result: Any) -> None:
        super().__init__()
        self._values = values
        self._f = f
        self._text = value
        self._answered = answered
        self._result = result
        self._expected = self._new = ABSENT
        if f == "get":
            self._expected = values.state(result)
        elif f == "put":
            self._new = values.state(value)
        elif f == "cas":
            self._expected, self._new = values.state(value[0]), values.state(value[1])

    def __missing__(self, state: int) -> int:
        self[state] = next_state = self._apply(state)
        return next_state

    def _apply(self, state: int) -> int:
        if self._f == "put":
            return self._new
        if self._f == "append":
            return self._values.appended(state, self._text)
        if self._f == "delete":
            return ABSENT if self._result in (None, state != ABSENT) else ILLEGAL
        matches = state == self._expected
        if self._f == "get":
            return state if matches else ILLEGAL
        if self._answered and self._result != matches:
            return ILLEGAL
        return self._new if matches else state
