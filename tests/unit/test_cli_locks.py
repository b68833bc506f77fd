"""The commands `lock` and `elect`, against a Clerk and a Store."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from raftkv import Clerk
from raftkv.cli.call import execute
from raftkv.cli.commands import COMMANDS
from raftkv.cli.console import Console
from raftkv.cli.outcome import BAD_INPUT, DONE, LOST, NO

from tests.cluster.waiting import wait_until
from tests.unit.fake_cluster import KEY, Cluster

WAIT_S = 10.0


class Listener(Console):
    """Calls `hear(line)` with each line that is written."""

    def __init__(self, hear):
        super().__init__(input_is_free=True)
        self.lines, self._hear = [], hear

    def write(self, text):
        self.lines.append(text.rstrip("\n"))
        self._hear(self)


@pytest.fixture
def cluster():
    cluster = Cluster([1])
    yield cluster
    cluster.close()


@pytest.fixture
def clerk(cluster):
    with Clerk(cluster.addresses, authkey=KEY, timeout=5.0) as clerk:
        yield clerk


def run(clerk, *words, hear=lambda console: console.cancel.set()):
    console = Listener(hear)
    return execute(COMMANDS, clerk, words, console=console), console.lines


def python(code):
    return ["--", sys.executable, "-c", code]


def end_leases(clerk):
    for lease in clerk.leases.list():
        clerk.leases.revoke(lease)


def test_lock_runs_a_program_with_the_token_and_ends_with_its_status(clerk, tmp_path):
    out = tmp_path / "out"
    code = f"import os, sys; open({str(out)!r}, 'w').write(os.environ['ETCD_LOCK_KEY'] + ' ' + os.environ['ETCD_LOCK_REV']); sys.exit(3)"
    outcome, lines = run(clerk, "lock", "n", *python(code))
    assert (outcome.status, outcome.error, lines) == (3, "", [])
    key, token = out.read_text().split()
    assert key.startswith("n/") and token == "2" and clerk.get(key) is None and clerk.leases.list() == []


def test_lock_without_a_program_holds_it_until_it_is_interrupted(clerk):
    held = []

    def hear(console):
        held.append(clerk.get_kv(json.loads(console.lines[0])["key"]).create_revision)
        outcome, _ = run(clerk, "lock", "n", "--wait", "0.05")
        assert (outcome.status, outcome.error) == (NO, "n is locked by another one")
        console.cancel.set()

    outcome, lines = run(clerk, "lock", "n", "--json", hear=hear)
    assert outcome.status == DONE and held == [json.loads(lines[0])["token"]]
    assert clerk.leases.list() == []


def test_a_lost_lock_ends_the_program_with_status_6(clerk, cluster, tmp_path):
    started = tmp_path / "started"
    code = f"import time; open({str(started)!r}, 'w').close(); time.sleep(60)"

    def end_it():
        wait_until(started.exists, "the program")
        end_leases(clerk)

    thread = threading.Thread(target=end_it)
    thread.start()
    outcome, _ = run(clerk, "lock", "n", "--ttl", "1", *python(code))
    thread.join()
    assert outcome.status == LOST
    assert "is lost" in outcome.error and outcome.error.endswith(" was ended")


def test_elect_leads_until_it_is_interrupted_and_listen_says_who(clerk):
    def hear(console):
        outcome, lines = run(clerk, "elect", "--listen", "n")
        assert (outcome.status, lines) == (DONE, console.lines)
        outcome, _ = run(clerk, "elect", "n", "other", "--wait", "0.05")
        assert (outcome.status, outcome.error) == (NO, "another one leads n")
        console.cancel.set()

    outcome, lines = run(clerk, "elect", "n", "one", hear=hear)
    assert outcome.status == DONE and lines[0].endswith(" one") and lines[0].startswith("n/")
    outcome, _ = run(clerk, "elect", "n", "one", "--ttl", "1", hear=lambda _: end_leases(clerk))
    assert outcome.status == LOST


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lock", "a", "b"), "one NAME"),
        (("lock", "a", "--ttl", "0"), "1 or more"),
        (("lock", "a", "--", "/no such program"), "cannot run"),
        (("elect", "a"), "NAME and VALUE"),
        (("elect", "--listen", "a", "b"), "NAME and VALUE"),
    ],
)
def test_lock_and_elect_say_what_is_wrong(clerk, words, said):
    outcome, _ = run(clerk, *words)
    assert outcome.status == BAD_INPUT and said in outcome.error
    assert clerk.leases.list() == []
