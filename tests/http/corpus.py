"""Requests to etcd's JSON API, in an order in which each finds what those before have left.

A request is (name, path, body). What depends on the revision at which the corpus began is made by a function of it.
"""

import base64
import itertools
import json

PREFIX = "corpus/"
LEASE = 7_000_000_000_000_001  # which no double holds, and below it some more


def b64(text):
    return base64.b64encode(text.encode()).decode()


def key(name):
    return b64(PREFIX + name)


ALL = {"key": key(""), "range_end": b64("corpus0")}


def requests(base):
    """[(name, method, path, body as bytes)]; `base`: the revision of the store before."""
    made = []
    for section in (
        _puts,
        _sorted,
        _ranges,
        _transactions,
        _deletes,
        _leases,
        _locks,
        _history,
        _json,
        _paths,
        _auth,
    ):
        for name, path, body, *method in section(base):
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            made.append((f"{section.__name__[1:]}: {name}", method[0] if method else "POST", path, data))
    return made


def _puts(base):
    put = "/v3/kv/put"
    for name in "abcde":
        yield f"{name}", put, {"key": key(name), "value": b64(f"value of {name}")}
    yield "again", put, {"key": key("a"), "value": b64("z")}
    yield "previous", put, {"key": key("a"), "value": b64("zz"), "prev_kv": True}
    yield "previous, camelCase", put, {"key": key("b"), "prevKv": True}
    yield "previous of none", put, {"key": key("f"), "prev_kv": True}
    yield "no value", put, {"key": key("g")}
    yield "ignore_value", put, {"key": key("c"), "ignore_value": True}
    yield "ignore_value of none", put, {"key": key("none"), "ignore_value": True}
    yield "ignore_value with a value", put, {"key": key("c"), "ignore_value": True, "value": b64("x")}
    yield "ignore_lease", put, {"key": key("c"), "ignore_lease": True, "value": b64("y")}
    yield "ignore_lease of none", put, {"key": key("none"), "ignore_lease": True}
    yield "ignore_lease with a lease", put, {"key": key("c"), "ignore_lease": True, "lease": 5}
    yield "no such lease", put, {"key": key("c"), "lease": 5}
    yield "negative lease", put, {"key": key("c"), "lease": -5}
    yield "no key", put, {"value": b64("x")}
    yield "nothing", put, {}
    yield "bytes", put, {"key": key("bytes"), "value": base64.b64encode(bytes(range(256))).decode()}
    yield "bytes, read", "/v3/kv/range", {"key": key("bytes")}
    yield "not UTF-8 key", put, {"key": base64.b64encode(b"corpus/\xff\xfe\x00").decode(), "value": b64("1")}
    yield "not UTF-8 key, read", "/v3/kv/range", {"key": base64.b64encode(b"corpus/\xff\xfe\x00").decode()}


def _sorted(base):
    """Of keys that no two are equal in anything: the order of equal ones is nobody's to say."""
    for name, value, versions in (("s1", "m", 2), ("s2", "x", 4), ("s3", "a", 1), ("s4", "f", 3)):
        for version in range(versions):
            yield f"put {name} {version}", "/v3/kv/put", {"key": key(name), "value": b64(value)}
    path, some = "/v3/kv/range", {"key": key("s"), "range_end": key("t")}
    orders, targets = ["NONE", "ASCEND", "DESCEND"], ["KEY", "VERSION", "CREATE", "MOD", "VALUE"]
    for order, target in itertools.product(orders, targets):
        yield f"{order} {target}", path, {**some, "sort_order": order, "sort_target": target}
        yield f"{order} {target} of 2", path, {**some, "sortOrder": order, "sortTarget": target, "limit": 2}
    for order, target in itertools.product(range(3), range(5)):
        yield (
            f"{order} {target}",
            path,
            {**some, "sort_order": order, "sort_target": target, "keys_only": True},
        )


def _ranges(base):
    path = "/v3/kv/range"
    for limit in (0, 1, 2, 9, 100, -1, "3"):
        yield f"limit {limit!r}", path, {**ALL, "limit": limit}
        yield f"limit {limit!r}, count", path, {**ALL, "limit": limit, "count_only": True}
    for revision in (base, base + 1, base + 3, base + 6, -1, 0, 10**9):
        yield f"revision {revision - base if revision > 0 else revision}", path, {**ALL, "revision": revision}
    for bound in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
        for at in (base + 1, base + 4, base + 100, 0, -1):
            yield f"{bound} {at - base if at > 0 else at}", path, {**ALL, bound: at}
            yield f"{bound} {at - base if at > 0 else at}, of 2", path, {**ALL, bound: str(at), "limit": 2}
    for first, end in [("a", "c"), ("a", "a"), ("c", "a"), ("a", ""), ("", "b"), ("e", "~"), ("x", "y")]:
        yield f"from {first!r} to {end!r}", path, {"key": key(first), "range_end": key(end) if end else ""}
    yield "from a key on", path, {"key": key("e"), "range_end": "AA==", "limit": 3}
    yield "no key", path, {"range_end": "AA=="}
    yield "serializable", path, {"key": key("a"), "serializable": True}
    yield "none", path, {"key": key("none")}
    yield "keys and count", path, {**ALL, "keys_only": True, "count_only": True}


def _transactions(base):
    path = "/v3/kv/txn"
    get = {"request_range": {"key": key("a")}}
    put = {"request_put": {"key": key("t"), "value": b64("1")}}
    operands = {
        "VERSION": {"version": 2},
        "CREATE": {"create_revision": base + 1},
        "MOD": {"modRevision": str(base + 7)},
        "VALUE": {"value": b64("zz")},
        "LEASE": {"lease": 0},
    }
    for (target, operand), result in itertools.product(
        operands.items(), ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]
    ):
        for name in ("a", "none"):
            compare = {"key": key(name), "target": target, "result": result, **operand}
            yield f"{name} {target} {result}", path, {"compare": [compare], "success": [get], "failure": []}
        compare = {**ALL, "target": target, "result": result, **operand}
        yield f"a range {target} {result}", path, {"compare": [compare], "success": [get]}
    yield "result by number", path, {"compare": [{"key": key("a"), "target": 3, "result": 1, "value": ""}]}
    yield "unknown result", path, {"compare": [{"key": key("a"), "result": 9}]}
    yield "unknown target", path, {"compare": [{"key": key("a"), "target": 9}]}
    yield "negative number", path, {"compare": [{"key": key("a"), "result": "GREATER", "version": -1}]}
    yield "another target's number", path, {"compare": [{"key": key("a"), "target": "MOD", "version": 5}]}
    yield "nothing", path, {}
    yield "compare without key", path, {"compare": [{}]}
    yield "empty operation", path, {"success": [{}]}
    yield "put", path, {"success": [put]}
    yield "put and get", path, {"success": [put, {"request_range": {"key": key("t")}}]}
    yield "get before put", path, {"success": [{"request_range": {"key": key("t")}}, put]}
    yield "put with prev_kv", path, {"success": [{"requestPut": {"key": key("t"), "prevKv": True}}]}
    yield "else", path, {"compare": [{"key": key("t")}], "success": [put], "failure": [get, get]}
    yield "put twice", path, {"success": [put, put]}
    yield "put in both branches", path, {"success": [put], "failure": [put]}
    delete_t = {"request_delete_range": {"key": key("t"), "prev_kv": True}}
    yield "put and delete", path, {"success": [put, delete_t]}
    yield "delete twice", path, {"success": [delete_t, delete_t]}
    yield "nested", path, {"success": [{"request_txn": {"success": [put, get], "failure": []}}, get]}
    yield (
        "nested twice",
        path,
        {"success": [{"request_txn": {"success": [{"request_txn": {"success": [get]}}]}}]},
    )
    yield "nested put twice", path, {"success": [put, {"request_txn": {"success": [put]}}]}
    yield "128 operations", path, {"success": [get] * 128}
    yield "129 operations", path, {"success": [get] * 129}
    yield "129 compares", path, {"compare": [{"key": key("a")}] * 129}
    yield "put with no such lease", path, {"success": [{"request_put": {"key": key("t"), "lease": 99}}]}
    yield "put without key", path, {"success": [{"request_put": {}}]}
    yield "future revision", path, {"success": [{"request_range": {"key": key("a"), "revision": 10**9}}]}


def _deletes(base):
    path = "/v3/kv/deleterange"
    yield "one", path, {"key": key("f")}
    yield "none", path, {"key": key("f")}
    yield "previous", path, {"key": key("g"), "prev_kv": True}
    yield "range", path, {"key": key("d"), "range_end": key("f"), "prevKv": True}
    yield "empty range", path, {"key": key("x"), "range_end": key("y"), "prev_kv": True}
    yield "end before key", path, {"key": key("f"), "range_end": key("a")}
    yield "no key", path, {}
    yield "created again", "/v3/kv/put", {"key": key("d"), "value": b64("2")}
    yield "created again, read", "/v3/kv/range", {"key": key("d")}


def _leases(base):
    yield "grant", "/v3/lease/grant", {"TTL": 60, "ID": LEASE}
    yield "grant, text", "/v3/lease/grant", {"TTL": "60", "ID": str(LEASE + 1)}
    yield "grant again", "/v3/lease/grant", {"TTL": 60, "ID": LEASE}
    yield "grant, no TTL", "/v3/lease/grant", {"ID": LEASE + 2}
    yield "grant, negative TTL", "/v3/lease/grant", {"TTL": -1, "ID": LEASE + 3}
    yield "grant, too long", "/v3/lease/grant", {"TTL": 9_000_000_001}
    yield "grant, drawn", "/v3/lease/grant", {"TTL": 60}
    yield "put", "/v3/kv/put", {"key": key("l1"), "lease": LEASE}
    yield "put another", "/v3/kv/put", {"key": key("l2"), "lease": str(LEASE), "value": b64("1")}
    yield "read", "/v3/kv/range", {"key": key("l"), "range_end": key("m")}
    yield "time to live", "/v3/lease/timetolive", {"ID": LEASE}
    yield "time to live, keys", "/v3/lease/timetolive", {"ID": LEASE, "keys": True}
    yield "time to live, old path", "/v3/kv/lease/timetolive", {"ID": LEASE, "keys": True}
    yield "time to live of none", "/v3/lease/timetolive", {"ID": 12345, "keys": True}
    yield "time to live, no id", "/v3/lease/timetolive", {}
    yield "keepalive", "/v3/lease/keepalive", {"ID": LEASE}
    yield "keepalive of none", "/v3/lease/keepalive", {"ID": 12345}
    yield "keepalive, no id", "/v3/lease/keepalive", {}
    yield "keepalive, several", "/v3/lease/keepalive", b'{"ID":%d} {"ID":1}' % LEASE
    yield "keepalive, the second malformed", "/v3/lease/keepalive", b'{"ID":1}{"ID":x}'
    yield "keepalive, no body", "/v3/lease/keepalive", b""
    yield "keepalive, malformed", "/v3/lease/keepalive", b'{"ID":"x"}'
    yield "detached by a put", "/v3/kv/put", {"key": key("l2")}
    yield "ignore_lease", "/v3/kv/put", {"key": key("l1"), "ignore_lease": True, "value": b64("3")}
    yield "keys", "/v3/lease/timetolive", {"ID": LEASE, "keys": True}
    yield "revoke", "/v3/lease/revoke", {"ID": LEASE}
    yield "revoke, old path", "/v3/kv/lease/revoke", {"ID": LEASE + 1}
    yield "revoke again", "/v3/lease/revoke", {"ID": LEASE}
    yield "revoke, no id", "/v3/lease/revoke", {}
    yield "revoked", "/v3/kv/range", {"key": key("l"), "range_end": key("m")}


def _locks(base):
    lease = LEASE + 10
    yield "grant", "/v3/lease/grant", {"TTL": 60, "ID": lease}
    yield "lock", "/v3/lock/lock", {"name": key("lock"), "lease": lease}
    yield "lock again", "/v3/lock/lock", {"name": key("lock"), "lease": lease}
    held = f"{PREFIX}lock/{lease:x}"
    yield "its key", "/v3/kv/range", {"key": b64(held)}
    yield "unlock", "/v3/lock/unlock", {"key": b64(held)}
    yield "unlock again", "/v3/lock/unlock", {"key": b64(held)}
    yield "unlock, no key", "/v3/lock/unlock", {}
    yield "lock, no such lease", "/v3/lock/lock", {"name": key("lock"), "lease": 12345}
    campaign = {"name": key("vote"), "lease": lease, "value": b64("me")}
    yield "campaign", "/v3/election/campaign", campaign
    yield "campaign again", "/v3/election/campaign", {**campaign, "value": b64("I")}
    yield "leader", "/v3/election/leader", {"name": key("vote")}
    yield "leader of none", "/v3/election/leader", {"name": key("nobody")}
    leader = {"name": key("vote"), "key": b64(f"{PREFIX}vote/{lease:x}"), "rev": "1", "lease": lease}
    yield "proclaim, not leader", "/v3/election/proclaim", {"leader": leader, "value": b64("x")}
    yield "proclaim, nothing", "/v3/election/proclaim", {}
    yield "resign, nothing", "/v3/election/resign", {}
    yield "resign, not leader", "/v3/election/resign", {"leader": leader}
    yield "revoke", "/v3/lease/revoke", {"ID": lease}


def _history(base):
    yield "compact", "/v3/kv/compaction", {"revision": base + 4}
    yield "compact again", "/v3/kv/compaction", {"revision": str(base + 4)}
    yield "compact, before", "/v3/kv/compaction", {"revision": base + 1}
    yield "compact, nothing", "/v3/kv/compaction", {}
    yield "compact, negative", "/v3/kv/compaction", {"revision": -1}
    yield "compact, future", "/v3/kv/compaction", {"revision": 10**9}
    yield "compacted", "/v3/kv/range", {**ALL, "revision": base + 3}
    yield "oldest that is left", "/v3/kv/range", {**ALL, "revision": base + 4}


def _json(base):
    path = "/v3/kv/range"
    texts = [
        "", " ", "null", "[]", '"x"', "1", "true", "{", '{"key":', '{"key"', "{]", "x", "{}x",
        '{"key":1}', '{"key":true}', '{"key":[]}', '{"key":{}}', '{"key":null}', '{"key":"$%"}', '{"key":"Zg"}',
        '{"key":"Zg="}', '{"key":"Zg=="}', '{"key":"Z-9_"}', '{"key":"Zm\\n9v"}', '{"key":"Zg==","foo":1}',
        '{"key":"Zg=="} trailing', '{"key":"Zg==","key":"Zw=="}', '{"KEY":"Zg=="}', '{"Key":"Zg=="}',
    ]  # fmt: skip
    values = ['"x"', '""', "1.5", '"1.5"', "1e2", "9223372036854775808", '"9223372036854775807"', "-9223372036854775809",
              "true", "[]", "{}", "null", '"null"', '"true"', "01", "+1", "NaN", "1" * 100, '" 5"', '"5 "', '"0x5"', "-0"]  # fmt: skip
    texts += ['{"key":"Zg==","limit":%s}' % value for value in values]
    texts += ['{"key":"Zg==","keys_only":%s}' % value for value in ('"true"', "1", "null", "[]")]
    texts += [
        '{"key":"Zg==","sort_order":%s}' % value
        for value in ('"X"', '"1"', "99", "1.5", "true", "null", "[]")
    ]
    for text in texts:
        yield text[:40], path, text.encode()
    yield "compare is no list", "/v3/kv/txn", {"compare": {}}
    yield "compare holds no objects", "/v3/kv/txn", {"compare": [1]}
    yield "operation is no object", "/v3/kv/txn", {"success": [{"request_put": 1}]}
    yield "null in a list", "/v3/kv/txn", b'{"compare":[null]}'


def _paths(base):
    for path in ("/v3/nope", "/v3/kv", "/v3/kv/range/", "/v3/kv/range/x", "/v4/kv/range", "/", "/x"):
        yield path, path, {}
    for path in ("/v3/kv/range", "/v3/lease/grant", "/v3/nope", "/x", "/version", "/health"):
        yield f"GET {path}", path, b"", "GET"
    for path in ("/v3/kv/range", "/version", "/health"):
        yield f"PUT {path}", path, b"{}", "PUT"
    for path in ("/v3beta/kv/range", "/v3alpha/kv/range"):
        yield path, path, {"key": key("a")}
    for path in ("/v3/kv/range", "/version"):
        yield f"OPTIONS {path}", path, b"", "OPTIONS"
    yield "POST /version", "/version", {}
    yield "POST /health", "/health", {}


def _auth(base):
    for path in ("status", "user/list", "role/list", "user/add", "user/get", "user/delete", "user/changepw", "user/grant",
                 "user/revoke", "role/add", "role/get", "role/delete", "role/revoke", "enable", "disable"):  # fmt: skip
        yield path, f"/v3/auth/{path}", {}
    yield "user/get of one", "/v3/auth/user/get", {"name": "somebody"}
    yield "role/get of one", "/v3/auth/role/get", {"role": "something"}
    yield "authenticate", "/v3/auth/authenticate", {"name": "root", "password": "x"}
    for path in ("member/remove", "member/update", "member/promote"):
        yield path, f"/v3/cluster/{path}", {"ID": 99, "peerURLs": ["http://127.0.0.1:1"]}
    yield "member/add, nothing", "/v3/cluster/member/add", {}
    yield "transfer, nobody", "/v3/maintenance/transfer-leadership", {"targetID": 99}
    yield "alarm", "/v3/maintenance/alarm", {}
    yield "defragment", "/v3/maintenance/defragment", {}
