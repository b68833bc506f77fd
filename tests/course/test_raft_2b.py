"""Lab 2B: the log. "Position" is explained in raft_cluster.py: the index of a command, no-ops left out."""

from __future__ import annotations

from tests.course.raft_cluster import ELECTION_S, RaftCluster, Started
from tests.course.run import Run

TRIES = 5  # for a test that needs a term to last
SETTLE_S = 3.0


def test_basic_agree(course: Run) -> None:
    """Three commands are agreed on at positions 1, 2 and 3, on all servers, and none before its start."""
    cluster = course.raft(3)
    for position in (1, 2, 3):
        assert cluster.committed(position) == 0, f"command {position} is committed before it was started"
        got = cluster.one(position * 100, 3, retry=False)
        assert got == position, f"the command is number {got} instead of {position}"
    cluster.end()


def test_rpc_bytes(course: Run) -> None:
    """Ten commands of 5,000 bytes cost at most those bytes for each server, and 50,000 for all else.

    Counted is every Raft message, both ways, as the frame that it is on a real connection. (The course
    counts the arguments and results of calls.)
    """
    cluster = course.raft(3)
    cluster.network.count_bytes = True
    cluster.one(99, 3, retry=False)
    before, sent = cluster.network.bytes, 0
    for position in range(2, 12):
        command = "".join(cluster.rng.choices("abcdefghijklmnopqrstuvwxyz", k=5000))
        got = cluster.one(command, 3, retry=False)
        assert got == position, f"the command is number {got} instead of {position}"
        sent += len(command)
    course.at_most("bytes for 10 commands of 5,000", cluster.network.bytes - before, 3 * sent + 50_000)
    cluster.end()


def test_follower_failure(course: Run) -> None:
    """With one of two followers cut off there is agreement; with both, there is none within 2 s."""
    cluster = course.raft(3)
    cluster.one(101, 3, retry=False)
    leader = cluster.check_one_leader()
    cluster.disconnect(cluster.after(leader, 1))
    cluster.one(102, 2, retry=False)
    cluster.sleep(ELECTION_S)
    cluster.one(103, 2, retry=False)

    leader = cluster.check_one_leader()
    cluster.disconnect(cluster.after(leader, 1), cluster.after(leader, 2))
    started = _start(cluster, leader, 104)
    assert started.position == 4, f"the command is number {started.position} instead of 4"
    cluster.sleep(2 * ELECTION_S)
    assert cluster.committed(4) == 0, f"{cluster.committed(4)} servers committed without a majority"
    cluster.end()


def test_leader_failure(course: Run) -> None:
    """With the leader cut off the others agree; with the next one cut off, too, nobody does within 2 s."""
    cluster = course.raft(3)
    cluster.one(101, 3, retry=False)
    cluster.disconnect(cluster.check_one_leader())
    cluster.one(102, 2, retry=False)
    cluster.sleep(ELECTION_S)
    cluster.one(103, 2, retry=False)

    cluster.disconnect(cluster.check_one_leader())
    for id in cluster.ids:
        cluster.start(id, 104)
    cluster.sleep(2 * ELECTION_S)
    assert cluster.committed(4) == 0, f"{cluster.committed(4)} servers committed without a majority"
    cluster.end()


def test_fail_agree(course: Run) -> None:
    """A follower that was cut off during four agreements has them, and takes part again, once it is back."""
    cluster = course.raft(3)
    cluster.one(101, 3, retry=False)
    lonely = cluster.after(cluster.check_one_leader(), 1)
    cluster.disconnect(lonely)
    cluster.one(102, 2, retry=False)
    cluster.one(103, 2, retry=False)
    cluster.sleep(ELECTION_S)
    cluster.one(104, 2, retry=False)
    cluster.one(105, 2, retry=False)

    cluster.connect(lonely)
    cluster.one(106, 3, retry=True)
    cluster.sleep(ELECTION_S)
    cluster.one(107, 3, retry=True)
    cluster.end()


def test_fail_no_agree(course: Run) -> None:
    """With three of four followers cut off nothing is committed; with them back, there is agreement again.

    The command of the lonely leader, number 2, may survive or not: the next one is number 2 or 3.
    """
    cluster = course.raft(5)
    cluster.one(10, 5, retry=False)
    leader = cluster.check_one_leader()
    others = [cluster.after(leader, steps) for steps in (1, 2, 3)]
    cluster.disconnect(*others)
    started = _start(cluster, leader, 20)
    assert started.position == 2, f"the command is number {started.position} instead of 2"
    cluster.sleep(2 * ELECTION_S)
    assert cluster.committed(2) == 0, f"{cluster.committed(2)} servers committed without a majority"

    cluster.connect(*others)
    started = _start(cluster, cluster.check_one_leader(), 30)
    assert started.position in (2, 3), f"the command is number {started.position}"
    cluster.one(1000, 5, retry=True)
    cluster.end()


def test_concurrent_starts(course: Run) -> None:
    """Five commands that are started at once are all committed, if the term lasts. Five tries for that."""
    cluster = course.raft(3)
    for attempt in range(TRIES):
        if attempt:
            cluster.sleep(SETTLE_S)
        found = _start_at_once(cluster)
        if found is not None:
            assert sorted(found) == list(range(100, 105)), f"committed were {found}"
            course.note("terms that did not last", attempt, TRIES - 1)
            cluster.end()
            return
    raise AssertionError(f"no term lasted in {TRIES} tries")


def test_rejoin(course: Run) -> None:
    """A leader that took commands while it was cut off comes back, loses them, and agrees with the others."""
    cluster = course.raft(3)
    cluster.one(101, 3, retry=True)
    first = cluster.check_one_leader()
    cluster.disconnect(first)
    for command in (102, 103, 104):
        _start(cluster, first, command)
    cluster.one(103, 2, retry=True)

    second = cluster.check_one_leader()
    cluster.disconnect(second)
    cluster.connect(first)
    cluster.one(104, 2, retry=True)

    cluster.connect(second)
    cluster.one(105, 3, retry=True)
    cluster.end()


def test_backup(course: Run) -> None:
    """Three groups with 50 commands each that contradict each other: all get one log, and quickly.

    Each of the agreements after a change of the group has 10 s, as everywhere.
    """
    cluster = course.raft(5)
    cluster.one(cluster.number(), 5, retry=True)
    first = cluster.check_one_leader()
    minority, majority = [first, cluster.after(first, 1)], [cluster.after(first, n) for n in (2, 3, 4)]
    cluster.disconnect(*majority)
    _start_many(cluster, first, 50)
    cluster.sleep(ELECTION_S / 2)

    cluster.disconnect(*minority)
    cluster.connect(*majority)
    longest_s = _agree_on_many(cluster, 50)

    second = cluster.check_one_leader()
    other = majority[0] if second != majority[0] else majority[1]
    cluster.disconnect(other)
    _start_many(cluster, second, 50)
    cluster.sleep(ELECTION_S / 2)

    cluster.disconnect(*cluster.ids)
    cluster.connect(*minority, other)
    longest_s = max(longest_s, _agree_on_many(cluster, 50))

    cluster.connect(*cluster.ids)
    begun = cluster.world.now
    cluster.one(cluster.number(), 5, retry=True)
    course.note("seconds for an agreement", max(longest_s, cluster.world.now - begun), 10)
    cluster.end()


def test_count(course: Run) -> None:
    """Requests: 1 to 30 for the first leader, 42 for 10 commands and 2 more, 60 in an idle second.

    Counted are the messages that the course's calls are here, as they arrive: RequestPreVote and RequestVote,
    AppendEntries and Heartbeat (which the paper has in one), InstallSnapshot. Answers are not requests.
    """
    cluster = course.raft(3)
    cluster.check_one_leader()
    course.at_most("requests until the first leader was seen", cluster.requests(), 30)
    assert cluster.requests() >= 1, "a leader came to be without a request"
    for attempt in range(TRIES):
        if attempt:
            cluster.sleep(SETTLE_S)
        count = _count_agreements(cluster)
        if count is not None:
            course.at_most("requests for 10 commands", count, (10 + 1 + 3) * 3)
            before = cluster.requests()
            cluster.sleep(ELECTION_S)
            course.at_most("requests in an idle second", cluster.requests() - before, 3 * 20)
            cluster.end()
            return
    raise AssertionError(f"no term lasted in {TRIES} tries")


# -- parts of them ------------------------------------------------------------------------------------------


def _start(cluster: RaftCluster, leader: int, command: int) -> Started:
    started = cluster.start(leader, command)
    assert started is not None, f"n{leader}, which leads, refused a command"
    return started


def _start_many(cluster: RaftCluster, leader: int, count: int) -> None:
    for _ in range(count):
        cluster.start(leader, cluster.number())


def _agree_on_many(cluster: RaftCluster, count: int) -> float:
    """Returns how long the longest took, in seconds."""
    longest_s = 0.0
    for _ in range(count):
        begun = cluster.world.now
        cluster.one(cluster.number(), 3, retry=True)
        longest_s = max(longest_s, cluster.world.now - begun)
    return longest_s


def _start_at_once(cluster: RaftCluster) -> list[int] | None:
    """Start 100 to 104 in one moment. What was committed at their positions; None if the term ended."""
    leader = cluster.check_one_leader()
    first = cluster.start(leader, 1)
    if first is None:
        return None
    all_started = [cluster.start(leader, 100 + n) for n in range(5)]
    positions = [
        started.position for started in all_started if started is not None and started.term == first.term
    ]
    if any(cluster.get_state(id)[0] != first.term for id in cluster.ids):
        return None
    found = [cluster.wait(position, 3, first.term) for position in positions]
    return None if None in found else found


def _count_agreements(cluster: RaftCluster) -> int | None:
    """How many requests 12 commands cost, until 10 of them are agreed on. None if the term ended."""
    leader = cluster.check_one_leader()
    before = cluster.requests()
    first = cluster.start(leader, 1)
    if first is None:
        return None
    commands = [cluster.number() for _ in range(11)]
    for offset, command in enumerate(commands, 1):
        started = cluster.start(leader, command)
        if started is None or started.term != first.term:
            return None
        assert started.position == first.position + offset, (
            f"{started} does not follow {first} and {offset - 1} more"
        )
    for offset, command in enumerate(commands[:10], 1):
        found = cluster.wait(first.position + offset, 3, first.term)
        if found is None:
            return None
        assert found == command, f"command {first.position + offset} is {found} instead of {command}"
    if any(cluster.get_state(id)[0] != first.term for id in cluster.ids):
        return None
    return cluster.requests() - before
