"""Clerk on real connections, against servers on loopback that do what the test tells them."""

from __future__ import annotations

import contextlib
import copy
import pickle
import socket
import threading
import time
from concurrent.futures import Future

import pytest
from raftkv import errors
from raftkv.cli.outcome import UNAVAILABLE, exit_status
from raftkv.client import session as session_module
from raftkv.client.clerk import Clerk
from raftkv.client.poll import STATUS_FIELDS
from raftkv.client.window import WINDOW
from raftkv.kvdb.limits import MAX_BATCH_OPS, MAX_KEY_BYTES, MAX_VALUE_BYTES
from raftkv.kvdb.operations import IN_LOG
from raftkv.kvdb.writes import Append

from tests.unit.fake_cluster import HANG_UP, HOLD, KEY, SILENT


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in threading.enumerate() if thread not in before]


@pytest.fixture
def quick_attempts(monkeypatch):
    """A silent server is given up after 0.2 s."""
    monkeypatch.setattr(session_module, "ATTEMPTS_S", (0.2, 0.4, 0.8))


@contextlib.contextmanager
def impatient(cluster, timeout):
    with Clerk(cluster.addresses, authkey=KEY, timeout=timeout) as clerk:
        yield clerk


# -- the commands --------------------------------------------------------------------------------------------


def test_every_command(clerk):
    first = clerk.put("a", "1")
    second = clerk.append("a", "2")
    assert second > first
    assert clerk.get("a") == "12"
    assert clerk.get_with_revision("a") == ("12", second)
    assert clerk.get("b") is None
    assert clerk.get("b", "default") == "default"
    assert clerk.get_with_revision("b") is None
    assert clerk.cas("a", "12", "3") is True
    assert clerk.cas("a", "12", "4") is False
    assert clerk.cas("b", None, "5") is True
    assert clerk.delete("b") is True
    assert clerk.delete("b") is False
    assert clerk.get("a") == "3"


def test_an_empty_value_is_not_a_missing_one(clerk):
    clerk.put("a", "")
    assert clerk.get("a", "default") == ""
    assert clerk.submit("get", "a").result(10) == ""
    assert clerk.pipeline().get("a").execute() == [""]


def test_scan_reads_all_pages(clerk, cluster):
    big = "x" * (300 * 1024)  # three of these fill a page
    for number in range(10):
        clerk.put(f"k{number}", big)
    clerk.put("other", "y")
    assert [key for key, _, _ in clerk.scan("k")] == [f"k{number}" for number in range(10)]
    assert sum(method == "range" for _, method, _ in cluster.requests) == 4
    assert [key for key, _, _ in clerk.scan("k", limit=5)] == ["k0", "k1", "k2", "k3", "k4"]
    assert [key for key, _, _ in clerk.scan("k", "k7")] == ["k7", "k8", "k9"]
    assert clerk.scan("nothing") == []
    key, value, revision = clerk.scan("other")[0]
    assert (key, value) == ("other", "y") and revision == clerk.get_with_revision("other")[1]


def test_submit_gives_what_the_methods_return(clerk):
    revision = clerk.submit("put", "a", "1").result(10)
    assert isinstance(revision, int)
    assert clerk.submit("get", "a").result(10) == "1"
    assert clerk.submit("get", "b").result(10) is None
    assert clerk.submit("cas", "a", "1", "2").result(10) is True
    assert clerk.submit("delete", "b").result(10) is False


def test_a_command_that_no_server_takes_is_not_sent(clerk, cluster):
    for call in (
        lambda: clerk.put("", "v"),
        lambda: clerk.put("k" * (MAX_KEY_BYTES + 1), "v"),
        lambda: clerk.put("k", "v" * (MAX_VALUE_BYTES + 1)),
        lambda: clerk.put("k", 5),
        lambda: clerk.get(None),
        lambda: clerk.append("k", "\ud800"),
        lambda: clerk.cas("k", 1, "v"),
        lambda: clerk.scan(limit=0),
        lambda: clerk.submit("put", "k"),
        lambda: clerk.submit("get"),
        lambda: clerk.submit("scan", "k"),
        lambda: clerk.pipeline().put("k", None),
    ):
        with pytest.raises(errors.InvalidRequestError):
            call()
    assert cluster.requests == []


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_clerk_is_not_copied(clerk, cluster, duplicate):
    with pytest.raises(TypeError, match="a Clerk cannot be copied or pickled: make one in each process"):
        duplicate(clerk)
    assert clerk.put("k", "v"), "a copy would close it"


def test_a_refusal_of_the_store_is_told_once(clerk, cluster):
    clerk.put("k", "v" * (MAX_VALUE_BYTES - 10))
    with pytest.raises(errors.InvalidRequestError, match="would grow beyond the limit"):
        clerk.append("k", "v" * 20)
    assert len(cluster.numbers_of("append")) == 1


NO_SERVERS = [
    {1: ("h", 5), "2": ("h", 6)},
    {0: ("h", 5)},
    *({}, [], ["127.0.0.1"], ["127.0.0.1:x"], ["127.0.0.1:0"], ["h:65536"], "h:7001", [7001], {1: "h:7001"}),
    *([".db2:1"], ["db..x:1"], ["x" * 70 + ".org:1"], {1: ("a/b", 1)}, {1: ("::1", 1)}, {1: ("h", "1")}),
]


@pytest.mark.parametrize("servers", NO_SERVERS, ids=str)
def test_bad_servers(servers):
    with pytest.raises(errors.ConfigError, match="servers"):
        Clerk(servers, authkey=KEY)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), "soon", None])
def test_bad_timeout(timeout):
    with pytest.raises(errors.ConfigError, match="timeout"):
        Clerk(["127.0.0.1:1"], authkey=KEY, timeout=timeout)


def test_bad_authkey():
    with pytest.raises(errors.ConfigError, match="authkey"):
        Clerk(["127.0.0.1:1"], authkey="text")


def test_servers_as_a_list_have_the_ids_from_1(cluster):
    with Clerk(["{}:{}".format(*address) for address in cluster.addresses.values()], authkey=KEY) as clerk:
        cluster.leader = 3
        clerk.put("a", "1")
        assert [server["id"] for server in clerk.status()] == [1, 2, 3]


def test_from_config(cluster, tmp_path):
    key_file = tmp_path / "client.key"
    key_file.write_bytes(KEY)
    key_file.chmod(0o600)
    lines = [f"{server} = {host}:{port}" for server, (host, port) in cluster.addresses.items()]
    config = tmp_path / "client.ini"
    config.write_text("\n".join(["[servers]", *lines, "[auth]", "client_key_file = client.key"]))
    with Clerk.from_config(config, timeout=5.0) as clerk:
        clerk.put("a", "1")
        assert clerk.get("a") == "1"


# -- finding the leader --------------------------------------------------------------------------------------


def test_follows_the_hint_and_remembers(clerk, cluster):
    cluster.leader = 2
    clerk.put("a", "1")
    cluster.requests.clear()
    clerk.put("a", "2")
    clerk.get("a")
    assert [server for server, _, _ in cluster.requests] == [2, 2]
    cluster.leader = 3
    clerk.put("a", "3")
    assert [server for server, _, _ in cluster.requests[2:]] == [2, 3]


def test_finds_the_leader_soon_after_an_election(clerk, cluster):
    clerk.put("a", "1")
    for server in cluster.servers.values():
        server.always(cluster.not_leader(None))
    future = clerk.submit("put", "a", "2")
    elected_at = []

    def elect():
        with cluster.lock:
            cluster.leader = 3
            for server in cluster.servers.values():
                server.behave = lambda method, args: None
            elected_at.append(time.monotonic())

    timer = threading.Timer(0.3, elect)
    timer.start()
    future.result(10)
    late_s = time.monotonic() - elected_at[0]
    timer.join()
    assert late_s < 0.5, f"found after {late_s:.3f} s, and a pause is 0.1 s at most"
    tries = len(cluster.requests)
    assert tries < 30, f"a busy loop: {tries} requests"


@pytest.mark.parametrize("down", [1, 2])
def test_a_server_that_is_down_costs_little(cluster, down):
    cluster.leader = 3
    cluster.servers[down].rpc.close()
    for _ in range(5):  # whichever it asks first
        with impatient(cluster, 10.0) as clerk:
            start = time.monotonic()
            clerk.put("a", "1")
            assert time.monotonic() - start < 1.5


def test_a_silent_leader_is_left_with_the_same_number(clerk, cluster, quick_attempts):
    clerk.append("a", "1")
    cluster.servers[1].always(SILENT)
    cluster.leader = 2
    start = time.monotonic()
    clerk.append("a", "2")
    assert time.monotonic() - start < 3.0
    assert cluster.value("a") == "12"
    assert cluster.numbers_of("append") == [1, 2, 2] or cluster.numbers_of("append") == [1, 2, 2, 2]
    cluster.requests.clear()
    clerk.get("a")
    assert [server for server, _, _ in cluster.requests] == [2]


def test_a_leader_that_hangs_with_all_in_flight_loses_nothing(clerk, cluster, quick_attempts):
    clerk.put("a", "")
    cluster.servers[1].always(SILENT)
    futures = [clerk.submit("append", "a", f"<{number}>") for number in range(300)]
    with cluster.lock:
        cluster.leader = 2
    for future in futures:
        future.result(10)
    for number in range(300):
        assert cluster.value("a").count(f"<{number}>") == 1


# -- exactly once --------------------------------------------------------------------------------------------


def test_an_answer_that_was_lost_is_asked_for_again(clerk, cluster):
    """The command takes effect, and the connection ends before the reply: the retry must not apply it
    twice."""
    clerk.put("a", "1")

    def apply_and_hang_up(method, args):
        cluster.carry_out(method, args)
        return HANG_UP

    for _ in range(3):
        cluster.servers[1].do(apply_and_hang_up, only="append")
        clerk.append("a", "2")
    assert cluster.value("a") == "1222"
    assert cluster.numbers_of("append") == [2, 2, 3, 3, 4, 4]


def test_overloaded_is_retried(clerk, cluster):
    clerk.put("a", "1")
    refusal = (False, (errors.OVERLOADED, "too many proposals are waiting", {"proposed": False}))
    cluster.servers[1].do(refusal, refusal)
    clerk.append("a", "2")
    assert cluster.value("a") == "12"


def test_an_expired_session_is_replaced_when_nothing_is_in_doubt(clerk, cluster):
    clerk.put("a", "1")
    cluster.forget_sessions()
    clerk.append("a", "2")
    assert cluster.value("a") == "12"
    assert cluster.clients == 2


def test_an_expired_session_of_a_command_in_doubt_is_an_error(clerk, cluster):
    clerk.put("a", "1")

    def apply_forget_and_hang_up(method, args):
        cluster.carry_out(method, args)
        cluster.forget_sessions()
        return HANG_UP

    cluster.servers[1].do(apply_forget_and_hang_up)
    with pytest.raises(errors.SessionExpiredError, match="read before you repeat it"):
        clerk.append("a", "2")
    assert cluster.value("a") == "12"
    clerk.append("a", "3")
    assert cluster.value("a") == "123"


def test_sessions_that_expire_with_many_in_flight(clerk, cluster):
    def forget_now_and_then(method, args):
        if len(cluster.requests) % 1500 == 0:
            cluster.forget_sessions()

    cluster.servers[1].behave = forget_now_and_then
    futures = [clerk.submit("append", "a", f"<{number}>") for number in range(3000)]
    for future in futures:
        future.result(10)  # no connection is lost, so nobody is ever in doubt
    assert all(cluster.value("a").count(f"<{number}>") == 1 for number in range(3000))
    assert cluster.clients >= 3


# -- when the time is over -----------------------------------------------------------------------------------


def test_no_leader_means_not_applied(cluster):
    for server in cluster.servers.values():
        server.always(cluster.not_leader(None))
    with impatient(cluster, 0.3) as clerk:
        with pytest.raises(errors.NotApplied, match="this node is not the leader"):
            clerk.put("a", "1")
        with pytest.raises(errors.NotApplied):
            clerk.submit("put", "a", "1").result(10)
        with pytest.raises(errors.UnavailableError) as caught:
            clerk.get("a")
        assert type(caught.value) is errors.UnavailableError


def test_all_down_means_not_applied(cluster):
    cluster.close()
    with impatient(cluster, 0.3) as clerk, pytest.raises(errors.NotApplied, match="refused"):
        clerk.put("a", "1")


def test_no_answer_means_unknown(cluster):
    with impatient(cluster, 0.3) as clerk:
        clerk.put("a", "1")
        for server in cluster.servers.values():
            server.always(SILENT)
        start = time.monotonic()
        with pytest.raises(errors.OutcomeUnknown, match="read before you repeat it"):
            clerk.put("a", "2")
        assert 0.3 <= time.monotonic() - start < 2.0
        with pytest.raises(errors.OutcomeUnknown):
            clerk.submit("put", "a", "2").result(10)


def test_a_command_that_a_closed_connection_did_not_take_is_not_in_doubt(cluster):
    with impatient(cluster, 0.3) as clerk:
        clerk.put("a", "1")
        for end in clerk._driver.ends.values():
            end.close()
        for call in (lambda: clerk.put("a", "2"), lambda: clerk.submit("put", "a", "2").result(10)):
            with pytest.raises(errors.NotApplied):
                call()


def test_silent_servers_get_fewer_and_longer_attempts(cluster, quick_attempts):
    for server in cluster.servers.values():
        server.behave = lambda method, args: SILENT if method == "append" else None
    with impatient(cluster, 1.5) as clerk, pytest.raises(errors.OutcomeUnknown):
        clerk.append("a", "1")
    at_leader = [server for server, method, _ in cluster.requests if method == "append"]
    assert 2 <= len(at_leader) <= 4, at_leader


def test_a_command_given_up_does_not_take_effect_after_the_next_one(cluster):
    """A late copy of it finds its number below the floor."""
    with impatient(cluster, 30.0) as clerk:
        clerk.put("a", "1")
        cluster.servers[1].do(SILENT, only="append")
        with pytest.raises(errors.OutcomeUnknown):
            clerk._callers.run(Append(b"a", b"late"), 0.3)
        clerk.append("a", "2")
        late = next(args for _, method, args in cluster.requests if method == "append")
        ok, refusal = cluster.carry_out("append", late)
        assert (ok, refusal[0]) == (False, errors.STALE_SEQUENCE)
        assert clerk.get("a") == "12"


def test_a_clerk_whose_cluster_is_another_one_now_ends_its_commands_and_a_new_one_works(cluster):
    with impatient(cluster, 30.0) as clerk:
        clerk.put("a", "1")
        cluster.id += 1
        for server in cluster.servers.values():
            server.do(HANG_UP, HANG_UP)
        with pytest.raises(errors.OutcomeUnknown, match="the servers belong to another cluster than before"):
            clerk.put("a", "lost")
        for call in (
            lambda: clerk.get("a"),
            lambda: clerk.put("a", "lost"),
            clerk.pipeline().put("a", "2").execute,
        ):
            with pytest.raises(errors.ClusterChangedError, match="begin with a new client") as caught:
                call()
            assert exit_status(caught.value) == UNAVAILABLE
        with impatient(cluster, 30.0) as other:
            for server in cluster.servers.values():
                server.do()
            assert other.get("a") == "1"


# -- many at once --------------------------------------------------------------------------------------------


def test_many_threads(clerk, cluster):
    def work(name):
        for number in range(50):
            clerk.append("a", f"<{name}.{number}>")
            assert clerk.get("a").endswith(">")

    failures = []

    def run(name):
        try:
            work(name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    value = cluster.value("a")
    for name in range(16):
        places = [value.index(f"<{name}.{number}>") for number in range(50)]
        assert places == sorted(places), "one thread's commands are out of order"
    assert value.count("<") == 16 * 50
    assert cluster.clients == 1


def alone(clerk):
    """Commands one after the other, until their caller makes them itself."""
    for _ in range(4):
        clerk.put("a", "1")
    assert clerk._driver.loans.slot, "the connection was not lent"


@pytest.mark.parametrize("attempt", range(6))  # a lost wakeup is lost only if nothing else wakes in time
def test_a_caller_who_was_alone_reads_for_those_who_come(clerk, cluster, attempt):
    alone(clerk)
    results = []
    server = cluster.servers[1]
    server.behave = lambda method, args: HOLD if method == "append" else None
    first = threading.Thread(target=lambda: results.append(clerk.append("a", "2")))
    first.start()
    assert server.holds.acquire(timeout=10)
    started = time.monotonic()
    assert clerk.get("a") == "1"
    assert clerk.submit("put", "b", "1").result(10) and clerk.put("c", "1")
    assert time.monotonic() - started < 1.0, "they waited for the first one"
    server.release()
    first.join(10)
    assert len(results) == 1 and cluster.value("a") == "12"
    assert sorted(cluster.numbers_of("put") + cluster.numbers_of("append")) == [1, 2, 3, 4, 5, 6, 7]
    alone(clerk)


def test_a_lone_caller_is_told_like_all_others(clerk, cluster):
    alone(clerk)
    cluster.leader = 2
    assert clerk.append("a", "2") and cluster.value("a") == "12"
    alone(clerk)
    cluster.forget_sessions()
    clerk.append("a", "2")
    alone(clerk)
    cluster.servers[2].do(HANG_UP)
    clerk.append("a", "3")
    assert cluster.value("a") == "13"
    alone(clerk)
    clerk.put("a", "x" * (MAX_VALUE_BYTES - 10))
    with pytest.raises(errors.InvalidRequestError, match="would grow"):
        clerk.append("a", "x" * 20)


def test_the_window_fills_and_empties(clerk, cluster):
    """Far more commands than may be in flight, while connections break and leaders change under them."""
    count = 5 * WINDOW
    troubles = 0

    def trouble(method, args):
        nonlocal troubles
        if troubles == 6 or len(cluster.requests) < 600 * (troubles + 1) or method not in IN_LOG:
            return None
        troubles += 1
        if troubles % 2:
            cluster.carry_out(method, args)
        cluster.leader = 1 + troubles % 3
        return HANG_UP

    for server in cluster.servers.values():
        server.behave = trouble
    futures = [clerk.submit("append", f"k{number % 7}", f"<{number}>") for number in range(count)]
    for future in futures:
        assert future.result(10) > 0
    text = "".join(cluster.value(f"k{number}") for number in range(7))
    assert sorted(text[1:-1].split("><"), key=int) == [str(number) for number in range(count)]
    assert troubles == 6


def test_submit_blocks_when_the_window_is_full(clerk, cluster):
    clerk.put("a", "1")
    cluster.servers[1].always(HOLD)
    futures = [clerk.submit("append", "a", "x") for _ in range(WINDOW)]
    one_more = threading.Thread(target=lambda: futures.append(clerk.submit("append", "a", "x")))
    one_more.start()
    one_more.join(0.2)
    assert one_more.is_alive() and len(futures) == WINDOW, "there was room for one more"
    for _ in range(WINDOW):
        assert cluster.servers[1].holds.acquire(timeout=10)
    cluster.servers[1].release()
    one_more.join(5)
    assert not one_more.is_alive()
    for future in futures:
        future.result(10)
    assert len(cluster.value("a")) == 1 + WINDOW + 1


def test_close_ends_the_wait_for_room(cluster):
    caught = []

    def submit():
        try:
            clerk.submit("put", "a", "2")
        except errors.ClosedError as error:
            caught.append(error)

    clerk = Clerk(cluster.addresses, authkey=KEY)
    clerk._driver.window._commands.update(dict.fromkeys(range(WINDOW)))
    waiting = threading.Thread(target=submit)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    clerk.close()
    waiting.join(5)
    assert len(caught) == 1


def test_submit_does_not_wait_for_room_for_ever(cluster):
    with impatient(cluster, 0.5) as clerk:
        clerk.put("a", "1")
        clerk._driver.window._commands.update(
            dict.fromkeys(range(WINDOW))
        )  # as if nothing were ever answered
        with pytest.raises(errors.NotApplied, match="not begun"):
            clerk.submit("put", "a", "2")


def test_a_callback_may_submit(clerk):
    last: Future = Future()

    def again(number):
        def callback(future):
            if number == 0:
                last.set_result(future.result())
            else:
                clerk.submit("append", "a", "x").add_done_callback(again(number - 1))

        return callback

    clerk.submit("append", "a", "x").add_done_callback(again(100))
    last.result(10)
    assert clerk.get("a") == "x" * 101


def test_a_future_cannot_be_cancelled(clerk, cluster):
    cluster.servers[1].always(SILENT)
    assert not clerk.submit("put", "a", "1").cancel()


# -- pipeline ------------------------------------------------------------------------------------------------


def test_pipeline_sends_runs(clerk, cluster):
    clerk.put("a", "0")
    cluster.requests.clear()
    pipeline = clerk.pipeline().put("a", "1").append("a", "2").get("a").get("b")
    pipeline.delete("a").cas("b", None, "3")
    assert len(pipeline) == 6
    first, second, *rest = pipeline.execute()
    assert second == first + 1
    assert rest == ["12", None, True, True]
    assert [method for _, method, _ in cluster.requests] == ["batch", "gets", "batch"]
    cluster.requests.clear()
    assert clerk.pipeline().put("a", "1").put("a", "2").get("a").execute()[2] == "2"
    assert [method for _, method, _ in cluster.requests] == ["puts", "gets"]
    assert len(pipeline) == 0 and pipeline.execute() == []


def test_pipeline_says_which_operations_were_refused(clerk):
    clerk.put("full", "x" * (MAX_VALUE_BYTES - 4))
    pipeline = clerk.pipeline().put("a", "1").append("full", "12345").put("b", "2")
    with pytest.raises(errors.PipelineError, match="1 of 3 operations .*, the first is number 2") as caught:
        pipeline.execute()
    results = caught.value.results
    assert isinstance(results[1], errors.InvalidRequestError)
    assert results[2] == results[0] + 1
    assert clerk.pipeline().get("a").get("b").execute() == ["1", "2"]


def test_pipeline_has_limits(clerk, cluster):
    pipeline = clerk.pipeline()
    for _ in range(MAX_BATCH_OPS):
        pipeline.put("a", "1")
    with pytest.raises(errors.InvalidRequestError, match="execute"):
        pipeline.put("a", "2")
    assert len(pipeline.get("a").execute()) == MAX_BATCH_OPS + 1
    half = "x" * (MAX_VALUE_BYTES * 2 // 3)
    assert len(clerk.pipeline().put("a", half).get("a").put("b", half).execute()) == 3
    big = clerk.pipeline().put("a", "x" * (MAX_VALUE_BYTES - 100))
    with pytest.raises(errors.InvalidRequestError, match="execute"):
        big.put("b", "x" * (MAX_KEY_BYTES + 200))
    assert len(big) == 1


def test_pipeline_that_fails_halfway_says_how_far_it_came(cluster):
    with impatient(cluster, 0.3) as clerk:
        pipeline = clerk.pipeline().put("a", "1").put("b", "2").get("a").put("c", "3")
        cluster.servers[1].behave = lambda method, args: SILENT if method == "gets" else None
        with pytest.raises(errors.UnavailableError, match="after the first 2 operations, which are done"):
            pipeline.execute()
        with pytest.raises(errors.UnavailableError) as caught:
            clerk.pipeline().get("a").execute()
        assert "operations" not in str(caught.value)
    assert cluster.value("b") == "2" and cluster.store.data.get(b"c") is None


# -- status --------------------------------------------------------------------------------------------------


def test_status_of_the_living_the_dead_and_the_silent(clerk, cluster):
    cluster.servers[2].always(SILENT)
    cluster.servers[3].rpc.close()
    start = time.monotonic()
    alive, silent, dead = clerk.status(timeout=0.5)
    assert time.monotonic() - start < 2.0
    assert set(STATUS_FIELDS) == set(alive)
    assert (alive["id"], alive["alive"], alive["role"]) == (1, True, "leader")
    assert alive["address"] == "{}:{}".format(*cluster.addresses[1])
    assert (silent["id"], silent["alive"], silent["role"]) == (2, False, None)
    assert "no answer" in silent["error"]
    assert (dead["id"], dead["alive"]) == (3, False)
    assert "refused" in dead["error"]


def test_status_with_all_down(cluster):
    cluster.close()
    with impatient(cluster, 10.0) as clerk:
        assert [server["alive"] for server in clerk.status()] == [False] * 3


# -- keys and the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [False, True])
def test_a_wrong_key(cluster, down):
    if down:
        cluster.servers[3].rpc.close()
    with Clerk(cluster.addresses, authkey=b"another key", timeout=10.0) as clerk:
        start = time.monotonic()
        for call in (lambda: clerk.put("a", "1"), lambda: clerk.get("a"), clerk.status):
            with pytest.raises(errors.AuthenticationError):
                call()
        assert time.monotonic() - start < 5.0


def test_close_ends_what_is_under_way(cluster):
    clerk = Clerk(cluster.addresses, authkey=KEY)
    clerk.put("a", "1")
    cluster.servers[1].always(HOLD)
    in_flight = [clerk.submit("put", "a", "2"), clerk.submit("get", "a")]
    for _ in in_flight:
        assert cluster.servers[1].holds.acquire(timeout=10)
    clerk.close()
    clerk.close()
    assert isinstance(in_flight[0].exception(1), errors.OutcomeUnknown)
    assert isinstance(in_flight[1].exception(1), errors.ClosedError)
    for call in (lambda: clerk.put("a", "3"), lambda: clerk.submit("put", "a", "3"), clerk.status):
        with pytest.raises(errors.ClosedError):
            call()


def test_close_ends_what_waits_for_a_leader(cluster):
    for server in cluster.servers.values():
        server.always(cluster.not_leader(None))
    clerk = Clerk(cluster.addresses, authkey=KEY)
    waiting = clerk.submit("put", "a", "1")
    clerk.close()
    assert isinstance(waiting.exception(1), errors.ClosedError)


def test_a_clerk_that_was_never_used_can_be_closed():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        Clerk([f"127.0.0.1:{nobody.getsockname()[1]}"], authkey=KEY).close()
