"""Lab 3A: the database without snapshots. What a test of VARIANTS does, generic() says."""

from __future__ import annotations

import pytest

from tests.course.clerk import CourseClerk
from tests.course.generic import ALL, ELECTION_S, Variants, check_appends, element, generic, speed
from tests.course.kv_cluster import KVCluster
from tests.course.run import Run
from tests.course.world import Procedure

#: (clients, servers, what goes wrong)
VARIANTS: Variants = {
    "basic": (1, 5, {}),
    "concurrent": (5, 5, {}),
    "unreliable": (5, 5, {"unreliable": True}),
    "many_partitions_one_client": (1, 5, {"partitions": True}),
    "many_partitions_many_clients": (5, 5, {"partitions": True}),
    "persist_one_client": (1, 5, {"crash": True}),
    "persist_concurrent": (5, 5, {"crash": True}),
    "persist_concurrent_unreliable": (5, 5, {"crash": True, "unreliable": True}),
    "persist_partition": (5, 5, {"crash": True, "partitions": True}),
    "persist_partition_unreliable": (5, 5, ALL),
    "persist_partition_unreliable_linearizable": (15, 7, {**ALL, "random_keys": True}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name: str, course: Run) -> None:
    generic(course, VARIANTS[name])


def test_speed(course: Run) -> None:
    """At most 33.3 ms a call."""
    speed(course, -1)


def test_unreliable_one_key(course: Run) -> None:
    """Five clients append ten elements each to one key, unreliable network: all are there, once, in order."""
    cluster = course.kv(3, unreliable=True)
    clerk = cluster.make_client()
    cluster.do(clerk.put("k", ""))
    cluster.world.wait_for(*[cluster.world.spawn(_append_ten(cluster, number)) for number in range(5)])
    value = cluster.do(clerk.get("k"))
    for number in range(5):
        check_appends(value, number, 10)
    cluster.end()


def test_one_partition(course: Run) -> None:
    """The leader is in a minority. The majority goes on; a put and a get that are sent to the minority are
    not answered within 1 s, nor as long as it is cut off; 4 s after it is connected again they are, and the
    put is the last write."""
    cluster = course.kv(5)
    clerk = cluster.make_client()
    cluster.do(clerk.put("1", "13"))
    leader = cluster.leader()
    others = [id for id in cluster.ids if id != leader]
    majority, minority = others[:3], [others[3], leader]
    cluster.partition(majority, minority)
    in_majority = cluster.make_client(majority)
    putting, getting = cluster.make_client(minority), cluster.make_client(minority)

    cluster.do(in_majority.put("1", "14"))
    cluster.check(in_majority, "1", "14")

    put, get = putting.put("1", "15"), getting.get("1")
    cluster.sleep(1.0)
    assert not put.done, "a put in the minority was answered"
    assert not get.done, "a get in the minority was answered"
    cluster.check(in_majority, "1", "14")
    cluster.do(in_majority.put("1", "16"))
    cluster.check(in_majority, "1", "16")
    assert not put.done and not get.done, "a call in the minority was answered"

    cluster.connect_all()
    for lonely in (putting, getting):
        lonely.servers.update(cluster.ids)
    healed = cluster.world.now
    cluster.world.wait_for(put, get)
    course.at_most(
        "seconds until calls of the minority were answered", cluster.world.now - healed, ELECTION_S + 3.0
    )
    cluster.check(clerk, "1", "15")
    cluster.end()


def _append_ten(cluster: KVCluster, number: int) -> Procedure:
    clerk: CourseClerk = cluster.make_client()
    for n in range(10):
        yield clerk.append("k", element(number, n))
