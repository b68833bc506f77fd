"""kvclient's arguments, its one-shot and piped forms and their exit statuses. The cluster is a dict here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile

import pytest
from raftkv import errors
from raftkv.cli import client

from tests.unit.test_cli_commands import AWKWARD, FakeClerk

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Client:
    """main(), with a FakeClerk in Clerk's place. `opened`: the (path, timeout) of each Clerk made."""

    def __init__(self, monkeypatch, capsys):
        self.clerk = FakeClerk({"a": "one"})
        self.opened = []
        self.closed = 0
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setattr(client, "Clerk", self)

    def from_config(self, path, timeout=None):
        self.opened.append((path, timeout))
        return self

    def __enter__(self):
        return self.clerk

    def __exit__(self, *_):
        self.closed += 1

    def __call__(self, *words, lines=""):
        """(exit status, standard output, standard error) of `kvclient WORDS`."""
        with tempfile.TemporaryFile("w+") as file:
            file.buffer.write(lines if isinstance(lines, bytes) else lines.encode())
            file.seek(0)
            self._monkeypatch.setattr(sys, "stdin", file)
            status = client.main(list(words))
        assert self.closed == len(self.opened), "a Clerk was left open"
        return (status, *self._capsys.readouterr())


@pytest.fixture
def kvclient(monkeypatch, capsys):
    return Client(monkeypatch, capsys)


@pytest.mark.parametrize(
    "words, result",
    [
        (["get", "a"], (0, "one\n", "")),
        (["get", "none"], (1, "(nil)\n", "")),
        (["put", "b", "two words"], (0, "OK\n", "")),
        (["get", "a", "none"], (1, "one\n(nil)\n", "")),
        (["put", "b", "-1"], (0, "OK\n", "")),
        (["put", "--", "--timeout", "5"], (0, "OK\n", "")),
        (["--", "put", "b", "x"], (0, "OK\n", "")),
        (["cas", "a", "two", "three"], (1, "(the key does not hold that value)\n", "")),
        (["delete", "none"], (1, "(nil)\n", "")),
        (["scan", "none"], (0, "", "")),
        (["put", "b"], (2, "", "kvclient: put: VALUE is missing; usage: put KEY VALUE [--lease ID]\n")),
        (["take", "b"], (2, "", "kvclient: unknown command 'take'; `help` lists the commands\n")),
        (["--config"], (2, "", "kvclient: --config needs a value\n")),
    ],
)
def test_one_command(kvclient, words, result):
    assert kvclient(*words) == result


@pytest.mark.parametrize("words", [["--json", "get", "a"], ["get", "a", "--json"]])
def test_one_command_as_json(kvclient, words):
    status, out, err = kvclient(*words)
    assert (status, json.loads(out), err) == (0, {"key": "a", "value": "one", "revision": 1}, "")


@pytest.mark.parametrize(
    "failure, status",
    [
        (errors.InvalidRequestError("the key is empty"), 2),
        (errors.NotApplied("no leader answered in time"), 3),
        (errors.OutcomeUnknown("no answer in time"), 3),
        (errors.AuthenticationError("wrong key"), 4),
    ],
)
def test_a_failed_command(kvclient, failure, status):
    kvclient.clerk.failure = failure
    assert kvclient("put", "a", "b") == (status, "", f"kvclient: {failure}\n")
    out, err = kvclient("--json", "put", "a", "b")[1:]
    assert (out, json.loads(err)) == ("", {"error": str(failure), "status": status})


@pytest.mark.parametrize(
    "words, as_json",
    [
        (["put", "--", "--json"], False),
        (["--", "--json"], False),
        (["--bad", "--", "--json"], False),
        (["--", "put", "--json"], True),
        (["--json", "put", "--", "k"], True),
        (["--bad", "get", "--json"], True),
    ],
)
def test_a_word_behind_the_end_of_options_asks_for_no_json(words, as_json, kvclient):
    status, out, err = kvclient(*words)
    assert (status, out, err.startswith("{")) == (2, "", as_json)


def test_ctrl_c(kvclient):
    kvclient.clerk.failure = KeyboardInterrupt()
    status, out, err = kvclient("put", "a", "b")
    assert (status, out) == (130, "")
    assert err == "kvclient: interrupted: the put may or may not take effect; read before you repeat it\n"
    assert kvclient(lines="get a\nput a b\n")[0] == 130


def test_options(kvclient, tmp_path, monkeypatch):
    kvclient("--config", "some.ini", "--timeout", "2.5", "get", "a")
    monkeypatch.chdir(tmp_path)
    kvclient("get", "a")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "client.ini").write_text("")
    kvclient("get", "a")
    kvclient("--config", "", "get", "a")  # of a script's variable that is not set: not another cluster
    here = os.path.join("conf", "client.ini")
    assert kvclient.opened == [("some.ini", 2.5), (os.path.join(ROOT, here), None), (here, None), ("", None)]


def test_no_configuration_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "__file__", str(tmp_path / "raftkv" / "cli" / "client.py"))
    assert client.main(["get", "a"]) == 2
    assert "name the cluster's client.ini with --config FILE" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "nan", "1e9"])
def test_a_bad_timeout(kvclient, timeout):
    status, out, err = kvclient("--timeout", timeout, "get", "a")
    assert (status, out) == (2, "")
    assert "must be a number of seconds above 0, at most 86400" in err
    assert json.loads(kvclient("--json", "--timeout", timeout, "get", "a")[2])["status"] == 2


def test_a_bad_configuration(tmp_path, capsys):
    assert client.main(["--config", str(tmp_path / "none.ini"), "get", "a"]) == 2
    (tmp_path / "client.ini").write_text("[servers]\n1 = 127.0.0.1:1\n[auth]\nclient_key_file = none.key\n")
    assert client.main(["--config", str(tmp_path / "client.ini"), "get", "a"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert (
        lines[0]
        == f"kvclient: {tmp_path}/none.ini: cannot read the configuration file: No such file or directory"
    )
    assert lines[1].startswith(f"kvclient: {tmp_path}/none.key: no such key file. Copy it from a server")


@pytest.mark.parametrize(
    "words", [["help"], ["--help"], ["-h"], ["--json", "--help"], ["help", "get"], ["get", "-h"]]
)
def test_help_needs_no_cluster(kvclient, words):
    status, out, err = kvclient(*words)
    assert (status, err, kvclient.opened) == (0, "", [])
    assert "get KEY..." in out
    assert ("exit status: 0 done" in out) == (words[-1] in ("--help", "-h") and words[0] != "get")
    assert "get KEY..." in kvclient(lines=" ".join(words[-2:]).replace("--json ", ""))[1], "so in all forms"


def test_a_mistake_needs_no_cluster(kvclient):
    assert [kvclient(*words)[0] for words in (["help", "me"], ["gett", "a"], ["get"])] == [2, 2, 2]
    assert kvclient.opened == []


# -- commands from standard input ----------------------------------------------------------------------------


def test_lines(kvclient):
    lines = "put k 'two words'\r\n\n# a comment\n   \nget k\nget k --json"
    out = 'OK\ntwo words\n{"key": "k", "value": "two words", "revision": 2}\n'
    assert kvclient(lines=lines) == (0, out, "")
    assert kvclient("--json", lines="get a\n") == (0, '{"key": "a", "value": "one", "revision": 1}\n', "")
    assert kvclient(lines="-- get a\n--\n") == (0, "one\n", "")
    assert kvclient(lines="-- --json")[2].startswith("kvclient: line 1: unknown command '--json'")
    assert kvclient(lines="") == (0, "", "")


def test_lines_go_on_after_a_no_and_a_mistake(kvclient):
    status, out, err = kvclient(lines="get none\ngett a\nget\nget a\n")
    assert (status, out) == (2, "(nil)\none\n")
    assert [line.split(":")[1] for line in err.splitlines()] == [" line 2", " line 3"]
    errors_ = [json.loads(line) for line in kvclient("--json", lines="get\n\nget\n")[2].splitlines()]
    assert [error["line"] for error in errors_] == [1, 3]
    assert kvclient(lines="get none\nget a\n") == (1, "(nil)\none\n", "")


@pytest.mark.parametrize(
    "failure, status", [(errors.OutcomeUnknown("late"), 3), (errors.AuthenticationError("no"), 4)]
)
def test_lines_end_where_the_outcome_is_unknown(kvclient, failure, status):
    kvclient.clerk.failure = failure
    assert kvclient(lines="delete none\nput a b\ndelete a\n") == (
        status,
        "(nil)\n",
        f"kvclient: line 2: {failure}; the line after it was not run\n",
    )
    assert "a" in kvclient.clerk.data


@pytest.mark.parametrize("line", ["put x -", "load -"])
def test_lines_that_may_be_meant_as_data_are_not_run(kvclient, line):
    status, out, err = kvclient(lines=f"get a\n{line}\nput y HACK\nget a\n")
    assert (status, out) == (2, "one\n") and "y" not in kvclient.clerk.data
    assert err == (
        "kvclient: line 2: standard input is where the commands come from: name a file; "
        "the 2 lines after it were not run\n"
    )


@pytest.mark.parametrize("word", ["exit", "quit"])
def test_lines_end_at_exit(kvclient, word):
    assert kvclient(lines=f"get a\n{word}\nget a\n") == (0, "one\n", "")


def test_a_quotation_goes_on_over_lines(kvclient):
    assert kvclient(lines="put k 'a\n# b\n' \nget k\nput k \\\n two\nget k\n")[1] == "OK\na\n# b\n\nOK\ntwo\n"
    status, out, err = kvclient(lines="get a\nput k 'a\nget a\n")
    assert (status, out) == (2, "one\n")
    assert err.startswith("kvclient: line 2: no closing quotation: ' is open")


def test_the_output_of_scan_restores_the_same(kvclient):
    for text in filter(None, AWKWARD):
        kvclient.clerk.data.update({text: (text, 1), text + "'": ("", 1)})
    before = {key: value for key, (value, _) in kvclient.clerk.data.items()}
    scanned = kvclient("scan")[1]
    kvclient.clerk.data.clear()
    status, out, err = kvclient(lines="".join(f"put {line}\n" for line in scanned.splitlines()))
    assert (status, err, out) == (0, "", "OK\n" * len(before))
    assert {key: value for key, (value, _) in kvclient.clerk.data.items()} == before


@pytest.mark.parametrize(
    "data, result",
    [
        (b"\xef\xbb\xbfget a\n", (0, "one\n")),
        (b"\xef\xbb\xbf", (0, "")),
        ("get a\n".encode("utf-16"), (2, "")),
        (b"get \xff\nget a\n", (1, "(nil)\none\n")),
    ],
)
def test_input_in_another_encoding(kvclient, data, result):
    assert kvclient(lines=data)[:2] == result


PROGRAM = """
import sys, time
sys.path.insert(0, {root!r})
from raftkv.cli import client
from tests.unit.test_cli_commands import FakeClerk
from raftkv.client.answers import KeyValue

class Clerk(FakeClerk):
    @classmethod
    def from_config(cls, path, timeout=None):
        return cls({{"a": "one"}})
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def dump(self):
        return Endless()

class Endless:
    keys, revision, leases = 1, 7, []
    def __iter__(self):
        yield [KeyValue("a", "one", 1, 1, 1, 0)]
        print("begun", flush=True)
        time.sleep(60)

client.Clerk = Clerk
sys.exit(client.main())
"""


def piped(*words, **options):
    program = [sys.executable, "-c", PROGRAM.format(root=ROOT), *words]
    return subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def test_each_answer_leaves_at_once():
    """A program at both ends of the pipes must get an answer before it sends the next command."""
    with piped() as process:
        for line, answer in ((b"put b 1\n", b"OK\n"), (b"get b\n", b"1\n"), (b"got\n", b"")):
            process.stdin.write(line)
            process.stdin.flush()
            if answer:
                assert process.stdout.readline() == answer
        process.stdin.close()
        assert process.wait() == 2


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a system without SIGHUP")
@pytest.mark.parametrize("received", ["SIGTERM", "SIGHUP"])
def test_a_program_that_is_terminated_says_so_and_leaves_no_half_of_a_file(received, tmp_path):
    with piped("dump", str(tmp_path / "x")) as process:
        assert process.stdout.readline() == b"begun\n"
        assert len(os.listdir(tmp_path)) == 1
        process.send_signal(signal.Signals[received])
        assert process.wait() == 128 + signal.Signals[received]
        assert process.stderr.read() == b"kvclient: interrupted\n"
    assert os.listdir(tmp_path) == []


PUTS = b"".join(b"put k%d x\n" % number for number in range(100))


def test_a_reader_that_has_had_enough_is_told_what_was_not_done():
    with piped() as process:
        process.stdin.write(b"put k x\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"OK\n"
        process.stdout.close()
        process.stdin.write(PUTS)
        process.stdin.close()
        assert process.wait() == 5
        assert process.stderr.read() == (
            b"kvclient: line 2 was carried out, but its result could not be written (Broken pipe); "
            b"the 99 lines after it were not run\n"
        )


def shell(redirection, *words, lines=b""):
    program = [sys.executable, "-c", PROGRAM.format(root=ROOT), *words]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *program], input=lines, capture_output=True
    )


@pytest.mark.parametrize(
    "redirection, words, what",
    [
        (
            ">/dev/full",
            ["--json", "get", "a"],
            "get was carried out, but its result could not be written (No space",
        ),
        (
            ">&-",
            ["--json", "put", "a", "b"],
            "put was carried out, but its result could not be written (it is cl",
        ),
        (
            ">/dev/full",
            ["--json", "--help"],
            "the help was carried out, but its result could not be written (No ",
        ),
        (
            ">&-",
            ["--json"],
            "line 1 was carried out, but its result could not be written (it is closed); the 99 lines",
        ),
    ],
)
def test_output_that_cannot_be_written(redirection, words, what):
    done = shell(redirection, *words, lines=PUTS)
    assert (done.returncode, done.stdout) == (5, b"")
    assert json.loads(done.stderr)["error"].startswith(what)


@pytest.mark.parametrize(
    "redirection, word, status", [("2>/dev/full", "get", 2), ("2>&-", "get", 2), ("2>&-", "scan", 0)]
)
def test_errors_that_cannot_be_written_change_no_status(redirection, word, status):
    done = shell(redirection, word)
    assert (done.returncode, done.stderr) == (status, b"")


def test_values_in_a_pipe_are_utf8_whatever_the_locale():
    with piped(env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process:
        out, err = process.communicate(b"put k \xc3\xa4\nget k\n")
    assert (process.returncode, out, err) == (0, b"OK\n\xc3\xa4\n", b"")
