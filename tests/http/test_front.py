"""A front of a cluster of one: etcd's API over HTTP, from end to end."""

import base64
import dataclasses
import io
import json
import os
import re
import select
import shutil
import subprocess

import pytest
from raftkv.cli.dump_format import read_rows
from raftkv.ini import Address

from tests.cluster.harness import free_ports
from tests.http.compare import compare, why_known
from tests.http.conftest import LOCAL, RunningFront, new_cluster, version, wait_for
from tests.http.corpus import LEASE, b64


def test_put_and_range_agree_on_the_revision(front):
    _, put = front.ask("/v3/kv/put", {"key": b64("a"), "value": b64("1")})
    status, found = front.ask("/v3/kv/range", {"key": b64("a")})
    assert status == 200
    assert found["kvs"][0]["mod_revision"] == put["header"]["revision"]
    assert {"cluster_id", "member_id", "raft_term"} <= set(found["header"])


@pytest.mark.parametrize("prefix", ["/v3", "/v3beta", "/v3alpha"])
def test_old_prefixes_are_served(front, prefix):
    assert front.ask(f"{prefix}/kv/range", {"key": b64("none")})[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/version", 200, {"etcdserver": "3.5.11", "etcdcluster": "3.5.0"}),
        ("/health", 200, {"health": "true", "reason": ""}),
        ("/health?serializable=true", 200, {"health": "true", "reason": ""}),
        ("/livez", 200, "ok\n"),
        ("/readyz", 200, "ok\n"),
        ("/readyz?verbose", 200, "[+]linearizable_read ok\nok\n"),
        ("/v3/kv/range", 405, "Method Not Allowed\n"),
        ("/nope", 404, "404 page not found\n"),
    ],
)
def test_get_is_answered_as_by_etcd(front, path, status, text):
    assert front.ask(path) == (status, text)


@pytest.mark.parametrize("path", ["/v3/kv/range", "/nope", "*"])
def test_options_are_told_and_let_no_other_site_in(front, path):
    assert front.ask(path, method="OPTIONS") == (200, "")
    assert front.ask(path, method="OPTIONS", fields={"Origin": "http://evil.example"})[0] == 403


def test_metrics_are_of_this_server_and_each_has_help_and_type(front):
    lines = front.ask("/metrics")[1].splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert "etcd_server_is_leader 1" in samples
    assert _value(samples, 'raftkv_http_answers_total{status="200"}') > 0
    names = {sample.partition("{")[0].partition(" ")[0] for sample in samples}
    families = {name for kind in ("HELP", "TYPE") for name in _described(lines, kind)}
    assert families == _described(lines, "HELP") == _described(lines, "TYPE")
    assert {re.sub("_seconds_(bucket|sum|count)$", "_seconds", name) for name in names} <= families
    front.ask("/v3/kv/put", {"key": b64("m")})
    before, after = (
        _value(samples, "committed_total"),
        _value(front.ask("/metrics")[1].splitlines(), "committed_total"),
    )
    assert after > before


def _described(lines, kind):
    return {line.split()[2] for line in lines if line.startswith(f"# {kind} ")}


def _value(lines, name):
    return next(int(line.split()[1]) for line in lines if f"{name} " in line and not line.startswith("#"))


def test_watches_on_one_stream_are_told_their_events_and_cancelled(front):
    body = (
        '{"create_request":{"key":"dw=="}} {"create_request":{"key":"dw==","range_end":"eA==","watch_id":7}}'
    )
    stream = front.stream("/v3/watch", body)
    first, second = stream.next(), stream.next()
    assert (first["created"], first.get("watch_id")) == (True, None)
    assert (second["created"], second["watch_id"]) == (True, "7")
    _, put = front.ask("/v3/kv/put", {"key": b64("w"), "value": b64("1")})
    told = sorted([stream.next(), stream.next()], key=lambda message: message.get("watch_id", ""))
    assert [message.get("watch_id") for message in told] == [None, "7"]
    for message in told:
        assert message["events"][0]["kv"]["mod_revision"] == put["header"]["revision"]
        assert int(message["header"]["revision"]) <= int(put["header"]["revision"])
    stream.close()


@pytest.mark.parametrize("path", ["/v3/watch", "/v3/lease/keepalive"])
def test_messages_that_come_faster_than_they_are_answered_have_a_bound(front, path):
    status, answer = front.ask(
        path, "{}" * 2000 if path == "/v3/lease/keepalive" else '{"progress_request":{}}' * 2000
    )
    assert (status, "too many requests" in str(answer)) == (429, True)


def test_events_of_one_revision_are_one_message(front):
    stream = front.stream(
        "/v3/watch", {"create_request": {"key": b64("t/"), "range_end": b64("t0"), "prev_kv": True}}
    )
    stream.next()
    puts = [{"request_put": {"key": b64(f"t/{number}")}} for number in range(100)]
    front.ask("/v3/kv/txn", {"success": puts})
    front.ask("/v3/kv/deleterange", {"key": b64("t/"), "range_end": b64("t0")})
    put, deleted = stream.next(), stream.next()
    assert len(put["events"]) == len(deleted["events"]) == 100
    assert set(deleted["events"][0]["kv"]) == {"key", "mod_revision"}
    assert deleted["events"][0]["type"] == "DELETE"
    assert deleted["events"][0]["prev_kv"]["version"] == "1"
    stream.close()


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (
            '{"create_request":{"key":"YQ==","watch_id":3}}{"create_request":{"key":"YQ==","watch_id":3}}',
            {"watch_id": "-1", "created": True, "canceled": True,
             "cancel_reason": "mvcc: duplicate watch ID provided on the WatchStream"},
        ),
        (
            '{"create_request":{"key":"YQ=="}}{"create_request":{"key":"Yg==","range_end":"YQ=="}}',
            {"watch_id": "-1", "created": True, "canceled": True, "cancel_reason": "mvcc: watcher range is empty"},
        ),
        ('{"create_request":{"key":"YQ=="}}{"cancel_request":{"watch_id":"0"}}', {"canceled": True}),
        ('{"create_request":{"key":"YQ=="}}{"progress_request":{}}', {"watch_id": "-1"}),
    ],
)  # fmt: skip
def test_second_request_of_a_stream_is_answered_as_by_etcd(front, requests, expected):
    stream = front.stream("/v3/watch", requests)
    assert stream.next()["created"]
    answer = stream.next()
    del answer["header"]
    assert answer == expected
    stream.close()


def test_lock_waits_for_its_holder_and_leaves_no_key_when_its_client_goes(front):
    for id in (LEASE, LEASE + 1):
        front.ask("/v3/lease/grant", {"TTL": 60, "ID": id})
    held = front.ask("/v3/lock/lock", {"name": b64("lock"), "lease": LEASE})[1]["key"]
    keys = {"key": b64("lock/"), "range_end": b64("lock0"), "count_only": True}
    watch = front.stream("/v3/watch", {"create_request": {**keys, "prev_kv": True}})
    watch.next()
    waiting = front.connect()
    waiting.request("POST", "/v3/lock/lock", json.dumps({"name": b64("lock"), "lease": LEASE + 1}))
    assert watch.next()["events"][0]["kv"]["version"] == "1"
    waiting.close()
    assert watch.next()["events"][0]["type"] == "DELETE"
    assert front.ask("/v3/kv/range", keys)[1]["count"] == "1"
    waiting = front.connect()
    waiting.request("POST", "/v3/lock/lock", json.dumps({"name": b64("lock"), "lease": LEASE + 1}))
    watch.next()
    front.ask("/v3/lock/unlock", {"key": held})
    assert json.loads(waiting.getresponse().read())["key"] != held
    waiting.close()
    watch.close()
    for id in (LEASE, LEASE + 1):
        front.ask("/v3/lease/revoke", {"ID": id})


def test_election_is_observed(front):
    front.ask("/v3/lease/grant", {"TTL": 60, "ID": LEASE})
    stream_request = {"name": b64("vote")}
    won = front.ask("/v3/election/campaign", {"name": b64("vote"), "value": b64("me"), "lease": LEASE})[1][
        "leader"
    ]
    observed = front.stream("/v3/election/observe", stream_request)
    assert observed.next()["kv"]["value"] == b64("me")
    front.ask("/v3/election/proclaim", {"leader": won, "value": b64("I")})
    assert observed.next()["kv"]["value"] == b64("I")
    assert front.ask("/v3/election/resign", {"leader": won})[0] == 200
    assert front.ask("/v3/election/leader", stream_request)[1]["error"] == "election: no leader"
    observed.close()
    front.ask("/v3/lease/revoke", {"ID": LEASE})


def test_members_are_those_of_the_moment(front, monkeypatch):
    front.ask("/v3/cluster/member/list", {})
    asked = front.front.view.asked_at
    monkeypatch.setattr("raftkv.http.view.FRESH_S", 1000.0)  # nothing is asked for because it is old
    assert front.ask("/v3/cluster/member/list", {})[0] == 200
    assert front.front.view.asked_at > asked


def test_status_and_members_name_the_server(front):
    status = front.ask("/v3/maintenance/status", {})[1]
    members = front.ask("/v3/cluster/member/list", {})[1]["members"]
    assert status["leader"] == members[0]["ID"] == status["header"]["member_id"]
    assert int(status["raftAppliedIndex"]) > 0
    assert front.ask("/v3/maintenance/hash", {})[1]["hash"] > 0


def test_snapshot_is_a_dump_that_kvclient_loads(front):
    front.ask("/v3/kv/put", {"key": b64("s"), "value": b64("value")})
    stream = front.stream("/v3/maintenance/snapshot", {})
    lines = b"".join(base64.b64decode(message["blob"]) for message in iter(stream.next, None)).decode()
    _header, *kvs = read_rows(io.BytesIO(lines.encode()))
    rows = {kv.key: kv.value for kv in kvs}
    assert rows[b"s"] == b"value"
    assert str(len(rows)) == front.ask("/v3/kv/range", {"key": "AA==", "range_end": "AA=="})[1]["count"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_request_of_another_site_changes_nothing(front, fields, status):
    assert front.ask("/v3/kv/put", {"key": b64("evil")}, fields=fields)[0] == status
    assert "kvs" not in front.ask("/v3/kv/range", {"key": b64("evil")})[1]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/health", None, {"health": "false", "reason": "RAFT NO LEADER"}),
        ("/readyz", None, "[-]linearizable_read failed: RAFT NO LEADER\n"),
        (
            "/v3/maintenance/status",
            {},
            {"error": "etcdserver: server stopped", "code": 14, "message": "etcdserver: server stopped"},
        ),
        ("/metrics", None, "the server does not answer\n"),
        (
            "/v3/maintenance/alarm",
            {},
            {
                "error": "etcdserver: request timed out",
                "code": 14,
                "message": "etcdserver: request timed out",
            },
        ),
        (
            "/v3/kv/put",
            {"key": "YQ=="},
            {"error": "etcdserver: no leader", "code": 14, "message": "etcdserver: no leader"},
        ),
        (
            "/v3/kv/range",
            {"key": "YQ=="},
            {
                "error": "etcdserver: request timed out",
                "code": 14,
                "message": "etcdserver: request timed out",
            },
        ),
    ],
)
def test_front_without_a_cluster_says_so_in_etcds_words(cluster, monkeypatch, path, body, expected):
    monkeypatch.setattr("raftkv.http.front.TIMEOUT_S", 0.3)
    nowhere = dataclasses.replace(cluster, servers={1: Address(LOCAL, free_ports(1)[0])})
    front = RunningFront(nowhere)
    try:
        assert front.ask(path, body) == (503, expected)
        assert front.ask("/livez") == (200, "ok\n")
    finally:
        front.stop()


def test_health_does_not_wait_behind_calls_that_get_no_answer(cluster, monkeypatch):
    monkeypatch.setattr("raftkv.http.workers.MAX_WORKERS", 1)
    monkeypatch.setattr("raftkv.http.front.TIMEOUT_S", 20.0)
    monkeypatch.setattr("raftkv.http.plain._HEALTH_S", 0.1)
    front = RunningFront(dataclasses.replace(cluster, servers={1: Address(LOCAL, free_ports(1)[0])}))
    slow = front.connect()
    try:
        slow.request("POST", "/v3/kv/range", '{"key":"YQ==","serializable":true}')
        for path in ("/health", "/metrics"):
            assert front.ask(path)[0] == 503
        assert not select.select([slow.sock], [], [], 0)[0], "the other is answered already"
    finally:
        slow.close()
        front.stop()


def test_call_that_no_thread_was_free_for_in_time_is_not_begun(front, monkeypatch):
    monkeypatch.setattr("raftkv.http.requests.MAX_WAIT_S", -1.0)
    status, answer = front.ask("/v3/kv/range", {"key": "YQ==", "serializable": True})
    assert (status, answer["message"]) == (503, "etcdserver: request timed out")


@pytest.fixture(scope="module")
def guarded(cluster, tmp_path_factory):
    file = tmp_path_factory.mktemp("password") / "password"
    file.write_text("correct horse\n")
    running = RunningFront(cluster, password_file=str(file))
    yield running
    running.stop()


def test_request_without_the_password_is_refused_and_health_is_not(guarded):
    assert guarded.ask("/v3/kv/range", {"key": b64("a")}) == (
        400,
        {
            "error": "etcdserver: user name is empty",
            "code": 3,
            "message": "etcdserver: user name is empty",
        },
    )
    assert guarded.ask("/health")[0] == guarded.ask("/version")[0] == 200
    assert guarded.ask("/v3/watch", {"create_request": {"key": b64("a")}})[0] == 400


def test_token_or_basic_is_taken_for_the_password(guarded):
    who = {"name": "root", "password": "correct horse"}
    token = guarded.ask("/v3/auth/authenticate", who)[1]["token"]
    basic = "Basic " + base64.b64encode(b"root:correct horse").decode()
    for authorization in (token, f"Bearer {token}", basic):
        fields = {"Authorization": authorization}
        assert guarded.ask("/v3/kv/range", {"key": b64("none")}, fields=fields)[0] == 200


def test_wrong_password_and_token_are_refused_in_etcds_words(guarded):
    status, answer = guarded.ask("/v3/auth/authenticate", {"name": "root", "password": "wrong"})
    assert (status, answer["code"]) == (400, 3)
    assert answer["error"] == "etcdserver: authentication failed, invalid user ID or password"
    status, answer = guarded.ask("/v3/kv/range", {}, fields={"Authorization": "x"})
    assert (status, answer["code"], answer["error"]) == (401, 16, "etcdserver: invalid auth token")


ETCD = os.environ.get("RAFTKV_ETCD") or shutil.which("etcd")


@pytest.mark.skipif(not ETCD, reason="there is no etcd on PATH, nor in RAFTKV_ETCD")
def test_etcd_gives_the_same_answers(tmp_path):
    etcd_port, peer_port = free_ports(2)
    url, peer_url = f"http://{LOCAL}:{etcd_port}", f"http://{LOCAL}:{peer_port}"
    command = [ETCD, "--data-dir", str(tmp_path / "etcd"), "--log-level", "error", "--listen-client-urls", url,
               "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
               "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"default={peer_url}"]  # fmt: skip
    with new_cluster(tmp_path) as config, subprocess.Popen(command) as etcd:
        front = RunningFront(config)
        try:
            wait_for(lambda: version(etcd_port) == 200)
            found = list(compare(url, f"http://{LOCAL}:{front.port}"))
        finally:
            etcd.kill()
            front.stop()
    assert len(found) > 300
    assert [row for row in found if row[2] != row[3] and why_known(row[0]) is None] == []
