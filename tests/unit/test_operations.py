from __future__ import annotations

import json
import random

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
from raftkv.kvdb.operations import (
    OPERATIONS,
    WRITES,
    Append,
    Batch,
    Cas,
    Delete,
    DumpEnd,
    DumpPiece,
    Get,
    Gets,
    Operation,
    Put,
    Read,
    Register,
    Scan,
    Status,
    Write,
)
from raftkv.kvdb.requests import entry_of, of_entry, of_request
from raftkv.kvdb.store import Store

BIG = "v" * MAX_VALUE_BYTES


def checked(method, args) -> Operation:
    """The operation of a request. Raises InvalidRequestError."""
    operation = of_request(method, args)
    operation.check()
    return operation


def test_the_table_has_each_operation_under_its_name():
    assert {name: kind.name for name, kind in OPERATIONS.items()} == {name: name for name in OPERATIONS}
    assert {name for name, kind in OPERATIONS.items() if issubclass(kind, Write)} == set(WRITES)


@pytest.mark.parametrize(
    "operation, data",
    [
        (Register(), [0, 0, 0, "register"]),
        (Put("k", "v"), [5, 2, 1, "put", "k", "v"]),
        (Append("k", ""), [5, 2, 1, "append", "k", ""]),
        (Delete("é"), [5, 2, 1, "delete", "é"]),
        (Cas("k", None, "v"), [5, 2, 1, "cas", "k", None, "v"]),
        (Cas("k", "old", "v"), [5, 2, 1, "cas", "k", "old", "v"]),
        (Batch([Put("k", "v"), Delete("k")]), [5, 2, 1, "batch", [["put", "k", "v"], ["delete", "k"]]]),
    ],
)
def test_a_write_is_the_same_at_the_client_in_the_request_and_in_the_log(operation, data):
    args = (5, 2, 1, *operation.plain()) if operation.numbered else operation.plain()
    received = checked(operation.name, args)
    entry = json.loads(json.dumps(entry_of(received, args)))
    assert entry == data
    for each in (received, of_entry(entry)):
        assert type(each) is type(operation) and each == operation
        assert type(each) is not Batch or [type(write) for write in each.writes] == [Put, Delete]


@pytest.mark.parametrize(
    "operation",
    [
        Get("k"),
        Gets(["k", "l"]),
        Gets([]),
        Scan("", "", None),
        Scan("p", "k" * MAX_KEY_BYTES + "\0", 1),  # the page after the longest key there can be
        Status(),
        DumpPiece(1, 0),
        DumpEnd(1),
    ],
)
def test_reads_are_the_same_at_the_client_and_in_the_request(operation):
    received = checked(operation.name, operation.plain())
    assert type(received) is type(operation) and received == operation
    assert not isinstance(received, Write)


@pytest.mark.parametrize(
    "operation, grows, operations",
    [
        (Put("k", "v"), True, 1),
        (Append("k", "v"), True, 1),
        (Cas("k", "v", "w"), True, 1),
        (Delete("k"), False, 1),
        (Register(), False, 1),
        (Batch([Delete("k"), Delete("l")]), False, 2),
        (Batch([Delete("k"), Put("k", "v"), Delete("l")]), True, 3),
        (Get("k"), False, 1),
    ],
)
def test_an_operation_says_whether_it_can_make_the_data_larger(operation, grows, operations):
    assert (operation.grows, operation.operations) == (grows, operations)


@pytest.mark.parametrize(
    "data", [[1, 1, 1, "drop", "k"], [1, 1, 1, "get", "k"], [1, 1, 1, "batch", [["register"]]]]
)
def test_an_entry_that_is_no_write_raises(data):
    with pytest.raises(KeyError):
        of_entry(data)


@pytest.mark.parametrize(
    "method, args, words",
    [
        ("drop", (), "no method 'drop'"),
        ("x" * 10_000, (), "no method 'xxxx"),
        (["put"], (), "no method of type list"),
        (None, (), "no method of type NoneType"),
        ("get", ["k"], "must be a tuple, not list"),
        ("get", (), "get takes 1 argument, not 0"),
        ("get", (1,), "key must be text (str), not int"),
        ("get", ("",), "the key is empty"),
        ("get", (b"k",), "not bytes"),
        ("get", ("\ud800k",), "half a surrogate pair at position 0"),
        ("gets", ("k",), "a list of keys, not str"),
        ("gets", (["k"] * (MAX_BATCH_OPS + 1),), "up to 10000 keys, not 10001"),
        ("gets", (["k", None],), "not NoneType"),
        ("gets", (["k" * MAX_KEY_BYTES] * 26,), "request is too large"),
        ("scan", ("",), "scan takes 3 arguments, not 1"),
        ("scan", (None, "", 1), "prefix must be text"),
        ("scan", ("", "\udfff", 1), "start is not valid Unicode"),
        ("scan", ("", "", 0), "from 1 on"),
        ("scan", ("", "", True), "from 1 on"),
        ("scan", ("", "", 2**63), "from 1 on"),
        ("status", (1,), "status takes 0 arguments, not 1"),
        ("register", (1, 1, 1), "register takes 0 arguments"),
        ("put", (1, 1), "client, seq and acked"),
        ("put", (1, 1, 1, "k"), "put takes 2 arguments, not 1"),
        ("put", (1, 1, 1, "k", "v", "w"), "put takes 2 arguments, not 3"),
        ("put", (True, 1, 1, "k", "v"), "whole numbers"),
        ("put", (1, 1.0, 1, "k", "v"), "whole numbers"),
        ("put", (0, 1, 1, "k", "v"), "registered id"),
        ("put", (1, 1, 2, "k", "v"), "acked from 0 to seq"),
        ("put", (1, 1, -1, "k", "v"), "acked from 0 to seq"),
        ("put", (1, 2**63, 1, "k", "v"), "acked from 0 to seq"),
        ("put", (10**5000, 1, 1, "k", "v"), "registered id"),
        ("put", (1, 1, 1, "k", None), "value must be text (str), not NoneType"),
        ("put", (1, 1, 1, "k", "\udc00"), "value is not valid Unicode"),
        ("append", (1, 1, 1, "k", 7), "value must be text"),
        ("delete", (1, 1, 1), "delete takes 1 argument, not 0"),
        ("cas", (1, 1, 1, "k", 7, "v"), "expected value must be text"),
        ("cas", (1, 1, 1, "k", "v", None), "value must be text"),
        ("batch", (1, 1, 1), "batch takes 1 argument, not 0"),
        ("batch", (1, 1, 1, "put"), "a list of operations, not str"),
        ("batch", (1, 1, 1, []), "1 to 10000 operations, not 0"),
        ("batch", (1, 1, 1, [["delete", "k"]] * 10_001), "1 to 10000 operations, not 10001"),
        ("batch", (1, 1, 1, ["put"]), "each operation of a batch must be a list"),
        ("batch", (1, 1, 1, [[]]), "each operation of a batch must be a list"),
        ("batch", (1, 1, 1, [["get", "k"]]), "no operation 'get'"),
        ("batch", (1, 1, 1, [["batch", []]]), "no operation 'batch'"),
        ("batch", (1, 1, 1, [["register"]]), "no operation 'register'"),
        ("batch", (1, 1, 1, [[["put"], "k", "v"]]), "no operation of type list"),
        ("batch", (1, 1, 1, [["put", "k", "v"], ["put", "", "v"]]), "the key is empty"),
    ],
)
def test_malformed_operations_are_refused_in_a_sentence(method, args, words):
    with pytest.raises(InvalidRequestError) as refusal:
        checked(method, args)
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_sizes_are_of_utf8_and_the_limits_are_inclusive():
    assert check_key("k" * MAX_KEY_BYTES) == MAX_KEY_BYTES
    assert check_key("é" * (MAX_KEY_BYTES // 2)) == MAX_KEY_BYTES
    assert check_value(BIG) == MAX_VALUE_BYTES
    assert check_value("\U0001f600" * (MAX_VALUE_BYTES // 4)) == MAX_VALUE_BYTES
    assert check_value("") == 0
    for key in ["k" * (MAX_KEY_BYTES + 1), "é" * (MAX_KEY_BYTES // 2) + "k"]:
        with pytest.raises(InvalidRequestError, match="key is too large: the limit is 65536 bytes"):
            check_key(key)
    for value in [BIG + "v", "é" + BIG[2:] + "v"]:
        with pytest.raises(InvalidRequestError, match="value is too large: the limit is 1572864 bytes"):
            check_value(value)


def test_a_request_counts_all_its_keys_and_values():
    key = "k" * MAX_KEY_BYTES
    checked("put", (1, 1, 1, key, BIG))
    checked("cas", (1, 1, 1, key, BIG[:1000], BIG[1000:]))
    checked("batch", (1, 1, 1, [["put", key, BIG[1001:]], ["put", "l", BIG[:1000]]]))
    assert Put("k", "é").check() == 3
    for method, args in [
        ("cas", (key, BIG[:1000], BIG[999:])),
        ("batch", ([["put", key, BIG[1000:]], ["put", "l", BIG[:1000]]],)),
    ]:
        with pytest.raises(InvalidRequestError, match=rf"too large: the limit is {MAX_REQUEST_BYTES} bytes"):
            checked(method, (1, 1, 1, *args))


def test_refused_operations_are_not_shown():
    nested = []
    for _ in range(100):  # its repr would have 2**100 brackets
        nested = [nested, nested]
    for method, args in [
        (nested, ()),
        ("get", (nested,)),
        ("put", (nested, 1, 1, "k", "v")),
        ("batch", (1, 1, 1, [[nested]])),
        ("scan", ("", "", nested)),
    ]:
        with pytest.raises(InvalidRequestError):
            checked(method, args)


def random_thing(chance: random.Random, depth: int = 0):
    plain = [None, True, 0, 1, -1, 2**64, 1.5, b"k", "", "k", "v" * 50, "\0", "é", "\ud800", "put", "batch"]
    if depth < 3 and chance.random() < 0.3:
        things = [random_thing(chance, depth + 1) for _ in range(chance.randint(0, 4))]
        return chance.choice([list, tuple, lambda t: {str(n): each for n, each in enumerate(t)}])(things)
    return chance.choice(plain)


def random_request(chance: random.Random):
    method = chance.choice([*sorted(WRITES), "get", "gets", "scan", "status"])
    number = chance.choice([0, 1, 2, 3, 2**62])
    operations = [
        ["put", "k", "v"],
        ["append", "k", "w"],
        ("delete", "k"),
        ["cas", "k", chance.choice([None, "v"]), "w"],
    ]
    own_args = {
        "batch": [chance.choices(operations, k=chance.randint(1, 3))],
        "register": [],
        "status": [],
        "gets": [["k"]],
        "scan": ["", "k", None],
        "get": ["k"],
    }.get(method) or list(next((op[1:] for op in operations if op[0] == method), []))
    args = (
        [1, number, chance.randint(0, number), *own_args]
        if method in WRITES and method != "register"
        else own_args
    )
    if chance.random() < 0.5:
        args.insert(chance.randint(0, len(args)), random_thing(chance))
    if args and chance.random() < 0.5:
        args[chance.randrange(len(args))] = random_thing(chance)
    return method, tuple(args)


@pytest.mark.parametrize("seed", range(5))
def test_operations_that_pass_never_make_the_store_raise_and_survive_json(seed):
    chance = random.Random(seed)
    store = Store()
    store.apply(1, [0, 0, 0, "register"])
    passed = 0
    for index in range(2, 2000):
        method, args = random_request(chance)
        try:
            operation = checked(method, args)
        except InvalidRequestError:
            continue
        passed += 1
        if isinstance(operation, Write):
            data = entry_of(operation, args)
            decoded = json.loads(json.dumps(data))
            ok, result = store.apply(index, *chance.choice([(data,), (data, operation), (decoded,)]))
            assert ok or len(result) == 3
        elif isinstance(operation, Read):
            assert operation.read(store)[0]
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
def test_what_cannot_be_asked_of_the_members_is_refused_before_it_is_tried(action, options, says):
    with pytest.raises(InvalidRequestError, match=says):
        checked("member", (action, options))
