"""ClientEnd: every call ends in time, with its own reply or with an error that says what is known."""

from __future__ import annotations

import gc
import queue
import random
import socket
import struct
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from raftkv.errors import (
    AuthenticationError,
    CallTimeoutError,
    ClosedError,
    ConnectionLostError,
    ProtocolError,
    RemoteError,
)
from raftkv.rpc import dial as dial_module
from raftkv.rpc import reading as reading_module
from raftkv.rpc.calls import FutureCall
from raftkv.rpc.channel import send_replies
from raftkv.rpc.client import try_connect
from raftkv.rpc.dial import Backoff
from raftkv.rpc.link import Link
from raftkv.rpc.wire import dumps, frame

from tests.chaos.proxy import Proxy
from tests.cluster.waiting import wait_until
from tests.rpc.conftest import KEY

FAST = {"ping_interval_s": 0.1, "ping_timeout_s": 0.4, "idle_ping_interval_s": 0.1}


@pytest.fixture
def proxy() -> Iterator[Any]:
    """A function that puts a Proxy in front of an address: (the address to call, the Proxy)."""
    proxies: list[Proxy] = []

    def make(target: tuple) -> tuple:
        proxies.append(Proxy())
        address = proxies[-1].add_link((1, 2), target)
        proxies[-1].start()
        return address, proxies[-1]

    yield make
    for each in proxies:
        each.close()


@pytest.fixture
def mute() -> Iterator[tuple]:
    """The address of somebody who accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.fixture
def dead() -> Iterator[tuple]:
    """An address where nobody listens, and nobody else will."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


class Background:
    """A function that runs in a thread of its own."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.result: Any = None
        self.error: Any = None
        self._thread = threading.Thread(target=self._run, args=(function, args))
        self._thread.start()

    def _run(self, function: Any, args: tuple) -> None:
        try:
            self.result = function(*args)
        except Exception as error:
            self.error = error

    def join(self) -> Background:
        self._thread.join(20)
        assert not self._thread.is_alive(), "the call does not end"
        return self


def answer(held: tuple, result: Any = "done") -> None:
    channel, request_id, _, _ = held
    send_replies([(channel, request_id, True, result)])


@pytest.fixture
def no_second_chance(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Options for an end whose keeper looks round only when it is told to."""
    monkeypatch.setattr(reading_module, "_IDLE_S", 60.0)
    return {"ping_interval_s": 60.0, "ping_timeout_s": 120.0}


def begun(end: Any, method: str, args: tuple) -> Future[Any]:
    """A call that the calling thread sends itself."""
    call = FutureCall(time.monotonic() + 60.0)
    end.begin(call, method, args)
    return call.future


#: How each kind of call begins, and ends with an error.
KINDS = {
    "blocking": lambda end: Background(end.call, "echo", (), 60.0).join().error,
    "future": lambda end: end.submit("echo", (), 60.0).exception(20),
    "begun": lambda end: begun(end, "echo", ()).exception(20),
}


# -- calls and replies ---------------------------------------------------------------------------------------


def test_call_and_submit_return_the_result(serve: Any, connect: Any) -> None:
    end = connect(serve().address)
    assert end.call("echo", (1, "a"), 5.0) == (1, "a")
    assert end.submit("echo", (2, {"b": [None]}), 5.0).result(5) == (2, {"b": [None]})
    assert end.call("ping", (), 5.0) == "pong"


def test_a_refusal_is_a_remote_error(serve: Any, connect: Any) -> None:
    end = connect(serve().address)
    for refused in (lambda: end.call("refuse", (), 5.0), lambda: end.submit("refuse", (), 5.0).result(5)):
        with pytest.raises(RemoteError, match="because") as info:
            refused()
        assert (info.value.code, info.value.detail) == ("bad_request", {"why": 1})


def test_many_in_flight_get_their_own_replies_in_any_order(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address)
    futures = [end.submit("hold", (number,), 20.0) for number in range(2000)]
    held = [served.handler.seen.get(timeout=5) for _ in futures]
    random.shuffle(held)
    send_replies([(channel, request_id, True, args[0]) for channel, request_id, _, args in held])
    assert [future.result(5) for future in futures] == list(range(2000))


def test_many_threads_and_futures_at_once(serve: Any, connect: Any) -> None:
    end = connect(serve().address)

    def run(thread: int) -> None:
        for number in range(300):
            if (thread + number) % 3:
                assert end.call("echo", (thread, number), 20.0) == (thread, number)
            else:
                assert end.submit("echo", (thread, number), 20.0).result(20) == (thread, number)

    for each in [Background(run, thread) for thread in range(16)]:
        assert each.join().error is None


def test_large_requests_and_replies(serve: Any, connect: Any, no_second_chance: Any) -> None:
    end = connect(serve(max_frame_bytes=16 << 20).address, **no_second_chance)
    blob = bytes(range(256)) * 40_000
    for _ in range(3):  # by the keeper, by the caller
        assert end.call("echo", (blob,), 20.0) == (blob,)
    futures = [end.submit("echo", (number, blob), 20.0) for number in range(3)]
    assert end.call("echo", (blob,), 20.0) == (blob,)
    assert [future.result(20) for future in futures] == [(number, blob) for number in range(3)]


# -- who reads -----------------------------------------------------------------------------------------------


def test_a_waiting_caller_takes_over_when_the_reader_leaves(
    serve: Any, connect: Any, no_second_chance: Any
) -> None:
    served = serve()
    end = connect(served.address, **no_second_chance)
    end.call("echo", (), 5.0)
    calls, held = [], []
    for number in range(5):
        calls.append(Background(end.call, "hold", (number,), 20.0))
        held.append(served.handler.seen.get(timeout=5))
    for number in range(5):  # the oldest reads: each one that is answered leaves the duty to another
        answer(held[number], number)
        assert calls[number].join().result == number


def test_a_waiting_caller_takes_over_when_the_reader_gives_up(
    serve: Any, connect: Any, no_second_chance: Any
) -> None:
    served = serve()
    end = connect(served.address, **no_second_chance)
    end.call("echo", (), 5.0)
    impatient = Background(end.call, "hold", (), 0.3)
    served.handler.seen.get(timeout=5)
    patient = Background(end.call, "hold", (), 20.0)
    held = served.handler.seen.get(timeout=5)
    future = end.submit("hold", (), 20.0)
    held_future = served.handler.seen.get(timeout=5)
    assert isinstance(impatient.join().error, CallTimeoutError)
    answer(held)
    assert patient.join().result == "done"
    answer(held_future)
    assert future.result(5) == "done"


def test_futures_and_calls_by_turns(serve: Any, connect: Any, no_second_chance: Any) -> None:
    end = connect(serve().address, **no_second_chance)
    assert end.submit("echo", (0,), 5.0).result(5) == (
        0,
    )  # the keeper reads, and sleeps when there is nothing
    for number in range(20):
        assert end.submit("echo", (number,), 5.0).result(5) == (number,)
        assert end.call("echo", (number,), 5.0) == (number,)
        assert end.call("echo", (number,), 5.0) == (number,)  # this caller reads, and then nobody does


def test_a_future_is_resolved_while_a_caller_reads(serve: Any, connect: Any, no_second_chance: Any) -> None:
    served = serve()
    end = connect(served.address, **no_second_chance)
    end.call("echo", (), 5.0)
    caller = Background(end.call, "hold", (), 20.0)
    held = served.handler.seen.get(timeout=5)
    future = end.submit("echo", (), 20.0)
    assert future.result(5) == ()
    answer(held)
    assert caller.join().result == "done"


# -- deadlines -----------------------------------------------------------------------------------------------


def test_a_deadline_ends_a_call_and_a_late_reply_goes_to_nobody(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address)
    for _ in range(2):  # the first one waits for the connection, the second one finds it
        with pytest.raises(CallTimeoutError, match="in time") as info:
            end.call("hold", (), 0.1)
        assert info.value.sent is True
    future = end.submit("hold", (), 0.1)
    with pytest.raises(CallTimeoutError) as info:
        future.result(5)
    assert info.value.sent is True
    for _ in range(3):
        answer(served.handler.seen.get(timeout=5), "too late")
    assert end.call("echo", (1,), 5.0) == (1,)
    assert end.submit("echo", (2,), 5.0).result(5) == (2,)


def test_a_late_reply_is_not_that_of_the_next_call(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address)
    end.call("echo", (), 5.0)
    with pytest.raises(CallTimeoutError):
        end.call("hold", (), 0.1)
    late = served.handler.seen.get(timeout=5)
    following = Background(end.call, "hold", (), 10.0)
    held = served.handler.seen.get(timeout=5)
    answer(late, "too late")
    answer(held, "in time")
    assert following.join().result == "in time"


def test_a_call_that_ended_is_forgotten(serve: Any, connect: Any) -> None:
    end = connect(serve().address)
    end.call("echo", (), 5.0)
    end.submit("echo", (), 5.0).result(5)
    with pytest.raises(CallTimeoutError):
        end.call("hold", (), 0.05)
    with pytest.raises(CallTimeoutError):
        end.submit("hold", (), 0.05).result(5)
    assert not end._exchange.is_busy()


def test_each_future_has_its_own_deadline(serve: Any, connect: Any, no_second_chance: Any) -> None:
    served = serve()
    end = connect(served.address, **no_second_chance)
    end.call("echo", (), 5.0)
    ended: queue.Queue[str] = queue.Queue()
    for name, timeout_s in (("long", 20.0), ("third", 0.3), ("first", 0.1), ("second", 0.2)):
        end.submit("hold", (), timeout_s).add_done_callback(lambda _, name=name: ended.put(name))
    assert [ended.get(timeout=5) for _ in range(3)] == ["first", "second", "third"]
    answer(served.handler.seen.get(timeout=5))
    assert ended.get(timeout=5) == "long"


def test_a_call_that_waits_for_a_connection_ends_in_time_and_is_never_sent(mute: tuple, connect: Any) -> None:
    end = connect(mute, connect_timeout_s=1.0)
    with pytest.raises(CallTimeoutError) as info:
        end.call("hold", (), 0.2)
    assert info.value.sent is False


# -- connections that fail -----------------------------------------------------------------------------------


def test_calls_to_a_closed_port_fail_at_once(dead: tuple, connect: Any) -> None:
    end = connect(dead)
    started = time.monotonic()
    with pytest.raises(ConnectionLostError, match="cannot connect to 127.0.0.1") as info:
        end.call("echo", (), 20.0)
    assert info.value.sent is False
    with pytest.raises(ConnectionLostError) as info:
        end.submit("echo", (), 20.0).result(20)
    assert info.value.sent is False
    assert time.monotonic() - started < 5, "a call waited although the attempt to connect had failed"


def test_an_address_to_listen_on_is_said_to_be_none_to_connect_to(dead: tuple, connect: Any) -> None:
    with pytest.raises(ConnectionLostError, match="not to connect to: write the server's own"):
        connect(("0.0.0.0", dead[1])).call("echo", (), 20.0)


def test_a_mute_server_is_given_up(mute: tuple, connect: Any) -> None:
    with pytest.raises(ConnectionLostError) as info:
        connect(mute, connect_timeout_s=0.2).call("echo", (), 20.0)
    assert info.value.sent is False


def test_a_wrong_key_is_said(serve: Any, connect: Any) -> None:
    end = connect(serve().address, b"guess")
    for call in (lambda: end.call("echo", (), 5.0), lambda: end.submit("echo", (), 5.0).result(5)):
        with pytest.raises(AuthenticationError, match="does not hold the same key"):
            call()


def test_a_connection_to_oneself_is_none(dead: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP connects a socket to itself when it happens to get the port that it connects to."""

    class Bound(socket.socket):
        def connect(self, address: tuple) -> None:
            self.bind(("127.0.0.1", 0))
            super().connect(self.getsockname())

    monkeypatch.setattr(socket, "socket", Bound)
    with pytest.raises(ConnectionLostError, match="nobody listens there"):
        try_connect(dead, KEY, 5.0)


def test_calls_under_way_are_lost_with_the_connection(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address)
    future = end.submit("hold", (), 20.0)
    channel = served.handler.seen.get(timeout=5)[0]
    caller = Background(end.call, "hold", (), 20.0)
    served.handler.seen.get(timeout=5)
    channel.close()
    for error in (future.exception(5), caller.join().error):
        assert isinstance(error, ConnectionLostError)
        assert error.sent is True
    assert end.call("echo", ("again",), 5.0) == ("again",)


def test_a_lost_caller_who_reads(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address)
    for _ in range(3):
        end.call("echo", (), 5.0)
    with pytest.raises(ConnectionLostError):
        end.call("hang up", (), 20.0)
    assert end.call("echo", ("again",), 5.0) == ("again",)


def test_a_connection_comes_back_when_the_server_does(serve: Any, connect: Any) -> None:
    served = serve()
    events: queue.Queue[str] = queue.Queue()
    end = connect(
        served.address,
        keep_connected=True,
        on_up=lambda: events.put("up"),
        on_down=lambda reason: events.put("down"),
    )
    end.start()
    assert events.get(timeout=5) == "up"
    served.server.close()
    assert events.get(timeout=5) == "down"
    with pytest.raises(ConnectionLostError):
        end.call("echo", (), 20.0)
    again = serve(served.address)
    assert events.get(timeout=5) == "up", "without any call, because it is to keep connected"
    assert end.call("echo", (1,), 5.0) == (1,)
    again.server.close()
    assert events.get(timeout=5) == "down"


def test_attempts_get_longer_until_a_slow_line_is_connected_over(
    serve: Any, connect: Any, proxy: Any
) -> None:
    address, between = proxy(serve().address)
    between.set(between.links, delay_s=0.2)
    up = threading.Event()
    connect(address, connect_timeout_s=0.3, keep_connected=True, on_up=up.set).start()
    assert up.wait(10.0), "no attempt was long enough for the handshake"


def test_backoff_doubles_to_a_cap_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backoff = Backoff(random.Random(1))
    assert backoff.next_at <= now, "the first attempt is made at once"
    delays = []
    for _ in range(10):
        backoff.failed()
        delays.append(backoff.next_at - now)
    caps = [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert all(cap / 2 <= delay <= cap for delay, cap in zip(delays, caps)), delays
    assert len(set(delays)) == 10, "no jitter"
    backoff.worked(lasted_s=0.1)
    assert backoff.next_at - now >= 0.5, "a connection that ends at once is a failure like others"
    backoff.worked(lasted_s=60.0)
    assert backoff.next_at <= now
    backoff.failed()
    assert backoff.next_at - now <= 0.05


def test_a_server_that_hangs_up_at_once_is_not_dialled_without_a_pause(connect: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = connect(listener.getsockname(), keep_connected=True)
        end.start()
        times = []
        for _ in range(4):
            listener.accept()[0].close()
            times.append(time.monotonic())
        end.close()
    assert times[-1] - times[0] >= (0.05 + 0.1 + 0.2) / 2


def test_a_server_known_to_be_back_is_reached_at_once(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial_module, "_FIRST_BACKOFF_S", 60.0)
    monkeypatch.setattr(dial_module, "_MAX_BACKOFF_S", 60.0)
    served = serve()
    events: queue.Queue[str] = queue.Queue()
    end = connect(served.address, keep_connected=True, on_up=lambda: events.put("up"), on_down=events.put)
    with pytest.raises(ConnectionLostError):
        end.call("hang up", (), 5.0)
    assert events.get(timeout=5) == "up"
    assert "closed the connection" in events.get(timeout=5)  # and now it waits for a minute
    end.connect_now()
    assert events.get(timeout=5) == "up"


# -- half-open connections -----------------------------------------------------------------------------------


def test_a_server_that_vanished_is_noticed_by_a_caller(serve: Any, connect: Any, proxy: Any) -> None:
    served = serve()
    address, between = proxy(served.address)
    end = connect(address, connect_timeout_s=0.3, **FAST)
    end.call("echo", (), 5.0)
    caller = Background(end.call, "hold", (), 30.0)
    served.handler.seen.get(timeout=5)
    between.set(between.links, hold=True)
    error = caller.join().error
    assert isinstance(error, ConnectionLostError)
    assert error.sent is True
    with pytest.raises(ConnectionLostError) as info:
        end.call("echo", (), 30.0)
    assert info.value.sent is False, "the connection that vanished was not used again"
    between.heal()
    while True:  # each attempt that fails, fails the call that waits for it
        try:
            assert end.call("echo", ("again",), 30.0) == ("again",)
            break
        except ConnectionLostError as error:
            assert error.sent is False


def test_a_server_that_vanished_is_noticed_while_idle(serve: Any, connect: Any, proxy: Any) -> None:
    address, between = proxy(serve().address)
    down: queue.Queue[str] = queue.Queue()
    end = connect(address, on_down=down.put, connect_timeout_s=0.3, **FAST)
    end.call("echo", (), 5.0)
    between.set(between.links, hold=True)
    assert "nothing was heard" in down.get(timeout=5)


def test_a_server_that_vanished_is_noticed_under_futures(serve: Any, connect: Any, proxy: Any) -> None:
    served = serve()
    address, between = proxy(served.address)
    end = connect(address, connect_timeout_s=0.3, **FAST)
    future = end.submit("hold", (), 30.0)
    served.handler.seen.get(timeout=5)
    between.set(between.links, hold=True)
    assert isinstance(future.exception(10), ConnectionLostError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_vanished_meanwhile_is_noticed_by_the_next_call(
    kind: str, serve: Any, connect: Any, proxy: Any
) -> None:
    address, between = proxy(serve().address)
    end = connect(address, connect_timeout_s=0.3, **{**FAST, "idle_ping_interval_s": 45.0})
    end.call("echo", (), 1.0)  # until that has passed, its keeper does not sleep for long
    wait_until(lambda: end._exchange._wakes_at > time.monotonic() + 20, "its keeper to sleep until it pings")
    between.set(between.links, hold=True)
    assert isinstance(KINDS[kind](end), ConnectionLostError)


def test_a_client_that_waits_for_nothing_pings_seldom() -> None:
    near, far = socket.socketpair()
    link = Link(near, 1 << 20, 1.0, 3.0, 10.0)
    with far:
        began = link.heard_at
        assert not link.needs_ping(began + 9.9, waiting=False)
        assert link.pulse_at(began, waiting=False) == link.pulse_at(began + 1.0, waiting=True) == began + 1.0
        assert link.pulse_at(began + 1.0, waiting=False) == began + 10.0
        assert link.needs_ping(began + 10.0, waiting=False)
        assert not link.is_dead(began + 11.9) and link.is_dead(began + 12.0)
    link.close()


def test_the_answer_to_a_ping_tells_how_long_it_took_and_other_data_do_not() -> None:
    near, far = socket.socketpair()
    link, told = Link(near, 1 << 20, 1.0, 3.0, 10.0), []
    link.on_pong = told.append
    with far:
        for is_answer in (False, True, False):
            if is_answer:
                link.heard_at -= 10.0
                assert link.needs_ping(time.monotonic(), waiting=False)
            far.send(b"x")
            link.receive(1.0)
    link.close()
    assert len(told) == 1


def test_a_server_that_still_takes_data_counts_as_alive() -> None:
    near, far = socket.socketpair()
    link = Link(near, 1 << 20, 1.0, 3.0, 10.0)
    with far:
        link.transmit(b"x" * (8 << 20))
        assert link.backlog, "the socket took it all: this test needs more"
        heard_at = link.heard_at
        link.flush()
        assert link.heard_at == heard_at, "nothing moved"
        while link.heard_at == heard_at:
            assert far.recv(1 << 20)
            link.flush()
    link.close()


def test_a_slow_answer_is_not_a_dead_server(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address, **FAST)
    caller = Background(end.call, "hold", (), 20.0)
    future = end.submit("hold", (), 20.0)
    held = [served.handler.seen.get(timeout=5) for _ in range(2)]
    with pytest.raises(queue.Empty):
        served.handler.closed.get(timeout=1.2)  # three times the patience: the connection lives on
    for item in held:
        answer(item)
    assert caller.join().result == "done"
    assert future.result(5) == "done"


# -- hello ---------------------------------------------------------------------------------------------------


def test_hello_comes_first_on_every_connection(serve: Any, connect: Any) -> None:
    served = serve()
    heard: list[Any] = []
    greetings = iter([("echo", (1,)), ("echo", (2,))])
    end = connect(served.address, hello=lambda: next(greetings), on_hello=heard.append)
    assert end.call("echo", ("a",), 5.0) == ("a",)
    assert heard == [(1,)]
    with pytest.raises(ConnectionLostError):
        end.call("hang up", (), 5.0)
    assert end.call("echo", ("b",), 5.0) == ("b",)
    assert heard == [(1,), (2,)]


def test_a_server_can_be_refused_for_its_answer_to_hello(serve: Any, connect: Any) -> None:
    served = serve()

    def refuse(result: Any) -> None:
        raise ProtocolError("not the one I want")

    end = connect(served.address, hello=lambda: ("echo", ()), on_hello=refuse)
    with pytest.raises(ConnectionLostError, match="not the one I want") as info:
        end.call("hold", (), 5.0)
    assert info.value.sent is False
    assert served.handler.seen.empty()


def test_a_server_can_refuse_a_hello(serve: Any, connect: Any) -> None:
    served = serve()
    with pytest.raises(ConnectionLostError, match="because"):
        connect(served.address, hello=lambda: ("refuse", ())).call("hold", (), 5.0)
    failures: queue.Queue[Exception] = queue.Queue()
    end = connect(served.address, hello=lambda: ("refuse", ()), on_failure=failures.put, keep_connected=True)
    end.start()
    refusal = failures.get(timeout=5)
    assert isinstance(refusal, RemoteError) and str(refusal) == "because"
    assert served.handler.seen.empty()


@pytest.mark.parametrize("kind", ["nobody listens", "refused", "no such name"])
def test_a_failed_attempt_leaves_nothing_for_the_collector_of_garbage(
    serve: Any, connect: Any, dead: tuple, kind: str
) -> None:
    failures: queue.SimpleQueue[weakref.ref[Exception]] = queue.SimpleQueue()
    end = connect(
        {"nobody listens": dead, "refused": serve().address, "no such name": ("a.invalid", 1)}[kind],
        hello=lambda: ("refuse", ()),
        on_failure=lambda error: failures.put(weakref.ref(error)),
        keep_connected=True,
    )
    gc.disable()
    try:
        end.start()
        first = failures.get(timeout=5)
        wait_until(lambda: first() is None, "the error of the first attempt to be gone")
    finally:
        gc.enable()


def test_a_hello_without_an_answer(serve: Any, connect: Any) -> None:
    end = connect(serve().address, hello=lambda: ("hold", ()), connect_timeout_s=0.3)
    with pytest.raises(ConnectionLostError, match="no answer to our hello"):
        end.call("echo", (), 5.0)


# -- notify --------------------------------------------------------------------------------------------------


def connected(connect: Any, address: tuple, **options: Any) -> Any:
    up = threading.Event()
    end = connect(address, on_up=up.set, keep_connected=True, **options)
    end.start()
    assert up.wait(5)
    return end


def test_notify_keeps_the_order(serve: Any, connect: Any) -> None:
    served = serve()
    end = connected(connect, served.address)
    for number in range(500):
        assert end.notify(frame(dumps((None, "tell", (number,)))))
        if number % 50 == 0:
            begun(end, "tell", (number + 0.5,))
    told = [served.handler.seen.get(timeout=5)[3][0] for _ in range(510)]
    assert told == sorted(told)


def test_notify_without_a_connection_says_so(dead: tuple, connect: Any) -> None:
    assert connect(dead).notify(frame(dumps((None, "tell", ())))) is False


def test_notify_never_waits_and_drops_what_is_too_much(serve: Any, connect: Any) -> None:
    served = serve(max_frame_bytes=16 << 20)
    end = connected(connect, served.address, max_buffered_bytes=20 << 20)
    blocked, go = threading.Event(), threading.Event()

    def block(batch: list) -> None:
        blocked.set()
        go.wait(20)
        for item in batch:
            served.handler.seen.put(item)

    served.handler.on_requests = block
    end.notify(frame(dumps((None, "block", (-1, b"")))))
    assert blocked.wait(5)
    taken = []
    for number in range(20):  # the sockets take a few MiB, the buffer 20, and then it is too much
        if end.notify(frame(dumps((None, "tell", (number, b"x" * (5 << 20)))))):
            taken.append(number)
    assert 4 <= len(taken) < 20
    go.set()
    told = [served.handler.seen.get(timeout=10)[3] for _ in range(len(taken) + 1)]
    assert [number for number, _ in told] == [-1, *taken], "all that was taken arrives whole, in order"


# -- hostile servers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        b"garbage which announces a frame of more than a gigabyte",
        frame(b"not a pickle"),
        frame(dumps("not a tuple")),
        frame(dumps((1, True))),
        frame(dumps(([], True, None))),
        frame(dumps((1, "yes", None))),
        frame(dumps((1, False, "no reason"))),
        frame(dumps((1, False, (1, 2, 3)))),
        struct.pack("!iQ", -1, 1 << 40),
    ],
)
def test_a_server_that_talks_nonsense_is_left(serve: Any, connect: Any, reply: bytes) -> None:
    served = serve()
    end = connect(served.address)
    future = end.submit("hold", (), 20.0)
    served.handler.seen.get(timeout=5)[0].send(reply)
    assert isinstance(future.exception(5), ConnectionLostError)
    assert end.call("echo", ("again",), 5.0) == ("again",)


def test_a_reply_to_nobody_is_no_matter(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address)
    future = end.submit("hold", (), 20.0)
    held = served.handler.seen.get(timeout=5)
    send_replies([(held[0], 10**9, True, "for nobody"), (held[0], 10**10, False, ("code", "text", None))])
    answer(held)
    assert future.result(5) == "done"


# -- the end -------------------------------------------------------------------------------------------------


def test_close_fails_what_is_under_way_and_all_that_comes_after(serve: Any, connect: Any) -> None:
    served = serve()
    end = connect(served.address)
    future = end.submit("hold", (), 20.0)
    caller = Background(end.call, "hold", (), 20.0)
    for _ in range(2):
        served.handler.seen.get(timeout=5)
    end.close()
    for error in (future.exception(0), caller.join().error):
        assert isinstance(error, ConnectionLostError)
        assert error.sent is True
    end.close()
    for use in (lambda: end.call("echo", (), 5.0), lambda: end.submit("echo", (), 5.0), end.start):
        with pytest.raises(ClosedError):
            use()
    assert end.notify(b"") is False
    assert served.handler.closed.get(timeout=5)


def test_close_before_use(dead: tuple, connect: Any) -> None:
    end = connect(dead)
    end.close()
    with pytest.raises(ClosedError):
        end.call("echo", (), 5.0)


def test_close_while_connecting(mute: tuple, connect: Any) -> None:
    end = connect(mute, connect_timeout_s=0.5)
    future = end.submit("hold", (), 20.0)
    end.close()
    assert isinstance(future.exception(0), ConnectionLostError)
    assert future.exception(0).sent is False  # type: ignore[union-attr]


def test_close_from_a_callback(serve: Any, connect: Any) -> None:
    end = connect(serve().address)
    closed: queue.Queue[str] = queue.Queue()

    def close(future: Future[Any]) -> None:
        end.close()
        closed.put("closed")

    end.submit("echo", (), 5.0).add_done_callback(close)
    assert closed.get(timeout=5) == "closed"


def test_too_much_waiting_for_a_connection_is_refused_at_once(mute: tuple, connect: Any) -> None:
    end = connect(mute, connect_timeout_s=0.5, max_buffered_bytes=1 << 20)
    end.submit("hold", (b"x" * (900 << 10),), 20.0)
    error = end.submit("hold", (b"x" * (900 << 10),), 20.0).exception(0.4)
    assert "are waiting already" in str(error)
    assert error.sent is False


def test_a_bug_in_a_callback_of_the_keeper_is_said_and_closes_the_end(serve: Any, connect: Any) -> None:
    fatal: queue.Queue[BaseException] = queue.Queue()

    def bug() -> None:
        raise RuntimeError("a bug in on_up")

    end = connect(serve().address, on_up=bug, on_fatal=fatal.put)
    with pytest.raises((ConnectionLostError, ClosedError)):
        while True:
            end.call("echo", (), 5.0)
    assert "a bug in on_up" in str(fatal.get(timeout=5))


def test_try_connect_gives_a_plain_connection(serve: Any, dead: tuple, mute: tuple) -> None:
    with try_connect(serve().address, KEY, 5.0) as connection:
        connection.send((1, "ping", ()))
        assert connection.recv() == (1, True, "pong")
    with pytest.raises(ConnectionLostError):
        try_connect(dead, KEY, 5.0)
    with pytest.raises(CallTimeoutError):
        try_connect(mute, KEY, 0.2)
    with pytest.raises(AuthenticationError):
        try_connect(serve().address, b"guess", 5.0)
