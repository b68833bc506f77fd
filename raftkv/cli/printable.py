r"""What a terminal may be shown: characters that are plainly visible. Everything else is written as an escape.

A value can hold sequences that set the title, clear the screen, hide what follows or turn it round. Escaped
are control characters (C0, DEL, C1), formatting characters (bidirectional marks, zero-width ones, tags), line
and paragraph separators, half surrogate pairs, and those that Unicode has no meaning for.
"""

from __future__ import annotations

import unicodedata

_SHORT = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r", 27: r"\e"}

#: Letters and marks that are not seen, although their category says otherwise: fillers, joiners, selectors.
_UNSEEN = frozenset(
    [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE0F), *range(0xE0100, 0xE01F0)]
)


def _is_seen(code: int) -> bool:
    return code not in _UNSEEN and (chr(code).isprintable() or unicodedata.category(chr(code)) == "Zs")


def _escape(code: int) -> str:
    if code in _SHORT:
        return _SHORT[code]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Escapes(dict[int, str]):
    """A table for str.translate(), filled as it is used; `kept` are characters that need no escape here."""

    def __init__(self, kept: str = "") -> None:
        super().__init__({ord(character): character for character in kept})

    def __missing__(self, code: int) -> str:
        self[code] = result = chr(code) if _is_seen(code) else _escape(code)
        return result


_ON_ONE_LINE = _Escapes()
_ON_LINES = _Escapes(kept="\n\t")

#: For str.translate(): the inside of a shell's $'...'.
IN_ANSI_QUOTES = _Escapes()
IN_ANSI_QUOTES.update({ord("\\"): r"\\", ord("'"): r"\'"})


def one_line(text: str) -> str:
    """`text` with all that is not plainly visible escaped, also newlines and tabs."""
    return text.translate(_ON_ONE_LINE)


def lines(text: str) -> str:
    """`text` with all that is not plainly visible escaped, but for newlines and tabs."""
    return text.translate(_ON_LINES)


def is_printable(text: str) -> bool:
    """Whether one_line() would change nothing."""
    return text.isascii() and text.isprintable() or one_line(text) == text


def width(text: str) -> int:
    """The columns that a printable `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int) -> str:
    """`text` with spaces behind it, up to `columns` on a terminal."""
    return text + " " * (columns - width(text))
