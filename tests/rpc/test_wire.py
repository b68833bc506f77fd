"""Frames and pickles: what honest peers send comes through unchanged, anything else is refused at no cost."""

from __future__ import annotations

import builtins
import os
import pickle
import random
import socket
import struct
import tracemalloc
from multiprocessing.connection import Connection

import pytest
from raftkv.errors import ProtocolError
from raftkv.rpc.wire import FrameReader, dumps, frame, loads

PLAIN = [
    None, True, False, 0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31, 2**63, -(2**200),
    1.5, -0.0, float("inf"), "", "key", "x" * 255, "x" * 256, "x" * 70_000, "naïve ☃ 🐍", "\ud800",
    b"", b"\0\xff", b"x" * 300, b"x" * 70_000, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1],
    [1, [2, [3]]], {}, {"a": 1}, {1: {"b": ()}}, [{"id": n, "role": "follower"} for n in range(3)],
    tuple(range(2000)),
    {str(n): [n] for n in range(2000)}, [str(n) for n in range(300)] * 2,
    (7, "put", (12, 3, 2, "key000001", "xxxxxxxxxxxxxxxx")),
]  # fmt: skip


# -- frames --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 16384, b"x" * 16385, b"x" * 100_000])
def test_a_frame_is_what_a_connection_writes(payload: bytes) -> None:
    ours, theirs = socket.socketpair()
    with Connection(theirs.detach()) as connection, ours:
        ours.sendall(frame(payload))
        assert connection.recv_bytes() == payload
        connection.send_bytes(payload)
        received = b""
        while len(received) < len(frame(payload)):
            received += ours.recv(1 << 20)
        assert received == frame(payload)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 11, 1000, 100_000])
def test_frames_are_cut_out_of_the_stream_wherever_it_is_split(step: int) -> None:
    payloads = [b"", b"a", b"bc" * 10, b"", b"d" * 3000, b"e", struct.pack("!iQ", -1, 3)]
    stream = b"".join(map(frame, payloads)) + struct.pack("!iQ", -1, 5) + b"large" + frame(b"end")
    reader = FrameReader(1 << 20)
    found = []
    for at in range(0, len(stream), step):
        found += reader.feed(stream[at : at + step])
    assert found == [*payloads, b"large", b"end"]
    assert not reader.inside_frame


def test_inside_frame_is_true_from_the_first_byte_to_the_last() -> None:
    reader = FrameReader(100)
    for byte in frame(b"xy")[:-1]:
        assert reader.feed(bytes([byte])) == []
        assert reader.inside_frame
    assert reader.feed(b"y" + frame(b"z")[:5]) == [b"xy", b"z"]
    assert not reader.inside_frame


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("!i", 101),
        struct.pack("!i", 2**31 - 1),
        struct.pack("!iQ", -1, 2**31),
        struct.pack("!iQ", -1, 2**63),
        struct.pack("!i", -2),
        struct.pack("!i", -(2**31)),
    ],
)
@pytest.mark.parametrize("before", [b"", frame(b"fine")])
def test_a_frame_beyond_the_limit_is_refused_at_its_header(header: bytes, before: bytes) -> None:
    assert FrameReader(100).feed(before + frame(b"x" * 100))[-1] == b"x" * 100, "at the limit it is taken"
    with pytest.raises(ProtocolError, match="frame of"):
        FrameReader(100).feed(before + header)


def test_a_large_frame_is_read_in_large_pieces_and_small_ones_are_not() -> None:
    reader = FrameReader(1 << 20)
    usual = reader.read_bytes
    stream = frame(b"x" * 1_000_000)
    reader.feed(stream[:1000])
    assert reader.read_bytes > usual
    reader.feed(stream[1000:])
    assert reader.read_bytes == usual


# -- pickles of honest peers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:20])
def test_plain_data_comes_through(value: object, protocol: int) -> None:
    if protocol == 2 and isinstance(value, bytes):
        pytest.skip("protocol 2 pickles bytes as a call of a function")
    result = loads(pickle.dumps(value, protocol))
    assert result == value
    assert type(result) is type(value)


def test_dumps_makes_what_loads_takes() -> None:
    assert loads(dumps(PLAIN)) == PLAIN


def test_shared_and_recursive_data_come_through() -> None:
    shared = ["x"]
    first, second = loads(dumps((shared, shared)))
    assert first is second
    loop: list = []
    loop.append(loop)
    found = loads(dumps(loop))
    assert found[0] is found


# -- pickles of hostile peers --------------------------------------------------------------------------------


class _Calls:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function: object, *args: object) -> None:
        self._reduced = (function, args)

    def __reduce__(self) -> tuple:
        return self._reduced


@pytest.mark.parametrize("protocol", range(6))
def test_no_code_runs(protocol: int, tmp_path: object) -> None:
    trace = os.path.join(str(tmp_path), "was here")
    for call in (_Calls(os.mkdir, trace), _Calls(builtins.eval, f"__import__('os').mkdir({trace!r})")):
        payload = pickle.dumps((1, "ping", (call,)), protocol)
        with pytest.raises(ProtocolError):
            loads(payload)
    assert not os.path.exists(trace)


@pytest.mark.parametrize(
    "value", [{1, 2}, frozenset([1]), bytearray(b"x"), 1j, object(), Exception, range(3), len]
)
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(ProtocolError):
        loads(dumps(value))


_PLAIN_OPCODES = set(
    b"\x80\x95NK\x88\x89JM\x8aGX\x8c\x8dCB\x8e)\x85\x86\x87t(]ae}sus" + b"\x94qrhj."
)  # PROTO FRAME, values, containers, memo, STOP


@pytest.mark.parametrize("opcode", sorted(set(range(256)) - _PLAIN_OPCODES), ids=hex)
def test_every_other_opcode_is_refused_wherever_it_stands(opcode: int) -> None:
    operand = b"\x01\0\0\0os\nmkdir\n."
    for payload in (
        b"%c%b" % (opcode, operand),
        b"\x80\x05K\x01%c." % opcode,
        b"\x80\x04]%c%b" % (opcode, operand),
    ):
        with pytest.raises(ProtocolError):
            loads(payload)


MEMO_BOMBS = [
    b"\x80\x02Nr\xff\xff\xff\x7f.",  # LONG_BINPUT: the C unpickler makes room for twice the index
    b"\x80\x02Nr\x00\x00\x00\x01.",
    b"Np2147483647\n.",  # PUT
]
LENGTH_BOMBS = [
    b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",  # BINBYTES8
    b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".",  # BINUNICODE8
    b"\x80\x04\x8d" + struct.pack("<Q", (1 << 64) - 1) + b".",
    b"\x80\x05\x96" + struct.pack("<Q", 1 << 32) + b".",  # BYTEARRAY8
    b"\x80\x03B" + struct.pack("<I", (1 << 32) - 1) + b".",  # BINBYTES
    b"\x80\x03X" + struct.pack("<I", (1 << 32) - 1) + b".",  # BINUNICODE
    b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b".",  # LONG4
    b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",  # FRAME
]


@pytest.mark.parametrize("payload", MEMO_BOMBS + LENGTH_BOMBS)
def test_a_small_payload_cannot_make_us_allocate_much(payload: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            loads(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, f"{len(payload)} bytes of pickle took {peak} bytes of memory"


def test_a_long_binput_within_the_payload_is_honest() -> None:
    # What protocols 2 and 3 write from the 257th object on.
    value = [(str(n),) for n in range(300)]
    payload = pickle.dumps(value, 2)
    assert b"r\x00\x01\x00\x00" in payload, "this test needs a LONG_BINPUT"
    assert loads(payload) == value


DICT = b"\x80\x04}"
KEY_BOMBS = {
    "the hash of a deep tuple recurses in C without a limit": DICT + b"N" + b"\x85" * 250_000 + b"Ns.",
    "the hash of shared tuples takes 2**60 steps": DICT
    + b"N"
    + b"\x94h%c\x86" * 60 % tuple(range(60))
    + b"Ns.",
    "in one of many items": DICT + b"(K\x01NK\x02NN\x85Nu.",
    "by way of the memo": b"\x80\x04N\x85\x940}h\x00Ns.".replace(b"0", b""),
    "an integer of more than 32 bits": DICT + b"\x8a\x08" + struct.pack("<q", 2**61 - 1) + b"Ns.",
    "a float": DICT + b"G" + struct.pack(">d", 2.0**61) + b"Ns.",
    "None": DICT + b"NNs.",
    "in a nested dict": DICT + b"K\x01]}NNsas.",
}


@pytest.mark.parametrize("payload", KEY_BOMBS.values(), ids=KEY_BOMBS.keys())
def test_keys_that_are_costly_to_hash_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="key"):
        loads(payload)


@pytest.mark.parametrize(
    "payload",
    [b"", b".", b"N", b"\x80\x05", b"\x80\x05N.N.", b"\x80\x05)", b"\x80\x09N.", b"N" * 10, b"}s.", b"u."],
)
def test_broken_pickles_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        loads(payload)


def test_every_truncation_of_a_pickle_is_refused() -> None:
    for protocol in (2, 3, 4, 5):
        payload = pickle.dumps(
            (7, "put", (12, 2**40, 1.5, "key", ["x" * 300], {"a": (1,)}, {2: "b"})), protocol
        )
        assert loads(payload)
        for size in range(len(payload)):
            with pytest.raises(ProtocolError):
                loads(payload[:size])


def test_damaged_pickles_give_plain_data_or_a_protocol_error() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    originals = [pickle.dumps(value, rng.choice([2, 4, 5])) for value in PLAIN if value != "x" * 70_000]
    for _ in range(20_000):
        payload = bytearray(rng.choice(originals)[:2000])
        for _ in range(rng.randint(1, 4)):
            payload[rng.randrange(len(payload))] = rng.choice([rng.randrange(256), *b".(tu}s\x94h\x85"])
        try:
            value = loads(bytes(payload))
        except ProtocolError:
            continue
        assert type(value) in (type(None), bool, int, float, str, bytes, tuple, list, dict), (
            f"seed {seed}: {payload!r}"
        )


def test_the_largest_batch_comes_through_and_what_takes_far_longer_to_check_does_not() -> None:
    batch = (1, "batch", [["cas", f"key{n}", f"old{n}", f"new{n}"] for n in range(10_000)])
    assert loads(dumps(batch)) == batch
    with pytest.raises(ProtocolError, match="more than 300000 parts"):
        loads(dumps([None] * 300_000))


def test_deep_nesting_is_no_matter() -> None:
    value = loads(b"\x80\x04N" + b"\x85" * 250_000 + b".")
    depth = 0
    while value is not None:
        (value,) = value
        depth += 1
    assert depth == 250_000
