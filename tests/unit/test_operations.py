from __future__ import annotations

import json
import random
from typing import Any

import pytest
from raftkv.errors import InvalidRequestError
from raftkv.kvdb.limits import (
    MAX_BATCH_OPS,
    MAX_KEY_BYTES,
    MAX_REQUEST_BYTES,
    MAX_VALUE_BYTES,
    check_key,
    check_value,
)
from raftkv.kvdb.maintenance import (
    Compact,
    Dump,
    DumpEnd,
    DumpPiece,
    LeaseExpire,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    Leases,
    LeaseTimeToLive,
    Status,
)
from raftkv.kvdb.member_requests import Hello
from raftkv.kvdb.operation import Operation, Read, Write
from raftkv.kvdb.operations import IN_LOG, OPERATIONS
from raftkv.kvdb.reads import Get, Gets, Range
from raftkv.kvdb.requests import entry_of, of_entry, of_request
from raftkv.kvdb.store import Store
from raftkv.kvdb.transactions import Compare, Txn, TxnRead, transaction
from raftkv.kvdb.writes import PREV_KV, Append, Batch, Cas, Delete, Put, Puts, batch_of

BIG = b"v" * MAX_VALUE_BYTES
FRONT = ("one", 1, 2, 1)


def checked(method, args) -> Operation:
    """The operation of a request. Raises InvalidRequestError."""
    operation = of_request(method, args)
    operation.check()
    return operation


def test_the_table_has_each_operation_under_its_name():
    assert {name: kind.name for name, kind in OPERATIONS.items()} == {name: name for name in OPERATIONS}
    assert {name for name, kind in OPERATIONS.items() if issubclass(kind, Write)} == set(IN_LOG) - {
        "lease_expire",
        "drop_history",
    }


NESTED = Txn([], [Get(b"g"), TxnRead([], [Range(b"a", b"\0", 5)], [])], [Delete(b"\xff", b"\0", True)])


@pytest.mark.parametrize(
    "operation, data",
    [
        (Put(b"k", b"v"), ["put", "k", "v"]),
        (Put(b"\xff", b"a\x80"), ["put", "\udcff", "a\udc80"]),
        (Put(b"k", b"v", 7), ["put", "k", "v", 7]),
        (Put(b"k", b"v", 0, 1), ["put", "k", "v", 0, 1]),
        (Append(b"k", b""), ["append", "k", ""]),
        (Delete("é".encode()), ["delete", "é"]),
        (Delete(b"a", b"\0", True), ["delete", "a", "\0", True]),
        (Cas(b"k", None, b"v"), ["cas", "k", None, "v"]),
        (Cas(b"k", b"old", b"v"), ["cas", "k", "old", "v"]),
        (Puts([b"k", b"l"], [b"v", b"\xff"]), ["puts", ["k", "l"], ["v", "\udcff"]]),
        (Batch([Put(b"k", b"v"), Delete(b"k")]), ["batch", [["put", "k", "v"], ["delete", "k"]]]),
        (Compact(7), ["compact", 7]),
        (LeaseGrant(5, 60), ["lease_grant", 5, 60]),
        (LeaseRevoke(5), ["lease_revoke", 5]),
        (
            Txn(
                [Compare(4, 0, b"k", b"", b"v"), Compare(1, 3, b"k", b"\0", 7)], [Put(b"k", b"w"), NESTED], []
            ),
            [
                "txn",
                [[4, 0, "k", "", "v"], [1, 3, "k", "\0", 7]],
                [
                    ["put", "k", "w"],
                    [
                        "txn",
                        [],
                        [["get", "g"], ["txn_read", [], [["range", "a", "\0", 5]], []]],
                        [["delete", "\udcff", "\0", True]],
                    ],
                ],
                [],
            ],
        ),
    ],
)
def test_a_write_is_the_same_at_the_client_in_the_request_and_in_the_log(operation, data):
    args = (*FRONT, *operation.plain())
    received = checked(operation.name, args)
    entry = json.loads(json.dumps(entry_of(received, args)))
    assert entry == [*FRONT, *data]
    for each in (received, of_entry(entry)):
        assert same(each, operation)


def same(one: Any, other: Any) -> bool:
    """Equal, also in the kinds of operations inside."""
    if type(one) is not type(other) or one != other:
        return False
    return not isinstance(one, (tuple, list)) or all(map(same, one, other))


def test_proposals_of_the_leader_belong_to_no_client():
    entry = json.loads(json.dumps(entry_of(LeaseExpire([(5, 2), (7, 3)]), ())))
    assert entry == ["", 0, 0, 0, "lease_expire", [[5, 2], [7, 3]]]
    assert same(of_entry(entry), LeaseExpire([[5, 2], [7, 3]]))
    with pytest.raises(InvalidRequestError):
        checked("lease_expire", ([5],))


@pytest.mark.parametrize(
    "operation",
    [
        Get(b"k"),
        Gets([b"k", b"l"]),
        Gets([]),
        Range(b"k"),
        Range(
            b"k" * MAX_KEY_BYTES + b"\0", b"\0", 1, 7, paged=True
        ),  # the page after the longest key there can be
        Range(b"a", b"b", order=2, target=4, keys_only=True, max_create=9),
        TxnRead([Compare(1, 0, b"k", b"", 0)], [Get(b"k")], [Range(b"a", b"\0")]),
        Leases(),
        LeaseKeepAlive(5),
        LeaseTimeToLive(5),
        LeaseTimeToLive(5, True),
        Hello(),
        Status(),
        Dump(),
        DumpPiece(1, 0),
        DumpEnd(1),
    ],
)
def test_reads_are_the_same_at_the_client_and_in_the_request(operation):
    received = checked(operation.name, operation.plain())
    assert same(received, operation)
    assert not isinstance(received, Write)


def test_a_batch_of_plain_puts_becomes_puts_and_any_other_stays_as_it_is():
    puts = [Put(b"k", b"v"), Put(b"l", b"w")]
    made = batch_of(puts)
    assert (type(made), made) == (Puts, ((b"k", b"l"), (b"v", b"w")))
    for other in (Put(b"k", b"v", 1), Put(b"k", b"", 0, PREV_KV), Delete(b"k"), Append(b"k", b"v")):
        made = batch_of([*puts, other])
        assert (type(made), made.writes) == (Batch, [*puts, other])


@pytest.mark.parametrize(
    "operation, grows, operations",
    [
        (Put(b"k", b"v"), True, 1),
        (Append(b"k", b"v"), True, 1),
        (Cas(b"k", b"v", b"w"), True, 1),
        (Delete(b"k"), False, 1),
        (LeaseGrant(1, 1), True, 1),
        (LeaseRevoke(1), False, 1),
        (Compact(1), False, 1),
        (Puts([b"k", b"l"], [b"v", b"w"]), True, 2),
        (Batch([Delete(b"k"), Delete(b"l")]), False, 2),
        (Batch([Delete(b"k"), Put(b"k", b"v"), Delete(b"l")]), True, 3),
        (Txn([], [Delete(b"k")], [Delete(b"l")]), False, 2),
        (Txn([], [Delete(b"k"), Txn([], [Put(b"k", b"v")], [])], []), True, 2),
        (Get(b"k"), False, 1),
    ],
)
def test_an_operation_says_whether_it_can_make_the_data_larger(operation, grows, operations):
    assert (operation.grows, operation.operations) == (grows, operations)


def test_a_transaction_is_of_the_kind_that_it_needs():
    assert type(transaction([], [Get(b"k")], [])) is TxnRead
    assert type(transaction([], [Get(b"k")], [Put(b"k", b"")])) is Txn
    assert type(transaction([], [transaction([], [], [Delete(b"k")])], [])) is Txn


@pytest.mark.parametrize(
    "data",
    [["drop", "k"], ["get", "k"], ["batch", [["compact", 1]]], ["txn", [], [["cas", "k", None, "v"]], []]],
)
def test_an_entry_that_is_no_write_raises(data):
    with pytest.raises(KeyError):
        of_entry([*FRONT, *data])


@pytest.mark.parametrize(
    "method, args, words",
    [
        ("drop", (), "no method 'drop'"),
        ("x" * 10_000, (), "no method 'xxxx"),
        (["put"], (), "no method of type list"),
        (None, (), "no method of type NoneType"),
        ("get", [b"k"], "must be a tuple, not list"),
        ("get", (), "get takes 1 argument, not 0"),
        ("get", (1,), "key must be text (str) or bytes, not int"),
        ("get", (b"",), "the key is empty"),
        ("get", ("k",), "not str"),
        ("gets", (b"k",), "a list of keys, not bytes"),
        ("gets", ([b"k"] * (MAX_BATCH_OPS + 1),), "up to 10000 keys, not 10001"),
        ("gets", ([b"k", None],), "not NoneType"),
        ("gets", ([b"k" * MAX_KEY_BYTES] * 26,), "request is too large"),
        ("range", (), "range takes 1 to 13 arguments, not 0"),
        ("range", (b"k", None), "end must be text"),
        ("range", (b"", b"\0"), "begins with an empty key"),
        ("range", (b"k", b"l", -1), "limit must be a whole number from 0 on"),
        ("range", (b"k", b"l", True), "limit must be a whole number"),
        ("range", (b"k", b"l", 2**63), "limit must be a whole number"),
        ("range", (b"k", b"l", 0, 0, 3), "order must be a whole number from 0 to 2"),
        ("range", (b"k", b"l", 0, 0, 0, 5), "target must be a whole number from 0 to 4"),
        ("range", (b"k", b"l", 0, 0, 0, 0, 1), "keys_only is either true or false"),
        ("range", (b"k", b"l", 0, 0, 2, 0, False, False, 0, 0, 0, 0, True), "neither sorted nor filtered"),
        ("status", (1,), "status takes 0 arguments, not 1"),
        ("put", (1, 1), "name, birth, seq and acked"),
        ("put", (*FRONT, b"k"), "put takes 2 to 4 arguments, not 1"),
        ("put", (*FRONT, b"k", b"v", 0, 0, 0), "put takes 2 to 4 arguments, not 5"),
        ("put", (1, 1, 1, 1, b"k", b"v"), "the name of a client"),
        ("put", ("", 1, 1, 1, b"k", b"v"), "the name of a client"),
        ("put", ("n" * 65, 1, 1, 1, b"k", b"v"), "the name of a client"),
        ("put", ("é", 1, 1, 1, b"k", b"v"), "the name of a client"),
        ("put", ("one", 1, 1.0, 1, b"k", b"v"), "whole numbers"),
        ("put", ("one", True, 1, 1, b"k", b"v"), "whole numbers"),
        ("put", ("one", -1, 1, 1, b"k", b"v"), "birth must be an index"),
        ("put", ("one", 1, 1, 2, b"k", b"v"), "acked from 0 to seq"),
        ("put", ("one", 1, 1, -1, b"k", b"v"), "acked from 0 to seq"),
        ("put", ("one", 1, 2**63, 1, b"k", b"v"), "acked from 0 to seq"),
        ("put", ("one", 10**5000, 1, 1, b"k", b"v"), "birth must be an index"),
        ("put", (*FRONT, b"k", None), "value must be text (str) or bytes, not NoneType"),
        ("put", (*FRONT, b"k", b"v", -1), "lease must be a whole number"),
        ("put", (*FRONT, b"k", b"v", 0.0), "lease must be a whole number"),
        ("put", (*FRONT, b"k", b"v", 0, 8), "options must be a whole number from 0 to 7"),
        ("append", (*FRONT, b"k", 7), "value must be text"),
        ("delete", FRONT, "delete takes 1 to 3 arguments, not 0"),
        ("delete", (*FRONT, b"k", b"", 0), "prev_kvs is either true or false"),
        ("cas", (*FRONT, b"k", 7, b"v"), "expected value must be text"),
        ("cas", (*FRONT, b"k", b"v", None), "value must be text"),
        ("compact", (*FRONT, 0), "revision must be a whole number from 1 on"),
        ("lease_grant", (*FRONT, 0, 1), "id of a lease must be"),
        ("lease_grant", (*FRONT, 1, 0), "time to live must be a whole number from 1 to"),
        ("puts", (*FRONT, [b"k"]), "puts takes 2 arguments, not 1"),
        ("puts", (*FRONT, b"k", b"v"), "the keys of puts must be a list, not bytes"),
        ("puts", (*FRONT, [b"k"], {"v": 1}), "the values of puts must be a list, not dict"),
        ("puts", (*FRONT, [b"k"], []), "as many values as keys, not 0 for 1"),
        ("puts", (*FRONT, [], []), "1 to 10000 keys, not 0"),
        ("puts", (*FRONT, [b"k"] * 10_001, [b"v"] * 10_001), "1 to 10000 keys, not 10001"),
        ("puts", (*FRONT, [b"k", b""], [b"v", b"w"]), "the key is empty"),
        ("puts", (*FRONT, [b"k", "l"], [b"v", b"w"]), "the key must be text (str) or bytes, not str"),
        (
            "puts",
            (*FRONT, [b"k", b"l"], [b"v", None]),
            "the value must be text (str) or bytes, not NoneType",
        ),
        ("puts", (*FRONT, [b"k", b"l"], [b"v", BIG + BIG]), "the value is too large"),
        ("puts", (*FRONT, [b"k", BIG], [b"v", b"w"]), "the key is too large"),
        ("puts", (*FRONT, [b"k", b"l"], [BIG, BIG]), "the batch is too large"),
        ("batch", FRONT, "batch takes 1 argument, not 0"),
        ("batch", (*FRONT, "put"), "a list of operations, not str"),
        ("batch", (*FRONT, []), "1 to 10000 operations, not 0"),
        ("batch", (*FRONT, [["delete", b"k"]] * 10_001), "1 to 10000 operations, not 10001"),
        ("batch", (*FRONT, ["put"]), "each operation of a batch must be a list"),
        ("batch", (*FRONT, [[]]), "each operation of a batch must be a list"),
        ("batch", (*FRONT, [["get", b"k"]]), "no operation 'get'"),
        ("batch", (*FRONT, [["batch", []]]), "no operation 'batch'"),
        ("batch", (*FRONT, [[["put"], b"k", b"v"]]), "no operation of type list"),
        ("batch", (*FRONT, [["put", b"k", b"v"], ["put", b"", b"v"]]), "the key is empty"),
        ("txn", (*FRONT, [], []), "txn takes 3 arguments, not 2"),
        ("txn", (*FRONT, [], [], None), "made of lists, not of NoneType"),
        ("txn", (*FRONT, [[1, 2]], [], []), "a compare has"),
        ("txn", (*FRONT, [[6, 0, b"k", b"", 1]], [], []), "target of a compare"),
        ("txn", (*FRONT, [[1, 4, b"k", b"", 1]], [], []), "relation of a compare"),
        ("txn", (*FRONT, [[1, 0, b"k", b"", b"1"]], [], []), "number to compare with"),
        ("txn", (*FRONT, [[4, 0, b"k", b"", 1]], [], []), "value must be text"),
        ("txn", (*FRONT, [], [["cas", b"k", None, b"v"]], []), "is one of get, range"),
        ("txn", (*FRONT, [], [[["put"], b"k", b"v"]], []), "is one of get, range"),
        ("txn", (*FRONT, [], [["put", b"", b"v"]], []), "the key is empty"),
    ],
)
def test_malformed_operations_are_refused_in_a_sentence(method, args, words):
    with pytest.raises(InvalidRequestError) as refusal:
        checked(method, args)
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_the_limits_are_of_bytes_and_inclusive():
    assert check_key(b"k" * MAX_KEY_BYTES) == MAX_KEY_BYTES
    assert check_value(BIG) == MAX_VALUE_BYTES
    assert check_value(b"") == 0
    with pytest.raises(InvalidRequestError, match="key is too large: the limit is 65536 bytes"):
        check_key(b"k" * (MAX_KEY_BYTES + 1))
    with pytest.raises(InvalidRequestError, match="value is too large: the limit is 1572864 bytes"):
        check_value(BIG + b"v")


def test_a_request_counts_all_its_keys_and_values():
    key = b"k" * MAX_KEY_BYTES
    checked("put", (*FRONT, key, BIG))
    checked("cas", (*FRONT, key, BIG[:1000], BIG[1000:]))
    checked("batch", (*FRONT, [["put", key, BIG[1001:]], ["put", b"l", BIG[:1000]]]))
    checked("txn", (*FRONT, [], [["put", key, BIG[1001:]]], [["put", b"l", BIG[:1000]]]))
    assert Put(b"k", b"vv").check() == 3
    for method, args in [
        ("cas", (key, BIG[:1000], BIG[999:])),
        ("batch", ([["put", key, BIG[1000:]], ["put", b"l", BIG[:1000]]],)),
        ("txn", ([], [["put", key, BIG[1000:]]], [["put", b"l", BIG[:1000]]])),
    ]:
        with pytest.raises(InvalidRequestError, match=rf"too large: the limit is {MAX_REQUEST_BYTES} bytes"):
            checked(method, (*FRONT, *args))


def test_refused_operations_are_not_shown():
    nested = []
    for _ in range(100):  # its repr would have 2**100 brackets
        nested = [nested, nested]
    for method, args in [
        (nested, ()),
        ("get", (nested,)),
        ("put", (nested, 1, 1, 1, b"k", b"v")),
        ("batch", (*FRONT, [[nested]])),
        ("range", (b"k", b"l", nested)),
        ("txn", (*FRONT, nested, [], [])),
        ("txn", (*FRONT, [], [nested], [])),
    ]:
        with pytest.raises(InvalidRequestError):
            checked(method, args)


def random_thing(chance: random.Random, depth: int = 0):
    plain = [
        None,
        True,
        0,
        1,
        -1,
        2**64,
        1.5,
        b"k",
        b"",
        "k",
        b"v" * 50,
        b"\0",
        b"\xff",
        "\ud800",
        "put",
        "batch",
    ]
    if depth < 3 and chance.random() < 0.3:
        things = [random_thing(chance, depth + 1) for _ in range(chance.randint(0, 4))]
        return chance.choice([list, tuple, lambda t: {str(n): each for n, each in enumerate(t)}])(things)
    return chance.choice(plain)


WRITES: dict[str, list[Any]] = {
    "put": [b"k", b"v", 5, 1],
    "append": [b"k", b"w"],
    "delete": [b"k", b"m", True],
    "cas": [b"k", b"v", b"w"],
    "puts": [[b"k", b"l"], (b"v", b"w")],
    "batch": [[["put", b"k", b"v"], ("delete", b"k"), ["append", b"k", b"w"]]],
    "txn": [[[4, 0, b"k", b"", b"v"]], [["put", b"k", b"v"], ["range", b"a", b"z", 1]], [["delete", b"k"]]],
    "compact": [2],
    "lease_grant": [5, 60],
    "lease_revoke": [5],
}
READS: dict[str, list[Any]] = {
    "get": [b"k"],
    "gets": [[b"k"]],
    "range": [b"k", b"l", 1, 2, 1, 1],
    "txn_read": [[[1, 1, b"k", b"z", 0]], [["get", b"k"]], []],
    "leases": [],
    "lease_keep_alive": [5],
    "lease_time_to_live": [5, True],
    "status": [],
}


def random_request(chance: random.Random):
    method = chance.choice([*sorted(WRITES), *sorted(READS)])
    number = chance.choice([0, 1, 2, 3, 2**62])
    args = (
        list(READS[method])
        if method in READS
        else ["one", 1, number, chance.randint(0, number), *WRITES[method]]
    )
    if chance.random() < 0.3:
        args.insert(chance.randint(0, len(args)), random_thing(chance))
    if args and chance.random() < 0.4:
        args[chance.randrange(len(args))] = random_thing(chance)
    return method, tuple(args)


@pytest.mark.parametrize("seed", range(5))
def test_operations_that_pass_never_make_the_store_raise_and_survive_json(seed):
    chance = random.Random(seed)
    store = Store()
    passed = 0
    for index in range(2, 2000):
        method, args = random_request(chance)
        try:
            operation = checked(method, args)
        except InvalidRequestError:
            continue
        passed += 1
        if isinstance(operation, Write):
            data = json.loads(json.dumps(entry_of(operation, args)))
            ok, result = store.apply(index, *chance.choice([(data,), (data, operation)]))
            assert ok or len(result) == 3
        elif isinstance(operation, Read):
            ok, result = operation.read(store.data)
            assert ok or len(result) == 3
    assert 300 < passed < 1500, f"{passed} requests passed: this test tries too little of one kind"


@pytest.mark.parametrize(
    "action, options, says",
    [
        ("destroy", {}, "members are asked for by one of list, add, remove"),
        (["add"], {}, "members are asked for by one of"),
        ("remove", {}, "member remove takes id"),
        ("remove", [("id", 1)], "member remove takes id"),
        ("remove", {"id": True}, "id must be of type int"),
        ("remove", {"id": 0}, "id must be the id of a member"),
        ("transfer", {"id": -1, "leader": 1}, "id must be the id of a member"),
        (
            "move",
            {"id": 1, "client_address": "", "peer_address": "", "http_address": ""},
            "at least one address",
        ),
        (
            "move",
            {"id": 1, "client_address": "a:0", "peer_address": "", "http_address": ""},
            "must be HOST:PORT",
        ),
        ("move", {"id": 1, "client_address": "", "peer_address": "a b:1", "http_address": ""}, "is no host"),
        (
            "add",
            {"id": 1, "client_address": "", "peer_address": "a:1", "learner": False},
            "client_address must be HOST:PORT",
        ),
    ],
)
def test_senseless_member_requests_are_refused_before_they_are_tried(action, options, says):
    with pytest.raises(InvalidRequestError, match=says):
        checked("member", (action, options))
