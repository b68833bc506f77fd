r"""Words: how a line is split into them by shell rules, and how a word is quoted so that it stays on one line.

    put greeting 'hello, world'     put greeting "it's"     put greeting hello,\ world     put poem $'two\nlines'

What quote() returns is one word again, both for split_line() and for bash (which knows no NUL). It holds
nothing that a terminal acts on: whatever is not plainly visible is written as an escape in $'...'.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from raftkv.cli.outcome import UsageError
from raftkv.cli.printable import IN_ANSI_QUOTES, is_printable

MAX_CHARS = 64 << 20  # of one command, however many lines it has

_BLANK = re.compile(r"[ \t\r\n]+")
_PLAIN = re.compile(r"[^ \t\r\n'\"\\$]+|\$(?!')")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SINGLE = re.compile(r"[^']*")
_DOUBLE = re.compile(r'(?:[^"\\]+|\\.)*', re.DOTALL)
_ANSI = re.compile(r"(?:[^'\\]+|\\.)*", re.DOTALL)

_IN_DOUBLE = re.compile(r'\\(["\\\n])')
_IN_ANSI = re.compile(
    r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL
)
_LETTERS = {"a": 7, "b": 8, "e": 27, "E": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}

_ENDS = {"'": _SINGLE, '"': _DOUBLE, "$'": _ANSI}

ANSI = "$'"  # the quotation that can hold everything


class Word(NamedTuple):
    """A word that a line ends in the middle of. `start`: where it begins. `quote`: the quotation that is
    open, one of `'`, `"`, `$'`, or `\\` if there was an escaped character outside one; else empty."""

    start: int
    text: str
    quote: str


class Splitter:
    """Splits a command into words, line by line: quotations may go on over several lines.

    `open` is the quotation that is not closed yet: `'`, `"`, `$'` or `\\` (a line's end that is escaped).
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.open = ""
        self._words: list[str] = []
        self._pieces: list[str] | None = None  # of the word that has begun
        self._quoted: list[str] = []  # what the open quotation holds so far
        self._chars = 0
        self._start = 0  # of the word that has begun, in the last line
        self._escaped = False  # it has an escaped character

    def feed(self, line: str) -> list[str] | None:
        """Take in one line, with its newline. Returns the command's words, or None while it goes on.

        Raises UsageError for what cannot be read. After words or an error, the next line is another command.
        """
        self._chars += len(line)
        try:
            if self._chars > MAX_CHARS:
                raise UsageError(
                    f"this command has more than {MAX_CHARS} characters: is a closing quote missing?"
                )
            self._scan(line)
        except UsageError:
            self._reset()
            raise
        if self.open:
            return None
        self._end_word()
        words = self._words
        self._reset()
        return words

    def unfinished(self) -> Word:
        """The word that the line fed last ends with, if feed() returned None or would go on with it."""
        pieces = self._pieces or []
        quote = self.open or ("\\" if self._escaped else "")
        return Word(self._start, "".join(pieces) + self._unquoted(self.open), quote)

    def complain(self) -> UsageError:
        """What to say when no more lines come while a quotation is open."""
        if self.open == "\\":
            return UsageError("no escaped character: the last line ends with a backslash")
        return UsageError(
            f"no closing quotation: {self.open} is open; quote by shell rules, like 'two words'"
        )

    def _scan(self, line: str) -> None:
        at = 0
        if self.open == "\\":
            self.open = ""
        elif self.open:
            at = self._scan_quoted(line, 0)
        while at < len(line):
            blank = _BLANK.match(line, at)
            if blank is not None:
                self._end_word()
                at = blank.end()
                continue
            if self._pieces is None:
                self._pieces, self._start, self._escaped = [], at, False
            at = self._scan_piece(line, at)

    def _scan_piece(self, line: str, at: int) -> int:
        """One piece of a word: plain characters, a quotation, or an escaped character. Returns its end."""
        assert self._pieces is not None
        plain = _PLAIN.match(line, at)
        if plain is not None:
            self._pieces.append(plain[0])
            return plain.end()
        if line[at] != "\\":
            self.open = line[at : at + 2] if line[at] == "$" else line[at]
            return self._scan_quoted(line, at + len(self.open))
        escaped = _ESCAPED.match(line, at)
        if escaped is None or escaped[1] == "\n":  # the line goes on with the next one
            if not self._pieces:
                self._pieces = None
            if escaped is None or escaped.end() == len(line):
                self.open = "\\"
                return len(line)
            return escaped.end()
        self._escaped = True
        self._pieces.append(escaped[1])
        return escaped.end()

    def _scan_quoted(self, line: str, at: int) -> int:
        """What the open quotation holds of this line, from `at` on. Returns where it ends."""
        body = _ENDS[self.open].match(line, at)
        assert body is not None, "each of them matches nothing at all, too"
        self._quoted.append(body[0])
        if body.end() == len(line):
            return len(line)
        if line[body.end()] == "\\":  # the very last character
            self._quoted.append("\\")
            return len(line)
        assert self._pieces is not None
        self._pieces.append(self._unquoted(self.open))
        self._quoted, self.open = [], ""
        return body.end() + 1

    def _unquoted(self, quote: str) -> str:
        text = "".join(self._quoted)
        if quote == '"':
            return _IN_DOUBLE.sub(lambda found: "" if found[1] == "\n" else found[1], text)
        return _decode_ansi(text) if quote == "$'" else text

    def _end_word(self) -> None:
        if self._pieces is not None:
            self._words.append("".join(self._pieces))
            self._pieces = None


def split_line(line: str) -> list[str]:
    """The words of a whole command by shell rules. Raises UsageError, also for an open quotation.

    Not shlex.split(), which needs a time quadratic in the longest word: minutes for a megabyte.
    """
    splitter = Splitter()
    words = splitter.feed(line)
    if words is None:
        raise splitter.complain()
    return words


def last_word(line: str) -> Word:
    """The word that `line` ends in the middle of; an empty one at its end if that is blank.

    Raises UsageError for what cannot be read.
    """
    splitter = Splitter()
    splitter._scan(line)
    if splitter._pieces is None and not splitter.open:
        return Word(len(line), "", "")
    return splitter.unfinished()


def quote(word: str) -> str:
    r"""`word` so that it is one word again, on one line: word, 'two words', $'two\nlines'."""
    return shlex.quote(word) if is_printable(word) else f"$'{quote_body(word, ANSI)}'"


def quote_body(text: str, quotation: str) -> str:
    """`text` as it stands inside a quotation of that kind; `\\`: outside any, each special one escaped.

    Raises ValueError if it cannot: only $'...' can hold everything.
    """
    if quotation == ANSI:
        return text.translate(IN_ANSI_QUOTES)
    if not is_printable(text) or (quotation == "'" and "'" in text):
        raise ValueError(f"{text!r} cannot be quoted by {quotation}")
    if quotation == '"':
        return re.sub(r'(["\\])', r"\\\1", text)
    if quotation == "\\":
        return re.sub(r"([^A-Za-z0-9_@%+=:,./-])", r"\\\1", text)
    return text


def _decode_ansi(text: str) -> str:
    """What stands inside $'...', without its escapes. Raises UsageError."""
    if "\\" not in text:
        return text
    try:
        decoded = _IN_ANSI.sub(_decode_escape, text)
        # Bytes that were escaped one by one are characters together.
        return decoded.encode(errors="surrogateescape").decode(errors="surrogateescape")
    except (OverflowError, ValueError):
        raise UsageError(f"$'{text[:40]}' has an escape that stands for no character") from None


def _decode_escape(found: re.Match[str]) -> str:
    as_hex = found[1] or found[2] or found[3]
    if as_hex or found[4]:
        code = int(as_hex, 16) if as_hex else int(found[4], 8) & 0xFF
        is_byte = found[1] or found[4]
        return chr(0xDC00 + code) if is_byte and code >= 0x80 else chr(code)
    if found[5]:
        return chr(ord(found[5]) & 0x1F)
    letter = found[6]
    if letter in _LETTERS:
        return chr(_LETTERS[letter])
    return letter if letter in "\\'\"?" else "\\" + letter
