"""View: what a front knows of its cluster, asked for by a thread of its own: often while there are requests, else seldom.

It feeds the headers of answers, status, health and metrics. The term that it tells never falls.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable, Protocol

from raftkv import errors
from raftkv.http.etcd.kv_messages import Header
from raftkv.threads import start_thread

log = logging.getLogger("raftkv.http")

FRESH_S = 0.25  # what is older is asked for anew, when it is needed
WATCHED_S = 1.0  # how often the servers are asked while somebody watches
IDLE_S = 5.0  # and while nobody asks anything, so that the first one who does is not told a term of long ago
REFRESH_S = 1.0  # how long an answer waits for what is asked for anew
_TIMEOUT_S = 0.5

Row = Mapping[str, Any]  # of status()


class Cluster(Protocol):
    """What is needed of a Clerk."""

    def status(self, timeout: float) -> list[dict[str, Any]]: ...


class View:
    """`own_id`: of the server whose front this is; 0: of none, then the leader is taken. Thread-safe."""

    def __init__(self, cluster: Cluster, own_id: int = 0) -> None:
        self._cluster, self._own_id = cluster, own_id
        self._header = Header()
        self.asked_at = 0.0  # when the servers were asked last, by time.monotonic()
        self._is_wanted = threading.Event()
        self._is_known = threading.Event()
        self._is_closed = self._has_warned = False
        #: Called once, on the thread that asks, when it is known which cluster this is.
        self.on_known: Callable[[], None] = lambda: None
        #: Called on that thread, each time when the servers have been asked.
        self.on_round: Callable[[], None] = lambda: None
        self._is_watched = False
        self._answered = threading.Condition()
        self._rounds = 0  # that are through
        self._is_asking = False
        self.rows: list[dict[str, Any]] = []  # of all servers that are known

    def start(self) -> None:
        """Begin to ask. Raises ResourceError."""
        self._is_wanted.set()
        start_thread(self._ask_on, "view")

    def close(self) -> None:
        """Ask no more."""
        self._is_closed = True
        self._is_wanted.set()

    @property
    def is_known(self) -> bool:
        """Whether any server has said yet which cluster this is."""
        return self._is_known.is_set()

    def header(self, revision: int) -> Header:
        """Of an answer that was given at `revision`."""
        self.touch()
        known = self._header
        return Header(known.cluster_id, known.member_id, revision, known.raft_term)

    def touch(self) -> None:
        """Somebody looks: what is old is asked for anew."""
        if time.monotonic() > self.asked_at + FRESH_S and not self._is_wanted.is_set():
            self._is_wanted.set()

    def watch(self, is_watched: bool) -> None:
        """Whether somebody wants to know all the time."""
        self._is_watched = is_watched
        if is_watched:
            self._is_wanted.set()

    def refresh(self, timeout_s: float) -> None:
        """Wait until a round that begins from now on is through, or the timeout."""
        with self._answered:
            enough = self._rounds + (2 if self._is_asking else 1)
            self._is_wanted.set()
            self._answered.wait_for(lambda: self._rounds >= enough, timeout_s)

    # -- what the servers said -------------------------------------------------------------------------------

    @property
    def own(self) -> Row | None:
        """The row of the own server; for a front that has none, of the leader."""
        wanted = self._own_id or self.leader
        return next((row for row in self.rows if row["id"] == wanted and row["alive"]), None)

    @property
    def leader(self) -> int | None:
        """The id of who leads in the highest term that is known."""
        leading = [row for row in self.rows if row["alive"] and row["role"] == "leader"]
        return max(leading, key=lambda row: row["term"])["id"] if leading else None

    @property
    def members(self) -> list[Row]:
        """The rows of MemberAdmin.list(), from whoever has applied most."""
        told = [row for row in self.rows if row["alive"] and row.get("members")]
        if not told:
            return []
        newest = max(told, key=lambda row: (row["term"], row["role"] == "leader", row["applied_index"]))
        return list(newest["members"])

    # -- the thread ------------------------------------------------------------------------------------------

    def _ask_on(self) -> None:
        while not self._is_closed:
            # Until it is known which cluster this is, answers wait for that, and nobody asks again.
            self._is_wanted.wait(WATCHED_S if self._is_watched else IDLE_S if self.is_known else FRESH_S)
            with self._answered:
                self._is_wanted.clear()
                self._is_asking = True
            self._ask()
            with self._answered:
                self._is_asking = False
                self._rounds += 1
                self._answered.notify_all()
            self.on_round()

    def _ask(self) -> None:
        self.asked_at = time.monotonic()
        try:
            rows = self._cluster.status(timeout=_TIMEOUT_S)
        except errors.RaftKVError as error:
            if not self._is_closed:
                if not self._has_warned:
                    log.warning("the servers do not say how they are: %s", error)
                self._has_warned = True
                time.sleep(FRESH_S)
            return
        self._has_warned = False
        self.rows = rows
        alive = [row for row in rows if row["alive"]]
        clusters = [row["cluster_id"] for row in alive if row.get("cluster_id")]
        if not clusters:
            return
        term = max([self._header.raft_term, *(row["term"] for row in alive)])
        self._header = Header(clusters[0], self._own_id or self.leader or 0, 0, term)
        if not self._is_known.is_set():
            self._is_known.set()
            self.on_known()
