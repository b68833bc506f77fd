"""View: what a front knows of its cluster."""

import queue

import pytest
from raftkv import errors
from raftkv.http.view import View

WAIT_S = 10


def row(id, term, role="follower", **more):
    return {"id": id, "alive": True, "term": term, "role": role, "cluster_id": 7, "applied_index": 1, **more}


DEAD = {"id": 9, "alive": False, "term": None, "role": None, "cluster_id": None}


class Servers:
    """Says what the test puts into `answers`, one a round; the last one for ever."""

    def __init__(self, *answers):
        self.answers = queue.Queue()
        for answer in answers:
            self.answers.put(answer)
        self._last = []

    def status(self, timeout):
        try:
            self._last = self.answers.get_nowait()
        except queue.Empty:
            pass
        if isinstance(self._last, Exception):
            raise self._last
        return self._last


@pytest.fixture
def view_of():
    made = []

    def view_of(servers, own_id=0):
        made.append(View(servers, own_id))
        made[-1].start()
        return made[-1]

    yield view_of
    for view in made:
        view.close()


def test_view_asks_until_it_is_known_which_cluster_it_is_though_nobody_looks():
    known = queue.Queue()
    view = View(
        Servers([], [{**row(1, 1), "cluster_id": 0}], errors.AuthenticationError("x"), [DEAD, row(1, 3)]), 1
    )
    view.on_known = lambda: known.put(None)
    view.start()
    known.get(timeout=WAIT_S)
    assert (view.header(5).cluster_id, view.header(5).revision, view.header(5).raft_term) == (7, 5, 3)
    view.close()


def test_term_is_asked_for_though_nobody_looks(view_of, monkeypatch):
    monkeypatch.setattr("raftkv.http.view.IDLE_S", 0.01)
    view = view_of(Servers([row(1, 5)], [row(1, 6)]))
    terms = queue.Queue()
    view.on_round = lambda: terms.put(view.rows[0]["term"])
    assert 6 in iter(lambda: terms.get(timeout=WAIT_S), None)


def test_term_never_falls(view_of):
    servers = Servers([row(1, 5, "leader")])
    view = view_of(servers)
    view.refresh(WAIT_S)
    servers.answers.put([row(1, 4), row(2, 4, "leader")])
    view.refresh(WAIT_S)
    assert view.leader == 2
    assert view.header(1).raft_term == 5


def test_own_server_is_named_in_headers_and_else_the_leader(view_of):
    rows = [row(1, 5), row(2, 5, "leader"), row(3, 4, "leader"), DEAD]
    for own_id, expected in ((1, 1), (0, 2)):
        view = view_of(Servers(rows), own_id)
        view.refresh(WAIT_S)
        assert view.header(1).member_id == expected
        assert view.own["id"] == expected
