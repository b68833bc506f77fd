"""The server's half of the handshake, against the clients of all versions of Python."""

from __future__ import annotations

import gc
import hmac
import weakref

import pytest
from raftkv.errors import AuthenticationError, ProtocolError
from raftkv.rpc.challenge import Challenge
from raftkv.rpc.wire import frame

KEY = b"the key"
OLD_QUESTION, NEW_QUESTION = b"q" * 20, b"{sha384}" + b"q" * 40


def mac(message: bytes, digest: str, key: bytes = KEY) -> bytes:
    return hmac.new(key, message, digest).digest()


def payload(framed: bytes) -> bytes:
    assert framed == frame(framed[4:])
    return framed[4:]


def asked(challenge: Challenge) -> bytes:
    tag, question = payload(challenge.opening)[:11], payload(challenge.opening)[11:]
    assert tag == b"#CHALLENGE#" and question.startswith(b"{sha256}") and len(question) == 48
    return question


def say(challenge: Challenge, message: bytes) -> bytes:
    """One frame, byte by byte; what is answered."""
    answer = b""
    for byte in frame(message):
        assert challenge.wanted and not answer
        answer = challenge.receive(bytes([byte]))
    return answer


@pytest.mark.parametrize(
    "prefix, digest, question, answer",
    [
        (b"", "md5", OLD_QUESTION, mac(OLD_QUESTION, "md5")),
        (b"{sha256}", "sha256", NEW_QUESTION, b"{sha384}" + mac(NEW_QUESTION, "sha384")),
        (b"{sha3_384}", "sha3_384", OLD_QUESTION, mac(OLD_QUESTION, "md5")),
    ],
    ids=["up to 3.11", "from 3.12 on", "another digest"],
)
def test_a_client_with_the_key_gets_in(prefix: bytes, digest: str, question: bytes, answer: bytes) -> None:
    challenge = Challenge(KEY)
    assert not challenge.has_proved
    assert payload(say(challenge, prefix + mac(asked(challenge), digest))) == b"#WELCOME#"
    assert challenge.has_proved
    assert payload(say(challenge, b"#CHALLENGE#" + question)) == answer
    assert say(challenge, b"#WELCOME#") == b"" and challenge.wanted == 0


@pytest.mark.parametrize(
    "proof",
    [
        lambda question: mac(question, "md5", b"another key"),
        lambda question: b"{sha256}" + mac(question, "sha256", b"another key"),
        lambda question: mac(question, "sha256"),
        lambda question: b"{sha1}" + mac(question, "sha1"),
        lambda question: b"{sha256}",
        lambda question: b"{sha256}" + mac(question, "md5"),
        lambda question: b"#WELCOME#",
        lambda question: b"{" * 200,
    ],
)
def test_a_client_without_the_key_does_not(proof: object) -> None:
    challenge = Challenge(KEY)
    with pytest.raises(AuthenticationError, match="it does not hold the same key"):
        say(challenge, proof(asked(challenge)))  # type: ignore[operator]
    assert not challenge.has_proved


def test_each_challenge_is_another_one() -> None:
    assert asked(Challenge(KEY)) != asked(Challenge(KEY))


@pytest.mark.parametrize("header", [b"\0\0\1\1", b"\xff\xff\xff\xff", b"\0\0\0\0", b"GET "])
def test_a_frame_that_no_handshake_has_is_refused_at_its_header(header: bytes) -> None:
    challenge = Challenge(KEY)
    assert challenge.wanted == 4
    with pytest.raises(ProtocolError, match="it does not speak this protocol"):
        challenge.receive(header)


def test_a_stranger_that_is_gone_leaves_nothing_for_the_collector_of_garbage() -> None:
    gc.disable()
    try:
        challenge = Challenge(KEY)
        gone = weakref.ref(challenge)
        del challenge
        assert gone() is None
    finally:
        gc.enable()
