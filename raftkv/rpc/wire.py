"""What goes over the wire: frames of multiprocessing.connection, and in each a pickle of plain data.

A frame is what `Connection.send_bytes` writes: the payload's length as `!i`, then the payload; above 2**31
- 1 bytes the length is -1 followed by the real one as `!Q`.

Unpickling is safe against three things, not only the first:

* *running code*: only the opcodes that plain data needs are let through, and none of them can name a class or
  a function, or call one;
* *eating memory*: a LONG_BINPUT with a huge index, or a string that announces a terabyte, makes the C
  unpickler allocate before it looks, so indexes and lengths are held against the payload's own length
  first. What comes out takes at most about 100 bytes of memory for each byte of payload;
* *eating time, or the stack*: the hash of a tuple of tuples of tuples recurses in C without a limit, and
  takes exponential time when the tuples are shared. Integers beyond 32 bits can be chosen to collide in a
  dict. So a dict's keys must be strings or 32-bit integers.

Plain data may still be nested to any depth, share parts or contain itself, and strings may hold lone
surrogates: check types as you go down, and never `repr` what a stranger sent.
"""

from __future__ import annotations

import pickle
import struct
from itertools import repeat
from typing import Any

from raftkv.errors import ProtocolError

_PACK_SIZE = struct.Struct("!i").pack
_UNPACK_SIZE = struct.Struct("!i").unpack_from
_PACK_LONG_SIZE = struct.Struct("!iQ").pack
_UNPACK_LONG_SIZE = struct.Struct("!Q").unpack_from
_MAX_SHORT_FRAME = 0x7FFFFFFF

# How much to ask of a socket at a time. Asking for 128 KiB or more makes malloc map fresh pages for each
# recv(), which takes longer than all the rest of a small request; that is for the inside of a large frame
# only. The upper bound is also what one connection gets before the others have their turn.
_READ_BYTES = 64 << 10
_MAX_READ_BYTES = 256 << 10


#: Of one payload. The largest that is of any use, a batch of 10,000 operations, has a third of it; and to look
#: at so many takes less than a heartbeat interval.
MAX_OPCODES = 300_000


# -- frames --------------------------------------------------------------------------------------------------


def frame(payload: bytes) -> bytes:
    """`payload` as `Connection.send_bytes` would write it."""
    size = len(payload)
    if size > _MAX_SHORT_FRAME:
        return _PACK_LONG_SIZE(-1, size) + payload
    return _PACK_SIZE(size) + payload


class FrameReader:
    """Cuts a stream of bytes into the payloads of its frames. For one thread at a time.

    `read_bytes` is how much to ask of the socket next.
    """

    __slots__ = ("_header", "_max_bytes", "_missing", "_payload", "read_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.read_bytes = _READ_BYTES
        self._max_bytes = max_bytes
        self._header = b""  # of the frame that is coming in, while the header is not whole
        self._payload = bytearray()  # of the frame that is coming in
        self._missing = 0  # so many bytes of it

    @property
    def inside_frame(self) -> bool:
        """Whether a frame has begun and not yet ended."""
        return self._missing > 0 or bool(self._header)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are complete now that `data` has come.

        Raises ProtocolError when a frame announces more than `max_bytes`; nothing of it is kept.
        """
        payloads: list[bytes] = []
        at = 0
        if self._missing:
            if len(data) < self._missing:
                self._payload += data
                self._missing -= len(data)
                return payloads
            at = self._missing
            self._payload += memoryview(data)[:at]
            payloads.append(bytes(self._payload))
            self._payload = bytearray()
            self._missing = 0
            self.read_bytes = _READ_BYTES
        elif self._header:
            data = self._header + data
            self._header = b""
        end = len(data)
        while end - at >= 4:
            (size,) = _UNPACK_SIZE(data, at)
            start = at + 4
            if size == -1:
                start = at + 12
                if start > end:
                    break
                (size,) = _UNPACK_LONG_SIZE(data, at + 4)
            if not 0 <= size <= self._max_bytes:
                raise ProtocolError(
                    f"a frame of {size} bytes was announced, and {self._max_bytes} are allowed"
                )
            at = start + size
            if at > end:
                self._begin(data, start, at - end)
                return payloads
            payloads.append(data[start:at])
        if at < end:
            self._header = data[at:]
        return payloads

    def _begin(self, data: bytes, start: int, missing: int) -> None:
        """A frame of which `data` holds only the beginning, from `start` on."""
        self._payload += memoryview(data)[start:]
        self._missing = missing
        if missing > _READ_BYTES:
            self.read_bytes = _MAX_READ_BYTES


# -- pickles -------------------------------------------------------------------------------------------------


def dumps(obj: Any) -> bytes:
    """The pickle (protocol 5) of plain data, the only kind that loads() takes: None, bool, int below 2040
    bits, float, str, bytes, tuple, list, and dict with keys of str or 32-bit int."""
    return pickle.dumps(obj, 5)


def loads(payload: bytes) -> Any:
    """The plain data that `payload` pickles (protocols 2 to 5). Raises ProtocolError for anything else."""
    _check_opcodes(payload)
    try:
        return pickle.loads(payload)
    except Exception as error:  # the unpickler fails in a dozen ways on a pickle that is broken on purpose
        raise ProtocolError(f"a damaged pickle ({type(error).__name__})") from None


_STOP, _MARK, _TUPLE = pickle.STOP[0], pickle.MARK[0], pickle.TUPLE[0]
_EMPTY_DICT, _SETITEM, _SETITEMS = pickle.EMPTY_DICT[0], pickle.SETITEM[0], pickle.SETITEMS[0]
_APPEND, _APPENDS, _MEMOIZE = pickle.APPEND[0], pickle.APPENDS[0], pickle.MEMOIZE[0]
_LONG_BINPUT = pickle.LONG_BINPUT[0]
_COUNT_BYTE = -1  # in _SIZES: the operand is a length of one byte and as many bytes
_UNUSUAL = -2  # see _unusual_size()

#: Of each opcode that may occur: how many bytes it takes with its operand, or one of the two above. 0:
#: forbidden.
_SIZES = [0] * 256
for _size, _opcodes in (
    (1, (pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.MARK, pickle.MEMOIZE)),
    (1, (pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)),
    (1, (pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS)),
    (2, (pickle.PROTO, pickle.BININT1, pickle.BINGET, pickle.BINPUT)),
    (3, (pickle.BININT2,)),
    (5, (pickle.BININT, pickle.LONG_BINGET)),
    (9, (pickle.BINFLOAT, pickle.FRAME)),
    (_COUNT_BYTE, (pickle.SHORT_BINUNICODE, pickle.SHORT_BINBYTES, pickle.LONG1)),
    (_UNUSUAL, (pickle.BINUNICODE, pickle.BINBYTES, pickle.BINUNICODE8, pickle.BINBYTES8)),
    (_UNUSUAL, (pickle.EMPTY_DICT, pickle.LONG_BINPUT)),
):
    for _opcode in _opcodes:
        _SIZES[_opcode[0]] = _size

_COUNT_WIDTHS = {
    pickle.BINUNICODE[0]: 4,
    pickle.BINBYTES[0]: 4,
    pickle.BINUNICODE8[0]: 8,
    pickle.BINBYTES8[0]: 8,
}


def _check_opcodes(payload: bytes) -> None:
    """Raises ProtocolError unless `payload` is a sequence of harmless opcodes with their operands, and a
    STOP.

    Every request and reply passes through here: the loop is kept to one table look-up an opcode.
    """
    sizes = _SIZES
    at, end = 0, len(payload) - 1
    has_dict = False
    try:
        for _ in repeat(None, MAX_OPCODES):
            size = sizes[payload[at]]
            if size > 0:
                at += size
            elif size == _COUNT_BYTE:
                at += 2 + payload[at + 1]
            elif payload[at] == _STOP:
                break
            else:
                has_dict |= payload[at] == _EMPTY_DICT
                at += _unusual_size(payload, at)
        else:
            raise ProtocolError(f"a pickle of more than {MAX_OPCODES} parts")
    except IndexError:  # it ends before its STOP
        at = -1
    if at != end:
        raise ProtocolError("a payload that is not a whole pickle")
    if has_dict:
        _check_dict_keys(payload)


def _unusual_size(payload: bytes, at: int) -> int:
    """How many bytes the opcode at `at` takes with its operand, for one whose size is not in the table."""
    opcode = payload[at]
    if opcode == _EMPTY_DICT:
        return 1
    if opcode == _LONG_BINPUT and _operand(payload, at, 4) < len(payload):
        return 5
    if opcode in _COUNT_WIDTHS:
        width = _COUNT_WIDTHS[opcode]
        return 1 + width + _operand(payload, at, width)
    raise ProtocolError(f"a pickle of more than plain data (opcode 0x{opcode:02x})")


def _operand(payload: bytes, at: int, width: int) -> int:
    return int.from_bytes(payload[at + 1 : at + 1 + width], "little")


_STRINGS = (pickle.SHORT_BINUNICODE[0], pickle.BINUNICODE[0], pickle.BINUNICODE8[0])
_SMALL_INTS = (pickle.BININT[0], pickle.BININT1[0], pickle.BININT2[0])
_KEYS = frozenset(_STRINGS + _SMALL_INTS)
_TUPLES = {pickle.TUPLE1[0]: 1, pickle.TUPLE2[0]: 2, pickle.TUPLE3[0]: 3}
_PUTS = {pickle.BINPUT[0]: 1, pickle.LONG_BINPUT[0]: 4}
_GETS = {pickle.BINGET[0]: 1, pickle.LONG_BINGET[0]: 4}
_WITHOUT_EFFECT = (pickle.PROTO[0], pickle.FRAME[0])


def _check_dict_keys(payload: bytes) -> None:
    """Raises ProtocolError unless all keys of all dicts are strings or 32-bit integers.

    Runs the pickle on a stack that holds, in place of each value, whether it may be a key.
    """
    stack: list[bool] = []
    marks: list[int] = []
    memo: dict[int, bool] = {}
    at, end = 0, len(payload) - 1
    try:
        while at < end:
            opcode = payload[at]
            if opcode in (_SETITEM, _SETITEMS):
                first = marks.pop() if opcode == _SETITEMS else len(stack) - 2
                if not all(stack[first::2]):
                    raise ProtocolError("a dict key that is neither a string nor a 32-bit integer")
                del stack[first:]
            elif opcode == _MARK:
                marks.append(len(stack))
            elif opcode in (_APPEND, _APPENDS):
                del stack[marks.pop() if opcode == _APPENDS else -1 :]
            elif opcode == _TUPLE or opcode in _TUPLES:
                del stack[marks.pop() if opcode == _TUPLE else -_TUPLES[opcode] :]
                stack.append(False)
            elif opcode == _MEMOIZE:
                memo[len(memo)] = stack[-1]
            elif opcode in _PUTS:
                memo[_operand(payload, at, _PUTS[opcode])] = stack[-1]
            elif opcode in _GETS:
                stack.append(memo[_operand(payload, at, _GETS[opcode])])
            elif opcode not in _WITHOUT_EFFECT:
                stack.append(opcode in _KEYS)
            size = _SIZES[opcode]
            if size == _COUNT_BYTE:
                size = 2 + payload[at + 1]
            at += size if size > 0 else _unusual_size(payload, at)
    except LookupError:
        raise ProtocolError("a damaged pickle (its stack or memo runs out)") from None
