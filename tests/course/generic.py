"""What most tests of lab 3 are: clients that append and read while things go wrong, or one in a hurry."""

from __future__ import annotations

from collections.abc import Sequence

from tests.course.kv_cluster import KVCluster
from tests.course.run import Run
from tests.course.world import Procedure

ELECTION_S = 1.0
ROUND_S = 5.0
THINK_S = 0.01  # times the number of clients: at most, between two calls of one

SPEED_CALLS = 1000
HEARTBEAT_S = 0.1  # the course's
CALLS_A_HEARTBEAT = 3


#: How many clients and servers, and what is on: unreliable (the network), crash, partitions, random_keys.
Variants = dict[str, tuple[int, int, dict[str, bool]]]
ALL = {"unreliable": True, "crash": True, "partitions": True}


def generic(course: Run, variant: tuple[int, int, dict[str, bool]], max_raft_state: int = -1) -> None:
    """Rounds of 5 s (the course has three) in which each client appends to a key of its own (half of its calls), or reads it.

    With `partitions`, servers are divided anew about every 1.1 s, at random, and all connected after the
    round. With `crash`, all lose their power after it. Then each client's key holds what it appended, all,
    once and in order. The log has at most 8 times `max_raft_state`, if that is set, and there is no
    snapshot otherwise. With `random_keys` clients share the keys, and put, too. In the end the history of
    all calls is linearizable.

    On a reliable network, clients think between two calls (see THINK_S), which they do not in the course.
    Without it histories are long, and show nothing more.
    """
    clients, servers, on = variant
    crash, partitions, random_keys = (on.get(name, False) for name in ("crash", "partitions", "random_keys"))
    cluster = course.kv(servers, unreliable=on.get("unreliable", False), max_raft_state=max_raft_state)
    clerk = cluster.make_client()
    largest = 0
    for _ in range(course.rounds):
        running = [True]
        counts = [
            cluster.world.spawn(_client(cluster, number, clients, running, random_keys))
            for number in range(clients)
        ]
        if partitions:
            cluster.sleep(1.0)
            partitioner = cluster.world.spawn(_partitioner(cluster, running))
        cluster.sleep(ROUND_S)
        running.clear()
        if partitions:
            cluster.world.wait_for(partitioner)
            cluster.connect_all()
            cluster.sleep(ELECTION_S)
        if crash:
            _restart_all(cluster)
        cluster.world.wait_for(*counts)
        for number, count in enumerate(counts):
            value = cluster.do(clerk.get(str(number)))
            if not random_keys:
                check_appends(value, number, count.result)
        largest = max(largest, cluster.log_size())
        if max_raft_state > 0:
            assert largest <= 8 * max_raft_state, f"the log was not trimmed: {largest} bytes"
        else:
            assert cluster.snapshot_size() == 0, (
                f"a snapshot of {cluster.snapshot_size()} bytes, though none was wanted"
            )
    cluster.end()
    if max_raft_state > 0:
        course.at_most("bytes of Raft's state on a disk", largest, 8 * max_raft_state)
    course.note("calls", len(cluster.record.operations))


def speed(course: Run, max_raft_state: int) -> None:
    """1,000 appends, one after the other, take at most 33.3 ms each: a third of the course's heartbeat.

    Virtual time: a message takes 0.5 ms, an fsync 2 ms. So this shows that a call waits for no timer.
    """
    cluster = course.kv(3, max_raft_state=max_raft_state)
    clerk = cluster.make_client()
    cluster.do(clerk.get("x"))
    begun = cluster.world.now
    for number in range(SPEED_CALLS):
        cluster.do(clerk.append("x", element(0, number)))
    took_s = cluster.world.now - begun
    check_appends(cluster.do(clerk.get("x")), 0, SPEED_CALLS)
    most_ms = HEARTBEAT_S / CALLS_A_HEARTBEAT * 1000
    course.at_most("milliseconds a call", took_s / SPEED_CALLS * 1000, most_ms)
    cluster.end()


# -- clients ------------------------------------------------------------------------------------------------


def element(client: int, number: int) -> str:
    """What a client appends: it shows who did, and as which of its writes."""
    return f"x {client} {number} y"


def check_appends(value: str, client: int, count: int) -> None:
    """`value` holds the first `count` elements of `client`, each once and in order."""
    last = -1
    for number in range(count):
        wanted = element(client, number)
        at = value.find(wanted)
        assert at >= 0, f"{wanted!r} is missing in {value!r}"
        assert value.rfind(wanted) == at, f"{wanted!r} is there twice in {value!r}"
        assert at > last, f"{wanted!r} is in the wrong place in {value!r}"
        last = at


def _client(
    cluster: KVCluster, number: int, clients: int, running: Sequence[bool], random_keys: bool
) -> Procedure:
    """Call until the round is over. Returns how many elements were written."""
    clerk, rng = cluster.make_client(), cluster.rng
    own_key, own_value, written = str(number), "", 0
    if not random_keys:
        yield clerk.put(own_key, "")
    while running:
        key = str(rng.randrange(clients)) if random_keys else own_key
        if rng.randrange(1000) < 500:
            own_value += element(number, written)
            yield clerk.append(key, element(number, written))
            written += 1
        elif random_keys and rng.randrange(1000) < 100:
            yield clerk.put(key, element(number, written))
            written += 1
        else:
            value = yield clerk.get(key)
            assert random_keys or value == own_value, (
                f"client {number} read {value!r} instead of {own_value!r}"
            )
        yield 0.0 if cluster.world.network.unreliable else rng.random() * THINK_S * clients
    return written


def _partitioner(cluster: KVCluster, running: Sequence[bool]) -> Procedure:
    while running:
        groups: dict[int, list[int]] = {0: [], 1: []}
        for id in cluster.ids:
            groups[cluster.rng.randrange(2)].append(id)
        cluster.partition(*groups.values())
        yield ELECTION_S + cluster.rng.randrange(200) / 1000


def _restart_all(cluster: KVCluster) -> None:
    for id in cluster.ids:
        cluster.shutdown_server(id)
    cluster.sleep(ELECTION_S)
    for id in cluster.ids:
        cluster.start_server(id)
    cluster.connect_all()
