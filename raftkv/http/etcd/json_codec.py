"""Messages from JSON and to JSON, as protobuf's own mapping has it and etcd 3.5 speaks it.

In: names as in the protocol (snake_case) or in camelCase; numbers of 64 bits as numbers or text; enumerations by name or
number; bytes in base64; null is the same as nothing; what is not known is ignored. Out: the protocol's names; zero, false,
and what is empty are left out.

Messages of errors are those of Go's standard library, which clients of etcd have seen before.
"""

from __future__ import annotations

import binascii
import json
import re
import typing
from typing import Any, Callable

from raftkv.http.etcd.fields import ENUM, INT64, Choice, Message, Width

MAX_DEPTH = 100  # of the JSON
MAX_COMMAS = 100_000  # in it: base64 has none, and to make objects of more holds up all other requests
_MAX_DIGITS = 20  # of a number of 64 bits, with its sign

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

_NO_VALUE = "looking for beginning of value"

Decoder = Callable[[Any], Any]


class JsonError(ValueError):
    """The text is no such message. Its message is for the client."""


class _Unfit(str):
    """The text of a number that is no whole number of at most 64 bits."""

    __slots__ = ()


# -- text ----------------------------------------------------------------------------------------------------


def _parse_int(text: str) -> Any:
    return int(text) if len(text) <= _MAX_DIGITS else _Unfit(text)


def _refuse_constant(text: str) -> Any:
    raise JsonError(f"invalid character '{text[0]}' {_NO_VALUE}")


_DECODER = json.JSONDecoder(parse_int=_parse_int, parse_float=_Unfit, parse_constant=_refuse_constant)
encode_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_SPACE = re.compile(r"[ \t\r\n]*")


def first_value(text: str, start: int = 0) -> tuple[Any, int]:
    """(the first JSON value of `text` from `start` on, where it ends); (None, the end) if there is nothing more. Raises
    JsonError."""
    start = _SPACE.match(text, start).end()  # type: ignore[union-attr]
    if start == len(text):
        return None, start
    if text.count(",", start) > MAX_COMMAS:
        raise JsonError("exceeded max number of values")
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except json.JSONDecodeError as error:
        raise JsonError(_syntax_problem(text, error)) from None


#: What Go says of a character, by how the message of Python's decoder begins.
_PROBLEMS = {
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':'": "after object key",
    "Expecting ','": "after object key:value pair",
    "Invalid control": "in string literal",
    "Invalid \\escape": "in string literal",
}


def _syntax_problem(text: str, error: json.JSONDecodeError) -> str:
    at = error.pos
    if not text[at:].strip() or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    problem = next((said for start, said in _PROBLEMS.items() if error.msg.startswith(start)), _NO_VALUE)
    return f"invalid character {_quoted(text[at])} {problem}"


def _quoted(character: str) -> str:
    if character in "'\\":
        return f"'\\{character}'"
    return f"'{character}'" if character.isprintable() else ascii(character)


def to_text(message: Message) -> str:
    """The JSON of a message."""
    return encode_text(to_plain(message))


# -- in ------------------------------------------------------------------------------------------------------


def from_text(kind: type[Message], body: bytes) -> Any:
    """The first message in `body`; an empty one is one without fields. Raises JsonError."""
    plain, _ = first_value(body.decode("utf-8", "replace"))
    return from_plain(kind, plain)


def from_plain(kind: type[Message], plain: Any, depth: int = 0) -> Any:
    """The message of a JSON value that was parsed. Raises JsonError."""
    if plain is None:
        return kind()
    if type(plain) is not dict:
        raise _mismatch(plain, "map[string]json.RawMessage")
    if depth > MAX_DEPTH:
        raise JsonError("exceeded max depth")
    decoders = _codec(kind).decoders
    found = {}
    for name, value in plain.items():
        field = decoders.get(name)
        if field is not None and value is not None:
            attribute, decode = field
            found[attribute] = decode(value, depth)
    return kind(**found)


def _bytes(value: Any, _: int) -> bytes:
    if type(value) is not str:
        raise _mismatch(value, "[]uint8")
    if not _BASE64.fullmatch(value):
        value = value.replace("\n", "").replace("\r", "")
        if not _BASE64.fullmatch(value):
            raise JsonError(f"illegal base64 data at input byte {_first_wrong(value)}")
    return binascii.a2b_base64(value)


def _first_wrong(text: str) -> int:
    wrong = _NOT_BASE64.search(text)
    return wrong.start() if wrong and text[wrong.start()] != "=" else len(text) // 4 * 4


def _flag(value: Any, _: int) -> bool:
    if type(value) is not bool:
        raise _mismatch(value, "bool")
    return value


def _text(value: Any, _: int) -> str:
    if type(value) is not str:
        raise _mismatch(value, "string")
    return value.encode("utf-8", "replace").decode()


def _number(width: Width) -> Callable[[Any, int], int]:
    def decode(value: Any, _: int) -> int:
        if type(value) is str:  # a number in quotes
            value = _unquoted(value, width)
        if type(value) is _Unfit:
            raise JsonError(f"json: cannot unmarshal number {value:.40} into Go value of type {width.name}")
        if type(value) is not int:
            raise _mismatch(value, width.name)
        if not width.least <= value <= width.most:
            raise JsonError(f"json: cannot unmarshal number {value} into Go value of type {width.name}")
        return value

    return decode


def _unquoted(quoted: str, width: Width) -> Any:
    text = quoted.strip(" \t\r\n")
    if _INTEGER.fullmatch(text):
        return _parse_int(text)
    if _NUMBER.fullmatch(text):
        return _Unfit(text)
    if not text:
        raise JsonError("unexpected end of JSON input")
    if text in ("null", "true", "false"):
        return 0 if text == "null" else text == "true"
    number = _NUMBER.match(text)
    if number is not None:
        raise JsonError(f"invalid character {_quoted(text[number.end()])} after top-level value")
    raise JsonError(f"invalid character {_quoted(text[0])} {_NO_VALUE}")


def _choice(choice: Choice) -> Callable[[Any, int], int]:
    number = _number(ENUM)

    def decode(value: Any, depth: int) -> int:
        if type(value) is not str:
            return number(value, depth)
        if value not in choice.numbers:
            shown = json.dumps(json.dumps(value[:40]))
            raise JsonError(f"unknown value {shown} for enum {choice.name}")
        return choice.numbers[value]

    return decode


def _list(decode: Callable[[Any, int], Any]) -> Callable[[Any, int], list[Any]]:
    def decode_all(value: Any, depth: int) -> list[Any]:
        if type(value) is not list:
            raise _mismatch(value, "[]json.RawMessage")
        return [decode(each, depth) for each in value]

    return decode_all


def _message(kind: type[Message]) -> Callable[[Any, int], Any]:
    return lambda value, depth: from_plain(kind, value, depth + 1)


_GO_KINDS = {
    dict: "object", list: "array", str: "string", bool: "bool", int: "number", _Unfit: "number", type(None): "null",
}  # fmt: skip


def _mismatch(value: Any, wanted: str) -> JsonError:
    return JsonError(f"json: cannot unmarshal {_GO_KINDS[type(value)]} into Go value of type {wanted}")


# -- out -----------------------------------------------------------------------------------------------------


def to_plain(message: Message) -> dict[str, Any]:
    """What json.dumps() takes."""
    plain: dict[str, Any] = {}
    for name, encode in _codec(type(message)).encoders:
        value = getattr(message, name)
        if value or (value is not None and isinstance(value, Message)):
            plain[name] = value if encode is None else encode(value)
    return plain


def _to_base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


# -- what is done for each field, worked out once a kind -----------------------------------------------------


class _Codec:
    """`decoders`: by each name of a field, (its attribute, what decodes it). `encoders`: (name, what encodes it; None: nothing
    does)."""

    def __init__(self, kind: type[Message]) -> None:
        self.decoders: dict[str, tuple[str, Callable[[Any, int], Any]]] = {}
        self.encoders: list[tuple[str, Callable[[Any], Any] | None]] = []
        hints = typing.get_type_hints(kind, include_extras=True)
        for name in kind.__dataclass_fields__:
            decode, encode = _converters(hints[name])
            self.encoders.append((name, encode))
            for spelling in {name, _camel(name)}:
                self.decoders[spelling] = (name, decode)


def _converters(hint: Any) -> tuple[Callable[[Any, int], Any], Callable[[Any], Any] | None]:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is list:
        decode, encode = _converters(arguments[0])
        return _list(decode), None if encode is None else lambda values: [encode(value) for value in values]
    if typing.get_origin(hint) is typing.Union:  # Optional
        return _converters(arguments[0])
    details = getattr(hint, "__metadata__", (None,))[0]
    if isinstance(details, Choice):
        return _choice(details), lambda number: details.names.get(number, number)
    if isinstance(details, Width):
        return _number(details), str if details.is_text else None
    if isinstance(hint, type) and issubclass(hint, Message):
        return _message(hint), to_plain
    return _PLAIN[hint]


_PLAIN: dict[Any, tuple[Callable[[Any, int], Any], Callable[[Any], Any] | None]] = {
    bytes: (_bytes, _to_base64),
    bool: (_flag, None),
    str: (_text, None),
    int: (_number(INT64), str),
}
_codecs: dict[type[Message], _Codec] = {}


def _codec(kind: type[Message]) -> _Codec:
    found = _codecs.get(kind)
    if found is None:
        found = _codecs[kind] = _Codec(kind)
    return found


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
