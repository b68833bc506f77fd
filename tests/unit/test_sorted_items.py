from __future__ import annotations

import random

import pytest
from raftkv.kvdb import sorted_items
from raftkv.kvdb.sorted_items import SortedItems


@pytest.fixture
def short_leaves(monkeypatch):
    monkeypatch.setattr(sorted_items, "LEAF_KEYS", 4)
    monkeypatch.setattr(sorted_items, "_FEW", 2)


def check_invariants(items: SortedItems) -> None:
    leaves = items._leaves
    assert items._last_keys == [leaf.keys[-1] for leaf in leaves], "the last keys are not the leaves' own"
    lengths = [len(leaf.keys) for leaf in leaves]
    assert all(0 < length <= 2 * sorted_items.LEAF_KEYS for length in lengths), f"leaves of lengths {lengths}"
    assert all(sorted(leaf.items) == leaf.keys for leaf in leaves)
    assert len(items) == sum(lengths)


@pytest.mark.parametrize("seed", range(20))
def test_any_changes_leave_what_a_sorted_dict_has(short_leaves, seed):
    chance = random.Random(seed)
    items, model = SortedItems(), {}
    for n in range(400):
        key = bytes(chance.choices(b"ab\0\x80\xff", k=chance.randint(1, 4)))
        whim = chance.random()
        if whim < 0.4:
            assert items.pop(key) == model.pop(key, None)
        elif whim < 0.5:
            some = sorted(chance.sample(sorted(model), chance.randint(0, len(model) // 3)))
            assert items.pop_all(some) == [model.pop(each) for each in some]
        elif whim < 0.55:
            some = sorted({bytes(chance.choices(b"ab\0\x80\xff", k=3)) for _ in range(chance.randint(0, 20))})
            items.set_all(some, some)
            model.update(zip(some, some))
        else:
            assert items.set(key, n) == model.get(key)
            model[key] = n
        check_invariants(items)
        assert items.get(key) == model.get(key)
        assert list(items.iterate()) == sorted(model.items())
        start, end = (chance.choice([key, key + b"\0", b"", b"a", b"\xff\xff"]) for _ in range(2))
        assert list(items.iterate(start)) == sorted(kv for kv in model.items() if kv[0] >= start)
        assert items.count(start, end) == sum(start <= each < end for each in model)
        assert items.count(start, None) == sum(start <= each for each in model)
        assert items.holder(key).get(key) == model.get(key)


@pytest.mark.parametrize("there", [[], [b"k10"], [b"k00", b"k99"]])
@pytest.mark.parametrize("order", [1, -1, 7])
def test_many_at_once_are_put_as_one_by_one(short_leaves, there, order):
    items, many = SortedItems(), [b"k%d" % (n * order % 31 + 20) for n in range(31)]
    for key in there:
        items.set(key, key)
    items.set_all(many, many)
    check_invariants(items)
    assert list(items.iterate()) == [(key, key) for key in sorted(there + many)]


def test_a_key_that_comes_twice_at_once_has_the_later_item(short_leaves):
    items = SortedItems()
    items.set_all([b"a", b"b", b"b", b"c"], [1, 2, 3, 4])
    check_invariants(items)
    assert list(items.iterate()) == [(b"a", 1), (b"b", 3), (b"c", 4)]


def test_leaves_that_shrink_are_merged(short_leaves):
    items = SortedItems()
    for n in range(4000):
        items.set(b"%05d" % n, n)
    for n in range(4000):
        if n % 100:
            items.pop(b"%05d" % n)
    assert len(items) == 40
    assert len(items._leaves) <= 40 / (sorted_items.LEAF_KEYS / 4), f"40 keys in {len(items._leaves)} leaves"


def test_no_leaf_is_large_at_its_real_size_and_clear_removes_them_all():
    items = SortedItems()
    for n in range(20_000):
        items.set(b"%05d" % (n * 7919 % 20_000), n)
    assert max(len(leaf.keys) for leaf in items._leaves) <= 2 * sorted_items.LEAF_KEYS
    assert [key for key, _ in items.iterate(b"19998")] == [b"19998", b"19999"]
    items.clear()
    assert len(items) == 0 and list(items.iterate()) == [] and items.set(b"again", 1) is None
