"""Words: lines split by shell rules, words quoted so that they stay on one line, text made visible."""

from __future__ import annotations

import random
import shlex
import shutil
import subprocess

import pytest
from raftkv.cli.outcome import UsageError
from raftkv.cli.printable import is_printable, lines, one_line, pad, width
from raftkv.cli.words import ANSI, Splitter, Word, last_word, quote, quote_body, split_line

from tests.unit.test_cli_commands import AWKWARD


@pytest.mark.parametrize(
    "line, what",
    [
        ("put k 'x", "closing quotation"),
        ('put k "x', "closing quotation"),
        ("put k $'x", "closing quotation"),
        ("put k x\\", "escaped character"),
    ],
)
def test_an_unfinished_line_is_bad_usage(line, what):
    with pytest.raises(UsageError, match=f"no {what}"):
        split_line(line)


def test_words_are_those_of_shlex():
    chance = random.Random(1)
    unfinished = 0
    for _ in range(20_000):
        line = "".join(chance.choices("ab'\"\\ \t\n\u00a0\u00e9$", k=chance.randrange(12)))
        if "$'" in line or "\\\n" in line:  # where shlex does not do as shells do
            continue
        try:
            expected = shlex.split(line)
        except ValueError:
            unfinished += 1
            with pytest.raises(UsageError):
                split_line(line)
        else:
            assert split_line(line) == expected, f"of {line!r}"
    assert 1000 < unfinished < 19_000


@pytest.mark.parametrize("quotation", ["", "'", '"', ANSI])
def test_a_long_value_is_no_problem(quotation):
    value = "x" * 5_000_000
    assert split_line(f"put k {quotation}{value}{quotation[-1:]}") == ["put", "k", value]


def test_a_command_goes_on_while_a_quotation_is_open():
    splitter = Splitter()
    opened = []
    for line in ("put 'a\n", "b' \\\n", 'x"y\\\n', "z\n", "\" $'1\n"):
        assert splitter.feed(line) is None
        opened.append(splitter.open)
    assert opened == ["'", "\\", '"', '"', ANSI]
    assert splitter.feed("2\\n'\n") == ["put", "a\nb", "xyz\n", "1\n2\n"]
    assert splitter.feed("get a\n") == ["get", "a"], "the next command is another one"


def test_a_command_without_an_end_is_given_up(monkeypatch):
    monkeypatch.setattr("raftkv.cli.words.MAX_CHARS", 100)
    splitter = Splitter()
    with pytest.raises(UsageError, match="is a closing quote missing"):
        for line in ["put 'a\n"] + ["a\n"] * 100:
            splitter.feed(line)
    assert splitter.feed("get a\n") == ["get", "a"]


@pytest.mark.parametrize(
    "text, word",
    [
        (r"$'\n\t\r\a\b\e\E\f\v\\\'\"\?'", "\n\t\r\a\b\x1b\x1b\f\v\\'\"?"),
        (r"$'\0\x00\101\x41\u41\u20ac\U1f600\cA'", "\0\0AAA€\U0001f600\x01"),
        (r"$'\xc3\xa4\303\244'", "ää"),
        (r"$'\q'x'y'", "\\qxy"),
        (r"a$'b'$", "ab$"),
    ],
)
def test_escapes_of_the_shell_are_understood(text, word):
    assert split_line(text) == [word]


def test_an_escape_of_no_character_is_refused():
    with pytest.raises(UsageError, match="stands for no character"):
        split_line(r"$'\U110000'")


def test_a_quoted_value_is_one_visible_word_for_us_and_for_bash():
    words = [word.replace("\0", "") for word in AWKWARD]
    chance = random.Random(2)
    words += [
        "".join(chance.choices("a1'\"\\ \n\x01\x85é\u202e$#-!`*", k=chance.randrange(9))) for _ in range(2000)
    ]
    quoted = [quote(word) for word in words]
    assert all(map(is_printable, quoted))
    assert [split_line(text) for text in quoted] == [[word] for word in words]
    if shutil.which("bash"):
        script = "\n".join(f"printf '%s\\0' {text}" for text in quoted)
        output = subprocess.run(
            ["bash"], input=script.encode(), capture_output=True, env={"LC_ALL": "C.UTF-8"}
        )
        assert output.stdout.decode().split("\0")[:-1] == words


@pytest.mark.parametrize("quotation", ["'", '"', ANSI, "\\"])
def test_each_quotation_holds_what_it_can(quotation):
    begin, end = ("", "") if quotation == "\\" else (quotation, quotation[-1])
    held = 0
    for word in AWKWARD:
        try:
            body = quote_body(word, quotation)
        except ValueError:
            continue
        held += 1
        assert split_line(f"{begin}{body}{end} .") == [*([word] if begin or word else []), "."]
    assert held == len(AWKWARD) if quotation == ANSI else 25 < held < len(AWKWARD)


@pytest.mark.parametrize(
    "line, word",
    [
        ("get a", Word(4, "a", "")),
        ("get ", Word(4, "", "")),
        ("get 'a k", Word(4, "a k", "'")),
        ('get "a k', Word(4, "a k", '"')),
        ("get a\\ k", Word(4, "a k", "\\")),
        ("get $'a\\nk", Word(4, "a\nk", ANSI)),
        ("get 'a'b", Word(4, "ab", "")),
    ],
)
def test_the_word_that_is_being_typed(line, word):
    assert last_word(line) == word


# -- what a terminal is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, shown",
    [
        ("é 日本 \u3000 e\u0301 ❤\ufe0f", None),
        ("\x1b]0;title\a", r"\e]0;title\a"),
        ("\x9b2J \x85", r"\u009b2J \u0085"),
        ("a\u202eb\u2066\u200b\u200d\ufeff\u00ad", r"a\u202eb\u2066\u200b\u200d\ufeff\u00ad"),
        ("\u2028\u3164\U000e0041\U000e0101\x7f\0", r"\u2028\u3164\U000e0041\U000e0101\x7f\x00"),
        ("\udcff\ud800", r"\xff\ud800"),
        ("\r", r"\r"),
    ],
)
def test_only_what_is_plainly_visible_is_shown(text, shown):
    assert one_line(text) == lines(text) == (text if shown is None else shown)


def test_newlines_and_tabs_of_a_text_stay_but_not_on_one_line():
    assert lines("a\n\tb") == "a\n\tb"
    assert one_line("a\n\tb") == r"a\n\tb"


def test_the_width_of_a_text_is_in_columns():
    assert [width(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]
    assert pad("日", 4) == "日  "
