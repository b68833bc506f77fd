"""Lab 2A: leader election."""

from __future__ import annotations

from tests.course.raft_cluster import ELECTION_S
from tests.course.run import Run


def test_initial_election(course: Run) -> None:
    """A leader within 5 s; all in one term, of at least 1; nothing changes as long as nothing fails.

    The course only warns when the term changes by itself. Here it must not.
    """
    cluster = course.raft(3)
    cluster.check_one_leader()
    course.note("seconds until it was seen", cluster.world.now, 5)
    cluster.sleep(0.05)
    term = cluster.check_terms()
    assert term >= 1, f"a leader was elected in term {term}"
    cluster.sleep(2 * ELECTION_S)
    assert cluster.check_terms() == term, "the term changed though nothing had failed"
    cluster.check_one_leader()
    cluster.end()


def test_re_election(course: Run) -> None:
    """A new leader when the old one is cut off; none in a minority; those who come back are no trouble."""
    cluster = course.raft(3)
    first = cluster.check_one_leader()
    cluster.disconnect(first)
    cut_at = cluster.world.now
    cluster.check_one_leader()
    course.note("seconds until the next leader was seen", cluster.world.now - cut_at, 5)

    cluster.connect(first)
    second = cluster.check_one_leader()

    cluster.disconnect(second, cluster.after(second, 1))
    cluster.sleep(2 * ELECTION_S)
    cluster.check_no_leader()

    cluster.connect(cluster.after(second, 1))
    cluster.check_one_leader()
    cluster.connect(second)
    cluster.check_one_leader()
    cluster.end()


def test_many_elections(course: Run) -> None:
    """Nine times up to three of seven are cut off: there is a leader among the rest within 5 s."""
    cluster = course.raft(7)
    cluster.check_one_leader()
    longest_s = 0.0
    for _ in range(9):
        cut_off = [cluster.rng.choice(cluster.ids) for _ in range(3)]
        cluster.disconnect(*cut_off)
        begun = cluster.world.now
        cluster.check_one_leader()
        longest_s = max(longest_s, cluster.world.now - begun)
        cluster.connect(*cut_off)
    cluster.check_one_leader()
    course.note("seconds until a leader was seen", longest_s, 5)
    cluster.end()
