"""Operations without an answer: each may take effect once, at any time after its invoke, or never.

They are what makes checking exponential: every subset of them may have taken effect, in every order. What
keeps that in bounds, each without changing a verdict:

* An unanswered operation is only tried where something changes by it, and what follows must need it: the next
  operation must be impossible, or end in another state, without it. (Otherwise leave it out: never is
  allowed.)
* Operations that do the same are one class, used in the order of their invokes, so only their number counts.
* A put or append whose value no later answer can tell from others has *expired* (see model.py). All expired
  ones do the same: they make the key hold OTHER. So they are one class, and that is where most of them are.
* Of two configurations that differ only in what was used, the one that used a subset dominates the other.
* Appends and cas are looked up by the state in which they lead anywhere, not tried one after the other.

Which ones a configuration has used is an int, one bit an operation: first the puts and appends in the order
in which they expire, then the cas in the order in which they expire, then the deletes. Members of a class are
neighbours.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tests.linearizability.history import Operation
from tests.linearizability.model import ILLEGAL, OTHER, Effect, Values

Move = tuple[int, int]  # (the state after it, what is used after it)


class Kind(NamedTuple):
    """Unanswered operations that do the same."""

    effect: Effect
    births: list[int]  # the frontier from which each may take effect, ascending
    expiry: int  # the frontier from which on it does what all expired ones do
    shift: int  # its first bit in a set of used operations; its members' bits follow each other


class _Entry(NamedTuple):
    section: int  # 0 makers (puts and appends), 1 cas, 2 deletes
    expiry: int
    same: Any  # equal for operations of a section that do the same
    birth: int
    f: str
    effect: Effect


class Unanswered:
    """The unanswered operations of one key. Not thread-safe."""

    def __init__(
        self, pairs: Sequence[tuple[Operation, Effect]], values: Values, returned: Sequence[int]
    ) -> None:
        """`returned`: the positions of the answers on this key, ascending."""
        self._values = values
        self._puts: list[Kind] = []
        self._appends: dict[str, Kind] = {}
        self._cas: dict[int, list[Kind]] = {}  # by the state that it compares with
        self._deletes: list[Kind] = []
        self._from_state: dict[int, list[tuple[Kind, int]]] = {}
        entries = [self._entry(o, effect, bisect_right(returned, o.invoked)) for o, effect in pairs]
        entries = sorted((e for e in entries if e.birth < len(returned)), key=lambda e: e[:4])
        self.count = len(entries)
        makers = [e for e in entries if e.section == 0]
        self._maker_expiries = [e.expiry for e in makers]
        self._cas_expiries = [e.expiry for e in entries if e.section == 1]
        shift = 0
        for _, group in itertools.groupby(entries, key=lambda e: e[:3]):
            members = list(group)
            if members[0].birth < members[0].expiry:
                births = [e.birth for e in members]
                self._add(members[0], Kind(members[0].effect, births, members[0].expiry, shift))
            shift += len(members)
        self._append_lengths = sorted({len(text) for text in self._appends})

    def _entry(self, operation: Operation, effect: Effect, birth: int) -> _Entry:
        values, same = self._values, operation.value
        section = {"put": 0, "append": 0, "cas": 1, "delete": 2}[operation.f]
        expiry = values.expiry_of(operation)
        if operation.f == "cas":
            same = (values.state(operation.value[0]), values.state(operation.value[1]))
            expiry = values.expiry[same[0]]
        # The function keeps a put and an append of the same text apart.
        return _Entry(section, max(expiry, birth), (operation.f, same), birth, operation.f, effect)

    def _add(self, entry: _Entry, kind: Kind) -> None:
        if entry.f == "put":
            self._puts.append(kind)
        elif entry.f == "append":
            self._appends[entry.same[1]] = kind
        elif entry.f == "cas":
            self._cas.setdefault(entry.same[1][0], []).append(kind)
        else:
            self._deletes.append(kind)

    def canonical(self, used: int, frontier: int) -> int:
        """The set that stands for `used` at `frontier`: of the expired puts and appends only their number is
        kept, and of the expired cas, which do nothing any more, nothing."""
        makers = bisect_right(self._maker_expiries, frontier)
        cas = bisect_right(self._cas_expiries, frontier)
        expired = used & (1 << makers) - 1
        used &= ~((1 << cas) - 1 << len(self._maker_expiries))
        return used ^ expired | (1 << bin(expired).count("1")) - 1

    def overwriting(self, frontier: int, state: int, used: int, other_matters: bool) -> Iterator[Move]:
        """What a put, a delete, or an expired append can do: they lead to the same state from any other.

        `used` must be canonical. `other_matters`: some later answer tells OTHER from an absent key or from
        other values.
        """
        if other_matters and state != OTHER:
            expired = bisect_right(self._maker_expiries, frontier)
            count = (used & (1 << expired) - 1).bit_length()
            if count < expired:
                yield OTHER, used | 1 << count
        for kind in itertools.chain(self._deletes, self._puts):
            next_used = _use(kind, used, frontier)
            if next_used:
                yield kind.effect[state], next_used

    def building(
        self, frontier: int, state: int, used: int, before: int, other_matters: bool
    ) -> Iterator[Move]:
        """What a cas or an append can do in `state`, unless it would have done the same in the state
        `before`."""
        expiry = self._values.expiry
        for kind, next_state in self._leading_on(state):
            if other_matters or frontier < expiry[next_state]:
                next_used = _use(kind, used, frontier)
                if next_used and (before == ILLEGAL or kind.effect[before] != next_state):
                    yield next_state, next_used
        if other_matters and state != OTHER:
            for kind in self._appends.values():
                next_used = _use(kind, used, frontier)
                if next_used and expiry[kind.effect[state]] <= frontier:
                    yield OTHER, next_used

    def _leading_on(self, state: int) -> list[tuple[Kind, int]]:
        """The cas and appends that lead from `state` to another state that an answer knows, and that
        state."""
        found = self._from_state.get(state)
        if found is None:
            kinds = list(self._cas.get(state, ()))
            if self._appends and state != OTHER:
                texts = {t[:n] for t in self._values.continuations(state) for n in self._append_lengths}
                kinds += [self._appends[text] for text in sorted(texts) if text in self._appends]
            found = [(kind, kind.effect[state]) for kind in kinds if kind.effect[state] != state]
            self._from_state[state] = found
        return found


def _use(kind: Kind, used: int, frontier: int) -> int:
    """`used` and one more of `kind`; 0 if there is none at `frontier`."""
    if not kind.births[0] <= frontier < kind.expiry:
        return 0
    count = (used >> kind.shift & (1 << len(kind.births)) - 1).bit_length()
    if count == len(kind.births) or kind.births[count] > frontier:
        return 0
    return used | 1 << kind.shift + count
