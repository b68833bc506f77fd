"""kvclient's arguments, its one-shot and piped forms and their exit statuses. The cluster is a dict here."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from raftkv import errors
from raftkv.cli import client

from tests.unit.test_cli_commands import DEAD, LEADER, FakeClerk

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
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
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
        (["put", "b", "--json"], (0, "OK\n", "")),
        (["put", "b", "-1"], (0, "OK\n", "")),
        (["put", "--timeout", "5"], (0, "OK\n", "")),
        (["cas", "a", "two", "three"], (1, "(the key does not hold that value)\n", "")),
        (["delete", "none"], (1, "(nil)\n", "")),
        (["put", "b"], (2, "", "kvclient: usage: put KEY VALUE\n")),
        (["take", "b"], (2, "", "kvclient: unknown command 'take'; `help` lists the commands\n")),
    ],
)
def test_one_command(kvclient, words, result):
    assert kvclient(*words) == result


@pytest.mark.parametrize("words", [["--json", "get", "a"], ["get", "a", "--json"]])
def test_one_command_as_json(kvclient, words):
    status, out, err = kvclient(*words)
    assert (status, json.loads(out), err) == (0, {"key": "a", "value": "one", "revision": 1}, "")


def test_status(kvclient):
    kvclient.clerk.servers = [LEADER, DEAD]
    assert kvclient("status")[1].startswith("server  address ")
    status, out, _ = kvclient("status", "--json")
    assert status == 0
    assert json.loads(out)["servers"][0] == LEADER


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
    assert kvclient("--json", "put", "a", "b") == (status, "", f"kvclient: {failure}\n")


def test_ctrl_c(kvclient):
    kvclient.clerk.failure = KeyboardInterrupt()
    assert kvclient("put", "a", "b")[:2] == (130, "")


def test_options(kvclient, tmp_path, monkeypatch):
    kvclient("--config", "some.ini", "--timeout", "2.5", "get", "a")
    monkeypatch.chdir(tmp_path)
    kvclient("get", "a")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "client.ini").write_text("")
    kvclient("get", "a")
    here = os.path.join("conf", "client.ini")
    assert kvclient.opened == [("some.ini", 2.5), (os.path.join(ROOT, here), None), (here, None)]


def test_no_configuration_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "__file__", str(tmp_path / "raftkv" / "cli" / "client.py"))
    assert client.main(["get", "a"]) == 2
    assert "name the cluster's client.ini with --config FILE" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "nan", "1e9"])
def test_a_bad_timeout(kvclient, timeout, capsys):
    with pytest.raises(SystemExit) as caught:
        kvclient("--timeout", timeout, "get", "a")
    assert caught.value.code == 2
    assert "must be a number of seconds above 0, at most 86400" in capsys.readouterr().err


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


def test_help_needs_no_cluster(kvclient, capsys):
    assert "append KEY VALUE" in kvclient("help")[1]
    assert kvclient("help", "get") == (0, "get KEY\n    the key's value, or (nil)\n", "")
    assert kvclient("help", "me")[0] == 2
    with pytest.raises(SystemExit) as caught:
        kvclient("--help")
    assert caught.value.code == 0
    assert "3 cluster unavailable or timed out" in capsys.readouterr().out
    assert kvclient.opened == []


# -- commands from standard input ----------------------------------------------------------------------------


def test_lines(kvclient):
    lines = "put k 'two words'\r\n\n# a comment\n   \nget k\nget k --json"
    out = 'OK\ntwo words\n{"key": "k", "value": "two words", "revision": 2}\n'
    assert kvclient(lines=lines) == (0, out, "")
    assert kvclient("--json", lines="get a\n") == (0, '{"key": "a", "value": "one", "revision": 1}\n', "")
    assert kvclient(lines="") == (0, "", "")


def test_lines_go_on_after_a_no_and_a_mistake(kvclient):
    status, out, err = kvclient(lines="get none\nput 'a\nget\nget a\n")
    assert (status, out) == (2, "(nil)\none\n")
    assert [line.split(":")[1] for line in err.splitlines()] == [" line 2", " line 3"]
    assert kvclient(lines="get none\nget a\n") == (1, "(nil)\none\n", "")


@pytest.mark.parametrize(
    "failure, status", [(errors.OutcomeUnknown("late"), 3), (errors.AuthenticationError("no"), 4)]
)
def test_lines_end_where_the_outcome_is_unknown(kvclient, failure, status):
    kvclient.clerk.failure = failure
    assert kvclient(lines="delete none\nput a b\ndelete a\n") == (
        status,
        "(nil)\n",
        f"kvclient: line 2: {failure}\n",
    )
    assert "a" in kvclient.clerk.data


@pytest.mark.parametrize("word", ["exit", "quit"])
def test_lines_end_at_exit(kvclient, word):
    assert kvclient(lines=f"get a\n{word}\nget a\n") == (0, "one\n", "")


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from raftkv.cli import client
from tests.unit.test_cli_commands import FakeClerk

class Clerk(FakeClerk):
    @classmethod
    def from_config(cls, path, timeout=None):
        return cls({{"a": "one"}})
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass

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


def test_a_reader_that_has_had_enough():
    with piped() as process:
        process.stdout.close()
        process.stdin.write(b"get a\n" * 10)
        process.stdin.close()
        assert (process.wait(), process.stderr.read()) == (0, b"")


def test_what_cannot_be_read_or_shown_as_text_does_not_end_the_program():
    with piped(env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process:
        out, err = process.communicate(b"put k \xc3\xa4\nget k\n")
    assert (process.returncode, out, err) == (0, b"OK\n\\udcc3\\udca4\n", b"")
