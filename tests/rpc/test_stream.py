"""Streams: one request, many replies, until a refusal or the end of the connection."""

from __future__ import annotations

import queue
from typing import Any

from raftkv.errors import RpcError
from raftkv.rpc.calls import Call
from raftkv.rpc.channel import send_replies

from tests.cluster.waiting import wait_until

WAIT_S = 10.0


class Stream(Call):
    streams = True

    def __init__(self) -> None:
        super().__init__(float("inf"))
        self.heard: queue.Queue[Any] = queue.Queue()

    def resolve(self, ok: bool, result: Any) -> None:
        self.heard.put((ok, result))

    def fail(self, error: RpcError) -> None:
        self.heard.put(error)


def test_a_stream_has_replies_until_a_refusal(serve: Any, connect: Any) -> None:
    served, stream = serve(), Stream()
    client = connect(served.address)
    client.begin(stream, "hold", ())
    channel, request_id, _, _ = served.handler.seen.get(timeout=WAIT_S)
    for number in range(3):
        send_replies([(channel, request_id, True, number)])
        assert stream.heard.get(timeout=WAIT_S) == (True, number)
        assert client.call("echo", (number,), WAIT_S) == (number,)
    send_replies(
        [(channel, request_id, False, ("over", "that is all", None)), (channel, request_id, True, 9)]
    )
    assert stream.heard.get(timeout=WAIT_S) == (False, ("over", "that is all", None))
    assert client.call("echo", (9,), WAIT_S) == (9,)
    assert stream.heard.empty()


def test_a_stream_ends_with_its_connection(serve: Any, connect: Any) -> None:
    served, stream = serve(), Stream()
    client = connect(served.address)
    client.begin(stream, "hold", ())
    channel, request_id, _, _ = served.handler.seen.get(timeout=WAIT_S)
    send_replies([(channel, request_id, True, 1)])
    assert stream.heard.get(timeout=WAIT_S) == (True, 1)
    channel.close()
    error = stream.heard.get(timeout=WAIT_S)
    assert isinstance(error, RpcError) and error.sent  # type: ignore[attr-defined]


def test_a_stream_is_pinged_though_nobody_waits_for_an_answer(serve: Any, connect: Any) -> None:
    served, stream = serve(), Stream()
    client = connect(served.address, ping_interval_s=0.05, ping_timeout_s=5.0)
    client.begin(stream, "hold", ())
    channel, _, _, _ = served.handler.seen.get(timeout=WAIT_S)
    heard_at = channel.heard_at
    wait_until(lambda: channel.heard_at > heard_at, "a ping")


def test_a_connection_with_a_stream_is_not_lent(serve: Any, connect: Any) -> None:
    """Who borrows it reads at leisure, and what the stream brings would wait."""
    served, stream, slot = serve(), Stream(), []  # type: ignore[var-annotated]
    client = connect(served.address)

    class Borrower(Stream):
        streams = False

        def resolve(self, ok: bool, result: Any) -> None:
            self.heard.put(client.lend(slot, None))

    for is_lent in (True, False):
        borrower = Borrower()
        client.begin(borrower, "echo", ())
        assert (borrower.heard.get(timeout=WAIT_S) is not None) == is_lent
        if is_lent:
            client.begin(stream, "hold", ())
            channel, request_id, _, _ = served.handler.seen.get(timeout=WAIT_S)
    send_replies([(channel, request_id, True, 1)])
    assert stream.heard.get(timeout=WAIT_S) == (True, 1)
