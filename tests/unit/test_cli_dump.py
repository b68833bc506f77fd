"""`dump` and `load`: what one writes the other reads, and nothing is loaded of what is not whole."""

from __future__ import annotations

import io
import json
import os
import stat
import sys

import pytest
from raftkv import errors
from raftkv.cli import load
from raftkv.cli.call import execute
from raftkv.cli.commands import COMMANDS
from raftkv.cli.console import Console
from raftkv.cli.load import BATCH_KEYS
from raftkv.cli.outcome import BAD_INPUT, DONE, INTERRUPTED, NOT_WRITTEN, UNAVAILABLE
from raftkv.client.answers import KeyValue

from tests.unit.test_cli_commands import AWKWARD, FakeClerk, Input

END = b'{"end": true, "keys": 1}\n'
ROW = b'{"key": "k", "value": "v"}\n'
HEADER = b'{"raftkv_dump": 2, "keys": 1, "revision": 17, "leases": 1}\n'
FULL = b'{"key": "k", "value": "v", "create_revision": 5, "mod_revision": 9, "version": 2}\n'


class Dump:
    revision, leases = 5000, [(7, 60)]

    def __init__(self, rows):
        self.rows = [KeyValue(key, value, 2, revision + 1, 3, 7) for key, value, revision in rows]
        self.keys = len(rows)

    def __iter__(self):
        return (self.rows[at : at + 10] for at in range(0, self.keys, 10))


class Clerk(FakeClerk):
    """`batches`: the sizes of the pipelines. After `good` of them, `failure` is raised."""

    def __init__(self, data=None, good=1 << 30, failure=None):
        super().__init__(data)
        self.batches, self._good, self._failure, self._puts = [], good, failure, []
        self.restored, self.leases = [], []

    def dump(self):
        return Dump(self.scan())

    def pipeline(self):
        self._puts = []
        return self

    def put(self, key, value):
        self._puts.append((key.decode(), value.decode()))

    def restore(self, revision, leases, kvs, *, at):
        assert (revision, at) == (5000, 99 if self.batches else 0)
        self._puts = [(kv.key.decode(), kv.value.decode()) for kv in kvs]
        self.execute()
        self.restored += kvs
        self.leases += leases
        return 99

    def execute(self):
        if len(self.batches) == self._good:
            raise self._failure
        self.batches.append(len(self._puts))
        for key, value in self._puts:
            self._write(key, value)


def run(clerk, *words, as_json=False):
    return execute(COMMANDS, clerk, words, as_json, Console(input_is_free=True))


def values(clerk):
    return {key: value for key, (value, _) in clerk.data.items()}


def test_a_dump_can_be_loaded(tmp_path, capfdbinary, monkeypatch):
    path = str(tmp_path / "x.dump")
    data = {
        **{text: text for text in AWKWARD if text},
        **{f"n{n}": "x" for n in range(2 * BATCH_KEYS)},
        "none": "",
    }
    assert run(Clerk(data), "dump", path)[:3] == (
        DONE,
        f"{len(data)} keys",
        {"keys": len(data), "revision": 5000},
    )
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(tmp_path) == ["x.dump"]
    assert run(Clerk(data), "dump")[:2] == run(Clerk(data), "dump", "-")[:2] == (DONE, None)
    with open(path, "rb") as file:
        written = file.read()
    assert capfdbinary.readouterr().out == written * 2
    assert len(written.splitlines()) == len(data) + 3
    for source in (path, "-"):
        monkeypatch.setattr(sys, "stdin", Input(b"\xef\xbb\xbf" + written))
        clerk = Clerk()
        assert run(clerk, "load", source)[:2] == (DONE, f"{len(data)} keys")
        assert values(clerk) == data
        assert len(clerk.batches) > 2 and max(clerk.batches) == BATCH_KEYS
        assert clerk.leases == [(7, 60)]
        assert {(row.create_revision, row.version, row.lease) for row in clerk.restored} == {(2, 3, 7)}


def test_a_database_that_is_not_empty_needs_merge(tmp_path):
    path = str(tmp_path / "x.dump")
    run(Clerk({"a": "1", "b": "2"}), "dump", path)
    clerk = Clerk({"b": "old", "c": "3"})
    outcome = run(clerk, "load", path)
    assert (outcome.status, outcome.error[:30]) == (BAD_INPUT, "the database is not empty: --m")
    assert clerk.batches == []
    assert run(clerk, "load", "--merge", path).status == DONE
    assert values(clerk) == {"a": "1", "b": "2", "c": "3"}
    assert clerk.restored == [], "as new keys"


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", 'line 1 of the dump: the file ends without its end line {"end": true, "keys": 0}'),
        (ROW, "line 2 of the dump: the file ends without its end line"),
        (ROW + ROW[:-9], "line 2 of the dump: it is an incomplete JSON object"),
        (
            ROW + b'{"end": true, "keys": 2}\n',
            "line 2 of the dump: the end line says that there are 2 keys, but there are 1",
        ),
        (ROW + END + ROW, "line 3 of the dump: something follows the end line"),
        (
            b'{"raftkv_dump": 1}\n' + ROW + END,
            "line 1 of the dump: this version of raftkv reads dumps of format 2",
        ),
        (
            b'{"raftkv_dump": 2, "revision": 0}\n' + END,
            "line 1 of the dump: the revision and the number of leases",
        ),
        (HEADER + HEADER + END, "line 2 of the dump: a dump has one first line"),
        (HEADER + ROW + END, "line 2 of the dump: the mod_revision must be a whole number from 2 to 17"),
        (HEADER + FULL.replace(b"9", b"18") + END, "line 2 of the dump: the mod_revision must be"),
        (HEADER + FULL.replace(b"5", b"10") + END, "line 2 of the dump: the create_revision must be"),
        (HEADER + FULL.replace(b"2}", b"0}") + END, "line 2 of the dump: the version must be"),
        (
            HEADER + FULL + END,
            "line 3 of the dump: the first line says that there are 1 leases, but there are 0",
        ),
        (HEADER + b'{"lease": 0, "ttl": 1}\n', "line 2 of the dump: the id of a lease must be"),
        (HEADER + b'{"lease": 7}\n', "line 2 of the dump: a lease has an id and a ttl"),
        (b"put a b\n" + END, "line 1 of the dump: it is no JSON object"),
        (b"[1]\n", "line 1 of the dump: it is no JSON object"),
        (b"[" * 100_000, "line 1 of the dump: it is no JSON object"),
        (b"\xff\xfe{\0", "line 1 of the dump: it is not UTF-8"),
        (b'{"key": "k"}\n' + END, "line 1 of the dump: the value must be text (str) or bytes, not NoneType"),
        (b'{"key": "", "value": "v"}\n' + END, "line 1 of the dump: the key is empty"),
        (b'{"key": "k", "value": 1}\n' + END, "line 1 of the dump: the value must be text"),
        (b'{"key": "\\ud800", "value": ""}\n' + END, "line 1 of the dump: the key is not valid Unicode"),
        (
            b'{"key": "k", "value": "v", "lease": 1}\n' + END,
            "line 1 of the dump: 'lease' is nothing that a key",
        ),
    ],
)
def test_a_file_that_is_not_whole_and_right_is_not_loaded(content, why, tmp_path):
    (tmp_path / "x.dump").write_bytes(content)
    clerk = Clerk()
    outcome = run(clerk, "load", str(tmp_path / "x.dump"))
    assert outcome.status == BAD_INPUT
    assert outcome.error.startswith(why)
    assert outcome.error.endswith("; nothing was loaded")
    assert clerk.batches == []


@pytest.mark.parametrize(
    "failure, status",
    [(errors.OutcomeUnknown("no answer"), UNAVAILABLE), (KeyboardInterrupt(), INTERRUPTED)],
)
def test_a_load_that_breaks_off_says_how_far_it_came(failure, status, tmp_path):
    path = str(tmp_path / "x.dump")
    run(Clerk({f"n{n}": "x" for n in range(BATCH_KEYS + 5)}), "dump", path)
    outcome = run(Clerk(good=1, failure=failure), "load", path)
    assert outcome.status == status
    assert outcome.error.startswith(
        f"{BATCH_KEYS - 1} of {BATCH_KEYS + 5} keys are loaded, the next 6 may be: "
    ), "the lease is one of the first piece"


def test_a_load_that_is_interrupted_before_it_writes_says_so(tmp_path, monkeypatch):
    def read_rows(file):
        yield load.Header(5, 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "read_rows", read_rows)
    (tmp_path / "x.dump").touch()
    outcome = run(Clerk(), "load", str(tmp_path / "x.dump"))
    assert (outcome.status, outcome.error) == (INTERRUPTED, "interrupted: nothing was loaded")


def test_a_dump_that_cannot_be_written_or_read(tmp_path):
    clerk = Clerk({"a": "1"})
    outcome = run(clerk, "dump", "/dev/full")
    assert (outcome.status, outcome.error) == (NOT_WRITTEN, "cannot write /dev/full: No space left on device")
    outcome = run(clerk, "dump", str(tmp_path / "none" / "x"))
    assert (outcome.status, outcome.error[-25:]) == (NOT_WRITTEN, "No such file or directory")
    (tmp_path / "x").write_text("as it was")
    clerk.dump = lambda: Dump([("a", "1", 1), (1 / 3, object(), 1)])
    with pytest.raises(TypeError):
        run(clerk, "dump", str(tmp_path / "x"))
    assert (tmp_path / "x").read_text() == "as it was"
    assert os.listdir(tmp_path) == ["x"]
    assert run(clerk, "load", str(tmp_path / "none")).error.endswith("No such file or directory")
    assert run(clerk, "load", str(tmp_path)).error.endswith("Is a directory")


def test_a_dump_takes_the_place_of_no_other_file_than_its_own(tmp_path):
    (tmp_path / "x.tmp").write_text("mine")
    (tmp_path / "link").symlink_to("real")
    run(Clerk({"a": "1"}), "dump", str(tmp_path / "x"))
    run(Clerk({"a": "1"}), "dump", str(tmp_path / "link"))
    assert (tmp_path / "x.tmp").read_text() == "mine"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x").read_text() == (tmp_path / "real").read_text()


@pytest.mark.skipif(sys.platform == "darwin", reason="a system whose names are text")
def test_the_name_of_a_file_need_not_be_text(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    assert run(Clerk({"a": "1"}), "dump", path).status == DONE
    clerk = Clerk()
    assert run(clerk, "load", path).status == DONE
    assert clerk.data["a"][0] == "1"
    clerk = FakeClerk()
    assert run(clerk, "put", "b", f"@{path}").status == DONE
    assert clerk.data["b"][0].startswith('{"raftkv_dump"')
    assert "is not UTF-8 text" not in run(None, "dump", "--from-folder", path).error


@pytest.mark.parametrize("line", [["dump", ""], ["load", ""], ["dump", "--from-folder", ""]])
def test_an_empty_name_is_no_file(line):
    outcome = run(Clerk(), *line)
    assert (outcome.status, "the name of a file is empty" in outcome.error) == (BAD_INPUT, True)


@pytest.mark.parametrize("folder", ["none", "."])
def test_a_folder_that_is_no_servers(folder, tmp_path):
    outcome = run(None, "dump", "--from-folder", str(tmp_path / folder))
    assert (outcome.status, outcome.error[-35:]) == (
        BAD_INPUT,
        "no server's data folder: it has no node.json"[-35:],
    )


def test_the_header_is_for_programs_too(capfdbinary):
    run(Clerk({"a": "1"}), "dump")
    lines = [json.loads(line) for line in io.BytesIO(capfdbinary.readouterr().out)]
    assert lines == [
        {"raftkv_dump": 2, "keys": 1, "revision": 5000, "leases": 1},
        {"lease": 7, "ttl": 60},
        {"key": "a", "value": "1", "create_revision": 2, "mod_revision": 2, "version": 3, "lease": 7},
        {"end": True, "keys": 1},
    ]
