"""Lab 2C: what is on the disk. A crash is a power cut: what was not fsynced may be lost."""

from __future__ import annotations

from tests.course.raft_cluster import ELECTION_S, RaftCluster
from tests.course.run import Run
from tests.course.world import Procedure

FIGURE_8_ROUNDS = 1000


def test_persist1(course: Run) -> None:
    """Agreement goes on after restarts: of all, of the leader, of servers that missed commands meanwhile."""
    cluster = course.raft(3)
    cluster.one(11, 3, retry=True)
    _restart(cluster, *cluster.ids)
    cluster.one(12, 3, retry=True)

    _restart(cluster, cluster.check_one_leader())
    cluster.one(13, 3, retry=True)

    leader = cluster.check_one_leader()
    cluster.disconnect(leader)
    cluster.one(14, 2, retry=True)
    _restart(cluster, leader)
    cluster.wait(4, 3)

    follower = cluster.after(cluster.check_one_leader(), 1)
    cluster.disconnect(follower)
    cluster.one(15, 2, retry=True)
    _restart(cluster, follower)
    cluster.one(16, 3, retry=True)
    cluster.end()


def test_persist2(course: Run) -> None:
    """Five rounds of majorities that have one server in common: what one has agreed on, the next one has."""
    cluster = course.raft(5)
    for rounds in range(5):
        cluster.one(11 + 3 * rounds, 5, retry=True)
        leader = cluster.check_one_leader()
        ring = [cluster.after(leader, steps) for steps in range(5)]
        cluster.disconnect(ring[1], ring[2])
        cluster.one(12 + 3 * rounds, 3, retry=True)

        cluster.disconnect(ring[0], ring[3], ring[4])
        _restart(cluster, ring[1], ring[2])
        cluster.sleep(ELECTION_S)
        _restart(cluster, ring[3])
        cluster.one(13 + 3 * rounds, 3, retry=True)
        cluster.connect(ring[4], ring[0])
    cluster.one(1000, 5, retry=True)
    cluster.end()


def test_persist3(course: Run) -> None:
    """Leader and follower agree, and crash. The leader and the one that was cut off lose nothing of it."""
    cluster = course.raft(3)
    cluster.one(101, 3, retry=True)
    leader = cluster.check_one_leader()
    follower, cut_off = cluster.after(leader, 1), cluster.after(leader, 2)
    cluster.disconnect(cut_off)
    cluster.one(102, 2, retry=True)

    cluster.crash(leader)
    cluster.crash(follower)
    cluster.connect(cut_off)
    _restart(cluster, leader)
    cluster.one(103, 2, retry=True)

    _restart(cluster, follower)
    cluster.one(104, 3, retry=True)
    cluster.end()


def test_figure8(course: Run) -> None:
    """1,000 times a leader takes a command and crashes, mostly before it is committed: figure 8 of the paper.

    When fewer than three are up, one is started. In the end all agree within 10 s.

    A message carries one entry. Otherwise an entry of an older term would mostly come together with the no-op
    of the new one, and the figure could not happen.
    """
    cluster = course.raft(5, one_by_one=True)
    cluster.one(cluster.number(), 1, retry=True)
    for _ in range(FIGURE_8_ROUNDS):
        leader = _start_everywhere(cluster)
        _sleep_a_little(cluster)
        if leader is not None:
            cluster.crash(leader)
        if sum(map(cluster.is_up, cluster.ids)) < 3:
            id = cluster.rng.choice(cluster.ids)
            if not cluster.is_up(id):
                _restart(cluster, id)
    for id in cluster.ids:
        if not cluster.is_up(id):
            _restart(cluster, id)
    _agree_in_the_end(course, cluster)


def test_unreliable_agree(course: Run) -> None:
    """On an unreliable network, 49 rounds of five commands at once are agreed on, each within 10 s."""
    cluster = course.raft(5, unreliable=True)
    beside = []
    for rounds in range(1, 50):
        for n in range(4):
            beside.append(cluster.world.spawn(cluster.agreement(100 * rounds + n, 1, retry=True)))
        cluster.one(rounds, 1, retry=True)
    cluster.network.unreliable = False
    cluster.world.wait_for(*beside)
    cluster.one(100, 5, retry=True)
    course.note("commands agreed on", len(cluster.agreed))
    cluster.end()


def test_figure8_unreliable(course: Run) -> None:
    """Figure 8 with leaders that are cut off instead of crashing, on an unreliable network; after 200 of
    1,000 rounds two answers of three are late, too. With all connected again, but the network as bad, all
    agree within 10 s."""
    cluster = course.raft(5, unreliable=True, one_by_one=True)
    cluster.one(cluster.number(), 1, retry=True)
    connected = 5
    for rounds in range(FIGURE_8_ROUNDS):
        cluster.network.long_reordering = rounds >= 200
        leader = _start_everywhere(cluster)
        _sleep_a_little(cluster)
        if leader is not None and cluster.chance(500):
            cluster.disconnect(leader)
            connected -= 1
        if connected < 3:
            id = cluster.rng.choice(cluster.ids)
            if not cluster.is_connected(id):
                cluster.connect(id)
                connected += 1
    cluster.connect(*cluster.ids)
    _agree_in_the_end(course, cluster)


def test_reliable_churn(course: Run) -> None:
    """Servers come and go for 14 s. What three clients saw committed meanwhile is in the log of all."""
    _churn(course, unreliable=False)


def test_unreliable_churn(course: Run) -> None:
    """The same on an unreliable network."""
    _churn(course, unreliable=True)


# -- parts of them ------------------------------------------------------------------------------------------


def _restart(cluster: RaftCluster, *ids: int) -> None:
    for id in ids:
        cluster.start_server(id)
    cluster.connect(*ids)


def _start_everywhere(cluster: RaftCluster) -> int | None:
    """Ask all servers to start a command. Returns one that is connected and took it."""
    leader = None
    for id in cluster.ids:
        if cluster.start(id, cluster.number()) is not None and cluster.is_connected(id):
            leader = id
    return leader


def _sleep_a_little(cluster: RaftCluster) -> None:
    most_ms = ELECTION_S * 1000 / 2 if cluster.chance(100) else 13
    cluster.sleep(cluster.rng.randrange(int(most_ms)) / 1000)


def _agree_in_the_end(course: Run, cluster: RaftCluster) -> None:
    begun = cluster.world.now
    course.note("elections", cluster.world.count["elections"])
    cluster.one(cluster.number(), 5, retry=True)
    course.note("seconds until all agreed", cluster.world.now - begun, 10)
    cluster.end()


def _churn(course: Run, unreliable: bool) -> None:
    cluster = course.raft(5, unreliable=unreliable)
    stop: list[bool] = []
    clients = [cluster.world.spawn(_client(cluster, number, stop)) for number in range(3)]
    for _ in range(20):
        if cluster.chance(200):
            cluster.disconnect(cluster.rng.choice(cluster.ids))
        if cluster.chance(500):
            id = cluster.rng.choice(cluster.ids)
            if not cluster.is_up(id):
                cluster.start_server(id)
            cluster.connect(id)
        if cluster.chance(200):
            cluster.crash(cluster.rng.choice(cluster.ids))
        cluster.sleep(ELECTION_S * 0.7)

    cluster.sleep(ELECTION_S)
    cluster.network.unreliable = False
    for id in cluster.ids:
        if not cluster.is_up(id):
            cluster.start_server(id)
        cluster.connect(id)
    stop.append(True)
    cluster.world.wait_for(*clients)
    seen = [command for client in clients for command in client.result]
    cluster.sleep(ELECTION_S)

    last = cluster.one(cluster.number(), 5, retry=True)
    log = {cluster.wait(position, 5) for position in range(1, last + 1)}
    lost = [command for command in seen if command not in log]
    assert not lost, f"{len(lost)} commands of {len(seen)} were committed, and are not in the log"
    course.note("commands that clients saw committed", len(seen))
    cluster.end()


def _client(cluster: RaftCluster, number: int, stop: list[bool]) -> Procedure:
    """Start commands, and look for up to 0.4 s whether each is committed. Returns those that were."""
    seen: list[int] = []
    while not stop:
        command, started = cluster.number(), None
        for id in cluster.ids:
            started = cluster.start(id, command) or started
        if started is None:
            yield (79 + 17 * number) / 1000
            continue
        for wait_s in (0.01, 0.02, 0.05, 0.1, 0.2):
            if cluster.committed(started.position):
                if cluster.agreed[started.position - 1] == command:
                    seen.append(command)
                break
            yield wait_s
    return seen
