"""The command `watch`, against a Clerk and a Store."""

from __future__ import annotations

import json
import sys

import pytest
from raftkv import Clerk
from raftkv.cli.call import execute
from raftkv.cli.commands import COMMANDS
from raftkv.cli.console import Console
from raftkv.cli.outcome import BAD_INPUT, DONE, UNAVAILABLE

from tests.unit.fake_cluster import KEY, Cluster


class Lines(Console):
    """Keeps what is written; the user wants no more than `count` lines."""

    def __init__(self, count):
        super().__init__(input_is_free=True)
        self.lines, self._count = [], count

    def write(self, text):
        self.lines.append(text.rstrip("\n"))
        if len(self.lines) == self._count:
            self.cancel.set()


@pytest.fixture
def clerk():
    cluster = Cluster([1])
    with Clerk(cluster.addresses, authkey=KEY, timeout=5.0) as clerk:
        clerk.put("a b", "1")
        clerk.put("a b", "2")
        clerk.put("c", "3")
        clerk.delete("a b")
        yield clerk
    cluster.close()


def run(clerk, count, *words):
    console = Lines(count)
    return execute(COMMANDS, clerk, ["watch", *words], console=console), console.lines


def test_watch_prints_a_line_an_event(clerk):
    outcome, lines = run(clerk, 3, "a b", "--rev", "1", "--prev-kv")
    assert outcome.status == DONE
    assert lines == ["PUT 'a b' 1", "PUT 'a b' 2 was 1", "DELETE 'a b' was 2"]
    assert run(clerk, 4, "a", "--rev", "1", "--end", "d")[1][2] == "PUT c 3"
    assert run(clerk, 1, "", "--prefix", "--rev", "4")[1] == ["PUT c 3"]
    assert run(clerk, 1, "b", "--from-key", "--rev", "4")[1] == ["PUT c 3"]


def test_watch_prints_an_object_an_event(clerk):
    _, lines = run(clerk, 3, "--json", "a b", "--rev", "1", "--prev-kv", "--consistency=s")
    put, again, deleted = map(json.loads, lines)
    expected = {"type": "PUT", "key": "a b", "revision": 2, "value": "1", "create_revision": 2, "version": 1}
    assert put == {**expected, "lease": "0"}
    assert (again["prev_value"], again["version"]) == ("1", 2)
    assert deleted == {"type": "DELETE", "key": "a b", "revision": 5, "prev_value": "2"}


def test_watch_runs_a_program_with_each_event_until_it_fails(clerk, tmp_path):
    out = tmp_path / "out"
    code = (
        "import os, sys; names = ['REVISION', 'EVENT_TYPE', 'KEY', 'VALUE'];"
        f"print([os.environ[f'{{at}}_WATCH_{{name}}'] for at in ('ETCD', 'RAFTKV') for name in names], file=open({str(out)!r}, 'a'));"
        "sys.exit(7 * (os.environ['RAFTKV_WATCH_EVENT_TYPE'] == 'DELETE'))"
    )
    outcome, lines = run(clerk, 9, "--rev", "3", "--from-key", "a", "--", sys.executable, "-c", code)
    assert (outcome.status, lines) == (7, [])
    assert outcome.error.endswith("ended with status 7")
    assert out.read_text().splitlines() == [
        repr(["3", '"PUT"', '"a b"', '"2"', "3", "PUT", "a b", "2"]),
        repr(["4", '"PUT"', '"c"', '"3"', "4", "PUT", "c", "3"]),
        repr(["5", '"DELETE"', '"a b"', '""', "5", "DELETE", "a b", ""]),
    ]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("a", "b"), BAD_INPUT, "one KEY"),
        (("a", "--prefix", "--from-key"), BAD_INPUT, "one KEY"),
        (("a", "--rev", "0"), BAD_INPUT, "1 or more"),
        (("a", "--consistency", "x"), BAD_INPUT, "linearizable"),
        (("--rev", "1", "a b", "--", "/no such program"), BAD_INPUT, "cannot run /no such program: No such"),
        (("--rev", "1", "--", "a b", "--", "/no such program"), BAD_INPUT, "cannot run"),
    ],
)
def test_watch_says_what_is_wrong(clerk, words, status, said):
    outcome, _ = run(clerk, 1, *words)
    assert outcome.status == status and said in outcome.error


def test_watch_of_a_compacted_revision_says_from_where_it_could_begin(clerk):
    clerk.compact(4)
    outcome, _ = run(clerk, 1, "a", "--rev", "2")
    assert (outcome.status, outcome.error) == (BAD_INPUT, "the history before revision 4 was compacted")


def test_watch_without_a_cluster_is_unavailable():
    with Clerk(["127.0.0.1:1"], authkey=KEY, timeout=0.3) as clerk:
        assert run(clerk, 1, "a")[0].status == UNAVAILABLE
