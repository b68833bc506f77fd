from __future__ import annotations

import random

import pytest
from raftkv.kvdb import index
from raftkv.kvdb.index import SortedKeys


@pytest.fixture
def short_sublists(monkeypatch):
    monkeypatch.setattr(index, "SUBLIST_KEYS", 4)


def check_invariants(keys: SortedKeys) -> None:
    sublists = keys._sublists
    assert keys._last_keys == [sublist[-1] for sublist in sublists], "the last keys are not the sublists' own"
    lengths = [len(sublist) for sublist in sublists]
    assert all(0 < length <= 2 * index.SUBLIST_KEYS for length in lengths), f"sublists of lengths {lengths}"


@pytest.mark.parametrize("seed", range(20))
def test_any_additions_and_removals_leave_what_a_sorted_set_has(short_sublists, seed):
    chance = random.Random(seed)
    keys, model = SortedKeys(), set()
    for _ in range(400):
        key = "".join(chance.choices("ab\0é\uffff\U0001f600", k=chance.randint(1, 4)))
        if key in model:
            model.remove(key)
            keys.remove(key)
        else:
            model.add(key)
            keys.add(key)
        check_invariants(keys)
        assert list(keys.iterate()) == sorted(model)
        start = chance.choice([key, key + "\0", "", "a", "\U0010ffff"])
        assert list(keys.iterate(start)) == sorted(k for k in model if k >= start)


@pytest.mark.parametrize("there", [[], ["k10"], ["k00", "k99"]])
@pytest.mark.parametrize("order", [1, -1, 7])
def test_many_keys_at_once_are_added_as_one_by_one(short_sublists, there, order):
    keys, many = SortedKeys(), [f"k{n * order % 31 + 20}" for n in range(31)]
    for key in there:
        keys.add(key)
    keys.add_all(many)
    check_invariants(keys)
    assert list(keys.iterate()) == sorted(there + many)


def test_sublists_that_shrink_are_merged(short_sublists):
    keys = SortedKeys()
    for n in range(4000):
        keys.add(f"{n:05d}")
    for n in range(4000):
        if n % 100:
            keys.remove(f"{n:05d}")
    assert len(list(keys.iterate())) == 40
    assert len(keys._sublists) <= 40 / (index.SUBLIST_KEYS / 4), f"40 keys in {len(keys._sublists)} sublists"


def test_sublists_stay_short_at_their_real_size():
    keys = SortedKeys()
    for n in range(20_000):
        keys.add(f"{n * 7919 % 20_000:05d}")
    assert max(map(len, keys._sublists)) <= 2 * index.SUBLIST_KEYS
    assert list(keys.iterate("19998")) == ["19998", "19999"]
