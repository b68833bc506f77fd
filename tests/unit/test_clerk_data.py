"""What Clerk makes of the data model: text and bytes, metadata, ranges, the past, transactions."""

from __future__ import annotations

import pytest
from raftkv import Clerk, errors
from raftkv.client.answers import KeyValue
from raftkv.kvdb import reads

from tests.unit.fake_cluster import KEY, Cluster


@pytest.fixture
def cluster():
    cluster = Cluster([1, 2, 3])
    yield cluster
    cluster.close()


@pytest.fixture
def clerk(cluster):
    with Clerk(cluster.addresses, authkey=KEY) as clerk:
        yield clerk


def test_text_by_default_and_bytes_without_an_encoding(clerk, cluster):
    with Clerk(cluster.addresses, authkey=KEY, encoding=None) as raw:
        raw.put("é", b"\xff")
        assert raw.get(b"\xc3\xa9") == b"\xff" and raw.scan() == [(b"\xc3\xa9", b"\xff", 2)]
        value = clerk.get("é")
        assert value == "\udcff", "what is no UTF-8 becomes surrogates,"
        clerk.put("copy", value)
        assert raw.get("copy") == b"\xff", "and these the same bytes again"
        assert raw.submit("get", "copy").result(10) == b"\xff"
        assert raw.pipeline().get("copy").execute() == [b"\xff"]
    with Clerk(cluster.addresses, authkey=KEY, encoding="latin-1") as latin:
        assert latin.get(b"copy") == "ÿ"
        with pytest.raises(errors.InvalidRequestError, match="value is not text in latin-1"):
            latin.put("k", "\u20ac")
    for name in ("utf-99", "base64", "utf-16"):  # of the last, not every byte can be read
        with pytest.raises(errors.ConfigError, match="encoding"):
            Clerk(cluster.addresses, authkey=KEY, encoding=name)


def test_metadata_and_previous_values(clerk):
    assert clerk.get_kv("k") is None
    assert clerk.put("k", "a", prev_kv=True) == (2, None)
    assert clerk.put("k", "b", prev_kv=True) == (3, KeyValue("k", "a", 2, 2, 1, 0))
    assert clerk.put("k", ignore_value=True) == 4
    assert clerk.get_kv("k") == KeyValue("k", "b", 2, 4, 3, 0)
    assert clerk.get_kv("k", revision=2) == KeyValue("k", "a", 2, 2, 1, 0)
    with pytest.raises(errors.LeaseNotFoundError):
        clerk.put("k", "c", lease=5)
    with pytest.raises(errors.KeyNotFoundError):
        clerk.put("none", ignore_value=True)


def test_the_past_and_the_future(clerk):
    for value in "abc":
        clerk.put("k", value)
    clerk.compact(3)
    with pytest.raises(errors.CompactedError) as caught:
        clerk.range(revision=2)
    assert caught.value.compact_revision == 3
    with pytest.raises(errors.FutureRevisionError):
        clerk.get_kv("k", revision=5)
    assert clerk.range(prefix="k", revision=3).kvs[0].value == "b"


@pytest.mark.parametrize("most", [10_000, 4])
def test_ranges_however_large(clerk, monkeypatch, most):
    """What a server refuses to sort or to answer at once is read in pages."""
    for n in range(10):
        clerk.put(f"k{n}", str(9 - n))
    clerk.put("z", "")
    monkeypatch.setattr(reads, "MAX_RANGE_KEYS", most)
    monkeypatch.setattr(reads, "MAX_PAGE_ROWS", 3)

    def keys(*args, **options):
        found = clerk.range(*args, **options)
        return "".join(kv.key[-1] for kv in found.kvs), found.count, found.more

    assert keys() == ("0123456789z", 11, False)
    assert keys("k3", "k6") == ("345", 3, False)
    assert keys(prefix="k", order="descend", limit=3) == ("987", 10, True)
    assert keys(prefix="k", order="ascend", target="value", limit=2) == ("98", 10, True)
    assert keys(prefix="k", min_mod_revision=4, max_mod_revision=5) == ("23", 10, False)
    assert keys(prefix="k", count_only=True) == ("", 10, False)
    assert keys(prefix="k", keys_only=True, limit=6) == ("012345", 10, True)
    assert keys(prefix="k", revision=3) == ("01", 2, False)
    assert {kv.value for kv in clerk.range(keys_only=True).kvs} == {""}
    assert [row[0] for row in clerk.scan("k", "k2", 7)] == [f"k{n}" for n in range(2, 9)]
    for options in ({"order": "up"}, {"target": "size"}, {"prefix": "k", "end": "z"}):
        with pytest.raises(errors.InvalidRequestError):
            clerk.range(**options)


def test_a_scan_is_of_one_revision(clerk, cluster, monkeypatch):
    monkeypatch.setattr(reads, "MAX_PAGE_ROWS", 2)
    for n in range(6):
        clerk.put(f"k{n}", "old")

    def write_between_pages(method, args):
        if method == "range":
            number = cluster.index
            cluster.carry_out("put", (f"w{number}", 1, 1, 1, b"k5", b"new"))
            cluster.carry_out("put", (f"x{number}", 1, 1, 1, b"k9", b"new"))

    cluster.servers[1].behave = write_between_pages
    first = clerk.scan()
    assert first[-1] == ("k9", "new", first[-1][2]) and len(first) == 7
    assert len({row[2] for row in clerk.scan()}) == 7
    pages = []

    def compact_between_pages(method, args):
        if method == "range":
            pages.append(args)
            number, revision = cluster.index, cluster.store.data.revision
            cluster.carry_out("put", (f"y{number}", 1, 1, 1, b"k7", b"new"))
            if len(pages) == 1:
                return
            cluster.carry_out("compact", (f"z{number}", 1, 1, 1, revision + 1))

    cluster.servers[1].behave = compact_between_pages
    with pytest.raises(errors.CompactedError):
        clerk.scan()


def test_delete_range(clerk):
    for key in ("a", "b", "c"):
        clerk.put(key, key)
    gone = clerk.delete_range("b", prev_kvs=True)
    assert (gone.deleted, gone.revision, [kv.key for kv in gone.prev_kvs]) == (2, 5, ["b", "c"])
    assert clerk.delete_range(prefix="x")[:2] == (0, [])
    assert clerk.delete_range().deleted == 1


def test_transactions(clerk, cluster):
    t = clerk.transactions
    clerk.put("k", "v")
    result = clerk.transaction(
        [
            t.value("k") == "v",
            t.version("k") > 0,
            t.create("none") == 0,
            t.mod("k") < 9,
            t.lease("k", prefix=True) != 7,
        ],
        [
            t.put("k", "w", prev_kv=True),
            t.append("log", "x"),
            t.get("k"),
            t.delete("other"),
            t.get("l", prefix=True),
            t.txn([t.version("log") > 0], [], [t.put("first", "y")]),
        ],
        [t.get("k")],
    )
    assert result[0] is True
    put, append, get, delete, found, nested = result[1]
    assert put == (3, KeyValue("k", "v", 2, 2, 1, 0)) and append == 3
    assert get == KeyValue("k", "w", 2, 3, 2, 0) and delete.deleted == 0
    assert [kv.key for kv in found.kvs] == ["log"]
    assert nested == (False, [3])
    cluster.requests.clear()
    assert clerk.transaction([t.value("k") == "v"], [], [t.get("k"), t.get("none")]) == (False, [get, None])
    assert [method for _, method, _ in cluster.requests] == ["txn_read"], "nothing is written to the log"
    with pytest.raises(errors.InvalidRequestError, match="written twice"):
        clerk.transaction([], [t.put("k", "1"), t.put("k", "2")])
    with pytest.raises(errors.LeaseNotFoundError):
        clerk.transaction([], [t.put("k", "1"), t.put("l", "2", lease=4)])
    assert clerk.get("k") == "w"
    with pytest.raises(errors.InvalidRequestError, match="a compare is such as"):
        clerk.transaction([True], [t.get("k")])


def test_a_transaction_can_be_submitted(clerk):
    t = clerk.transactions
    future = clerk.submit("transaction", [t.version("k") == 0], [t.put("k", "v"), t.get("k")])
    held, (revision, kv) = future.result(10.0)
    assert (held, kv.value, kv.mod_revision) == (True, "v", revision)
    with pytest.raises(errors.InvalidRequestError):
        clerk.submit("transaction", ["k"])
