"""What the requests of one turn ask for is carried out together, and each is answered as if it had come alone."""

import threading

import pytest
from raftkv import Clerk, errors
from raftkv.http.requests import Requests
from raftkv.http.together import gather
from raftkv.http.web.server import HttpServer
from raftkv.ini import Address
from raftkv.kvdb.limits import MAX_KEY_BYTES, MAX_VALUE_BYTES
from raftkv.kvdb.reads import Gets, Range
from raftkv.kvdb.writes import PREV_KV, Delete, Put, Puts

from tests.http.conftest import LOCAL

WAIT_S = 20


@pytest.fixture
def carry_out(cluster):
    """carry_out(operations): all in one turn; returns (result, error) of each."""
    server = HttpServer(Address(LOCAL, 0), None, max_connections=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    host = {id: tuple(address) for id, address in cluster.servers.items()}
    with Clerk(host, authkey=cluster.load_keys()[0], timeout=WAIT_S, encoding=None) as clerk:
        requests = Requests(clerk, server)

        def run(operations):
            answers, all_there = {}, threading.Event()

            def resume(at, result, error):
                answers[at] = result, error
                if len(answers) == len(operations):
                    all_there.set()

            def begin():
                for at, operation in enumerate(operations):
                    requests.carry_out(operation, lambda result, error, at=at: resume(at, result, error))

            server.call_soon(begin)
            assert all_there.wait(WAIT_S)
            return [answers[at] for at in range(len(operations))]

        yield run
    server.stop()
    thread.join()


def test_plain_puts_and_reads_of_a_turn_are_two_operations():
    puts, reads = [Put(b"a", b"1"), Put(b"b", b"2")], [Range(b"a"), Range(b"b")]
    others = [
        Put(b"c", b"", 7),
        Put(b"d", b"", 0, PREV_KV),
        Delete(b"a"),
        Range(b"a", b"c"),
        Range(b"a", revision=3),
    ]
    made = [operation for operation, _ in gather([(each, None) for each in [*puts, *others, *reads]])]
    assert made == [*others, Puts((b"a", b"b"), (b"1", b"2")), Gets([b"a", b"b"])]


def test_each_put_has_a_revision_of_its_own_and_each_read_its_row(carry_out):
    revisions = [result for result, _ in carry_out([Put(b"tog/%d" % at, b"v%d" % at) for at in range(20)])]
    assert revisions == list(range(revisions[0], revisions[0] + 20))
    together = carry_out([Range(b"tog/%d" % at) for at in range(21)])
    assert together == [carry_out([Range(b"tog/%d" % at)])[0] for at in range(21)]
    assert together[3][0][1] == [(b"tog/3", b"v3", revisions[3], revisions[3], 1, 0)]


def test_refused_call_does_not_harm_the_others(carry_out):
    too_long = b"k" * (MAX_KEY_BYTES + 1)
    results = carry_out(
        [Put(b"tog/a", b"1"), Put(too_long, b""), Put(b"tog/b", b"2"), Range(too_long), Range(b"tog/a")]
    )
    assert [type(error) for _, error in results] == [
        type(None), errors.InvalidRequestError, type(None), errors.InvalidRequestError, type(None),
    ]  # fmt: skip


def test_requests_too_large_together_are_carried_out_one_by_one(carry_out):
    values = [b"%d" % at * (MAX_VALUE_BYTES - 1) for at in range(7)]
    puts = carry_out([Put(b"tog/large%d" % at, value) for at, value in enumerate(values)])
    reads = carry_out([Range(b"tog/large%d" % at) for at in range(7)])
    assert [error for _, error in [*puts, *reads]] == [None] * 14
    assert [result[1][0][1] for result, _ in reads] == values
