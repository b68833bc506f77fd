"""The commands for ranges, revisions, leases and transactions, against a Clerk and a Store."""

from __future__ import annotations

import io

import pytest
from raftkv import Clerk
from raftkv.cli.call import execute
from raftkv.cli.commands import COMMANDS
from raftkv.cli.console import Console
from raftkv.cli.outcome import BAD_INPUT, DONE, NO
from raftkv.cli.words import split_line

from tests.unit.fake_cluster import KEY, Cluster


@pytest.fixture
def run():
    """A command by its line; gives (status, text), or (status, error)."""
    cluster = Cluster([1])
    with Clerk(cluster.addresses, authkey=KEY) as clerk:
        for key in ("a", "a b", "b"):
            clerk.put(key, f"<{key}>")

        def run(line, *words):
            outcome = execute(COMMANDS, clerk, [*split_line(line), *words])
            run.plain = outcome.plain
            return outcome.status, outcome.error or outcome.text

        yield run
    cluster.close()


def test_get_of_ranges_and_of_the_past(run):
    assert run("get --prefix a") == (DONE, "a '<a>'\n'a b' '<a b>'")
    assert run.plain["items"][0] == {"key": "a", "value": "<a>", "revision": 2}
    assert run("get a --end b") == run("get --prefix a")
    assert run("get --from-key b") == (DONE, "b '<b>'")
    assert run("get --prefix nothing") == (DONE, None)
    run("put a new")
    assert run("get a b --rev 3") == (NO, "<a>\n(nil)")
    assert run("get --from-key a --rev 2") == (DONE, "a '<a>'")
    assert run("get a --rev 99") == (BAD_INPUT, "revision 99 is not there yet: the newest is 5")
    for line in ("get a b --prefix", "get a --prefix --from-key"):
        assert run(line)[0] == BAD_INPUT


def test_delete_of_ranges(run):
    assert run("delete --prefix a") == (DONE, "2") and run.plain == {"deleted": 2}
    assert run("delete --prefix a") == (NO, "0")
    assert run("delete --from-key a") == (DONE, "1")


def test_leases(run):
    assert run("lease grant 60 ab") == (DONE, "lease ab granted with TTL(60s)")
    assert run.plain == {"lease": "ab", "ttl": 60}
    assert run("lease grant 60 ab") == (NO, "there is a lease ab already")
    assert run("put k v --lease ab") == (DONE, "OK")
    assert run("lease keep-alive ab --once") == (DONE, "lease ab keepalived with TTL(60)")
    text = "lease ab granted with TTL(60s), remaining(60s)"
    assert run("lease time-to-live ab") == (DONE, text)
    assert run("lease time-to-live ab --keys") == (DONE, text + ", attached keys([k])")
    assert run("lease list") == (DONE, "ab")
    assert run("lease revoke ab") == (DONE, "lease ab revoked") and run.plain["deleted"] == 1
    for line in ("lease revoke ab", "lease keep-alive ab", "lease time-to-live ab", "put k v --lease ab"):
        assert run(line) == (NO, "there is no such lease: it has ended, or was never granted"), line


@pytest.mark.parametrize(
    "line, why",
    [
        ("lease", "lease: say what"),
        ("lease grand 5", "there is no lease grand; did you mean grant?"),
        ("lease grant", "lease grant: too few or too many words"),
        ("lease grant x", "TTL, in seconds, must be 1 or more, not 'x'"),
        ("lease grant 5 xyz", "ID must be the id of a lease, such as 694d77aa9e38260f, not 'xyz'"),
        ("lease list --keys", "lease list: --keys does not go with it"),
        ("put k v --lease 0", "--lease must be the id of a lease"),
    ],
)
def test_wrong_lease_command_is_an_error_that_says_why(run, line, why):
    status, error = run(line)
    assert status == BAD_INPUT and why in error


def test_a_transaction_does_one_of_two_blocks(run):
    blocks = (
        'value("a") = "<a>"\nver(b) > 0\nlease(b) = 0\n\nput a 1\nget a\ndel --prefix b\n\nget --prefix a\n'
    )
    assert run("txn", blocks) == (DONE, "SUCCESS\nOK\n1\n1")
    assert run.plain == {
        "succeeded": True,
        "responses": [
            {"key": "a", "revision": 5},
            {"key": "a", "value": "1", "revision": 5},
            {"key": "b", "deleted": 1},
        ],
    }
    assert run("txn", blocks) == (NO, "FAILURE\na 1\n'a b' '<a b>'")
    assert run("txn", "\nget b") == (DONE, "SUCCESS\n(nil)"), "no compares, no else"
    assert run("txn", 'value(") = x") = y\n\n\nput k else') == (NO, "FAILURE\nOK"), "brackets in a key"


def test_a_transaction_comes_from_standard_input(run, monkeypatch):
    class Input(io.StringIO):
        buffer = io.BytesIO(b"create(new) = 0\n\nput new v\n")

    monkeypatch.setattr("sys.stdin", Input())
    console = Console(input_is_free=True)
    cluster = Cluster([1])
    with Clerk(cluster.addresses, authkey=KEY) as clerk:
        assert execute(COMMANDS, clerk, ["txn"], console=console).text == "SUCCESS\nOK"
        assert "standard input is where the commands come from" in execute(COMMANDS, clerk, ["txn"]).error
    cluster.close()


@pytest.mark.parametrize(
    "blocks, why",
    [
        ("", "the transaction is empty"),
        ("size(a) = 1", "line 1 of the transaction, 'size(a) = 1': a compare is such as value(\"key\")"),
        ("value(a) ~ 1", "one of = != < >"),
        ("mod(a) = x", "what a mod is compared with must be a whole number"),
        ("\n\n\nput k v", "is in a fourth block"),
        ("\nput k", "put takes 2 words here, not 1"),
        ("\nlock k", "an operation is one of put, get"),
        ("\nget k --rev x", "--rev must be 1 or more"),
        ("\nput 'k v", "no closing quotation"),
        ("\nput k 1\nput k 2", "a key is written twice"),
    ],
)
def test_wrong_transaction_is_an_error_that_says_why(run, blocks, why):
    status, error = run("txn", blocks)
    assert status == BAD_INPUT and why in error
