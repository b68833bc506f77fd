"""What a seed decides before anything happens: the cluster, its options, its clients, and what may go wrong.

Each seed turns on its own few kinds of trouble (swarm testing): runs in which everything happens at once hide
what only shows when one kind is rare.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from raftkv.client import watch_session
from raftkv.config import RaftOptions
from raftkv.kvdb import history, history_yield, watch_cursor
from raftkv.kvdb import session_table as sessions
from raftkv.node import applier, snapshotter
from raftkv.storage import snapshot_file

MANY = 1 << 30
SIZES = (1, 2, 3, 3, 3, 4, 5, 5, 6, 7)  # of clusters, to choose from

#: name -> (options, other fields, kinds of faults). One of each list is chosen.
PROFILES: dict[str, tuple[dict[str, list[int]], dict[str, list[Any]], tuple[str, ...]]] = {
    # leaders come and go before they have told anybody, logs diverge (paper figures 7 and 8): it takes many
    # elections, so little else happens; and somebody else must lead before who was killed is back
    "elections": (
        {"max_append_bytes": [50], "max_inflight_appends": [1, 1, 4]},
        {
            "events": [4000, 8000, 8000],
            "fault_every_s": [0.15],
            "faults_at_once": [1],
            "restart_s": [(0.1, 1.0), (1.0, 2.0)],
            "delay_s": [0.03],
            "tail": [0.0],
            "loss": [0.0],
            "sync_s": [0.0005, 0.003],
            "clock_rates": [(1.0, 1.0)],
            "clients": [2],
            "think_s": [0.2],
            "data_clients": [0],
            "holders": [0, 2],
            "watchers": [0],
            "late_requests": [False],
        },
        ("ambush",),
    ),
    # a leader that is none any more goes on to answer reads
    "old leaders": (
        {},
        {
            "delay_s": [0.0005, 0.002],
            "sync_s": [0.0005, 0.003],
            "clients": [5],
            "window": [3],
            "keys": [["k0"]],
            "think_s": [0.01],
            "clock_rates": [(1.0, 1.0)],
        },
        ("left_alone",),
    ),
    # much is on its way to the disk when something happens
    "slow disks": (
        {"heartbeat_interval_ms": [50], "max_append_bytes": [50, 300]},
        {
            "sync_s": [0.02, 0.1, 0.4],
            "doubling": [0.1, 0.3],
            "bias": [0.0, 0.5],
            "delay_s": [0.002],
            "restart_s": [(0.01, 0.1)],
        },
        (
            "slow_disk",
            "hung_disks",
            "crash",
            "crash_after_a_message",
            "crash_after_a_replacement",
            "ambush",
            "flood",
        ),
    ),
    # members come and go, and disks are lost, or come back as they were before
    "members": (
        {"heartbeat_interval_ms": [50], "replace_after_ms": [300, 1000]},
        {
            "fault_every_s": [0.4, 1.0],
            "restart_s": [(0.01, 0.1)],
            "sync_s": [0.0005, 0.003],
            "spares": [1, 2],
        },
        (
            "transfer",
            "added_member",
            "removed_member",
            "replaced_member",
            "moved_member",
            "old_copy",
            "clone",
            "shortened_log",
            "lost_disk",
            "crash",
            "orderly_stop",
        ),
    ),
    # followers always need a snapshot, and get it late, twice and in disorder
    "snapshots": (
        {"max_raft_state": [300, 600], "snapshot_chunk_bytes": [200, 500, MANY], "segment_bytes": [200]},
        {
            "ordered": [False],
            "tail": [0.05, 0.2],
            "sync_s": [0.003, 0.02, 0.1],
            "doubling": [0.1, 0.3],
            "think_s": [0.01],
            "restart_s": [(0.1, 1.0)],
        },
        ("partition", "one_way_cut", "pause", "crash", "flood_at_an_install", "slow_disk"),
    ),
}


class Plan:
    """All is fixed by `seed`, and by `sizes`: the cluster sizes to choose from. Times are in seconds. `places`:
    servers die there, of all the places with a name; every other seed brings followers that need a snapshot."""

    def __init__(
        self,
        seed: int,
        sizes: Sequence[int] = SIZES,
        events: int | None = None,
        places: Sequence[str] = (),
    ) -> None:
        self.seed = seed
        rng = random.Random(f"{seed}/plan")
        self.servers = rng.choice(list(sizes))  # that found the cluster
        self.spares = random.Random(f"{seed}/spares").choice([0, 0, 1, 2])  # machines that may join it
        self.events = rng.choice([2000, 4000, 8000])  # before the faults end
        self.options = _options(rng, seed)
        self.in_step = rng.random() < 0.3  # all tick at the same moments, so that elections collide
        self.tick_s = self.options.heartbeat_interval_ms / 1000 * rng.uniform(0.3, 1.0)
        self.constants = _constants(rng)
        if random.Random(f"{seed}/history").random() < 0.3:  # drawn apart, too
            self.constants += [(history, "MAX_EVENTS", 60), (history, "BLOCK_EVENTS", 5)]
        # the network
        self.encoded = rng.random() < 0.3  # messages pass through their wire form
        self.ordered = rng.random() < 0.5  # what leaves first on a link arrives first, as with TCP
        self.letters = rng.random() < 0.3  # Raft messages outlive the connection that they left on
        self.delay_s = rng.choice([0.0005, 0.002, 0.01, 0.03])
        self.tail = rng.choice([0.0, 0.01, 0.05])  # how many messages take far longer
        self.loss = rng.choice([0.0, 0.0, 0.01, 0.05])
        self.doubling = rng.choice([0.0, 0.02, 0.1])
        self.batching = rng.choice([0.0, 0.2, 0.5])  # how often what arrives waits for what comes next
        # the disks
        self.write_s = rng.choice([0.0, 0.0002])
        self.sync_s = rng.choice([0.0005, 0.003, 0.02])
        self.reorders = rng.random() < 0.3  # unsynced names survive a power cut in any subset
        self.preemption = rng.choice(
            [0.0, 0.05, 0.3]
        )  # how often a thread stops at a crash point for a moment
        # Drawn apart, so that all else is as it was before this was there.
        self.reserve_bytes = random.Random(f"{seed}/reserve").choice([0, 1000, 4000])
        # the clients
        self.clients = rng.choice([2, 3, 5])
        self.data_clients = random.Random(f"{seed}/data").choice([0, 1, 2])
        self.window = rng.choice([1, 1, 3])  # commands of a client under way at once
        self.keys = [f"k{n}" for n in range(rng.choice([1, 3, 6]))]
        self.think_s = rng.choice([0.01, 0.05, 0.2])
        self.late_requests = random.Random(f"{seed}/late").random() < 0.3
        self.timeout_s = rng.choice([1.0, 4.0, 10.0])
        # the watchers; drawn apart
        watching = random.Random(f"{seed}/watching")
        self.watchers = watching.choice([0, 0, 2, 4])
        if self.watchers:
            most = watching.choice([40, 40, 400, 100_000])
            self.constants += [(history, "MAX_EVENTS", most), (history, "BLOCK_EVENTS", most // 10)]
            self.constants += [
                (watch_cursor, "PIECE_EVENTS", watching.choice([2, 1000])),
                (watch_cursor, "WINDOW", window := watching.choice([300, 256 << 10])),
                (watch_session, "WINDOW", window),
            ]
        self.holders = random.Random(f"{seed}/holding").choice([0, 0, 2, 3])  # who want the same lock
        # the faults
        self.clock_rates = rng.choice([(1.0, 1.0), (0.95, 1.05), (0.5, 2.0)])
        self.restart_s = rng.choice([(0.01, 0.1), (0.1, 1.0)])
        self.bias = rng.choice([0.0, 0.3, 0.7])  # how often a fault that strikes a server strikes the leader
        self.late_starts = rng.random() < 0.2
        self.fault_every_s = rng.choice([0.15, 0.4, 1.0])
        self.faults_at_once = rng.choice([1, 1, 2, 4])  # of those that last
        self.enabled = rng.random() * 0.7 + 0.15  # the share of the kinds of faults that may happen
        self.profile = rng.choice([*PROFILES, "elections", "mixed", "mixed"])
        self.kinds: tuple[str, ...] = ()  # of faults, that may happen in any case, and often
        if places and seed % 2:
            self.profile = "snapshots"  # some places are hardly reached without one that is received
        self._apply_profile(rng)
        if events is not None:
            self.events = events
        self.places = places
        if places:
            self.kinds += ("crash_at_a_point",)

    def _apply_profile(self, rng: random.Random) -> None:
        """Some of the rarest events need several things at once; these seeds bring them together."""
        if self.profile == "mixed":
            return
        options, fields, self.kinds = PROFILES[self.profile]
        self.options = dataclasses.replace(
            self.options, **{name: rng.choice(choice) for name, choice in options.items()}
        )
        for name, choice in fields.items():
            setattr(self, name, rng.choice(choice))
        self.enabled = rng.choice([0.0, 0.0, 0.2])

    def __str__(self) -> str:
        o = self.options
        return (
            f"{self.profile}: {self.servers} servers and {self.spares} to join, {self.clients} clients x {self.window}, "
            f"{len(self.keys)} keys, "
            f"max_raft_state={o.max_raft_state}, segment={o.segment_bytes}, chunk={o.snapshot_chunk_bytes}, "
            f"append={o.max_append_bytes} x {o.max_inflight_appends}, "
            f"loss={self.loss}, doubling={self.doubling}, {'ordered' if self.ordered else 'unordered'}, "
            f"sync={self.sync_s} s, a fault every {self.fault_every_s} s"
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The product's constants that this seed makes small, for as long as it runs."""
        before = [(module, name, getattr(module, name)) for module, name, _ in self.constants]
        try:
            for module, name, value in self.constants:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


def _options(rng: random.Random, seed: int) -> RaftOptions:
    values: dict[str, list[int]] = {
        "heartbeat_interval_ms": [50, 100, 150],
        "max_raft_state": [-1, 500, 1500, 1500, 4000, 20_000],
        "max_append_bytes": [100, 400, MANY],
        "max_inflight_appends": [1, 2, 4, 16],
        "max_inflight_bytes": [300, 2000, MANY],
        "max_uncommitted_bytes": [500, 4000, MANY, MANY],
        "segment_bytes": [200, 1000, 8000],
        "snapshot_chunk_bytes": [500, 1500, MANY],
    }
    return RaftOptions(
        election_timeout_ms=500,
        # Drawn apart, so that all else is as it was before these options were there.
        snapshot_growth_percent=random.Random(f"{seed}/growth").choice([0, 0, 100]),
        replace_after_ms=random.Random(f"{seed}/replace").choice([300, 1000, 3000]),
        **{name: rng.choice(choice) for name, choice in values.items()},
    )


def _constants(rng: random.Random) -> list[tuple[Any, str, int]]:
    """(module or class, name, value)."""
    return [
        (snapshotter, "SNAPSHOT_CHUNK_KEYS", rng.choice([1, 3, 500])),
        (applier, "WORK_S", 0.0),  # no time passes while a simulated server works
        (applier, "MANY_BYTES", rng.choice([100, 1 << 17])),
        (history_yield, "WORTH_BYTES", 200),
        (sessions, "MAX_SESSIONS", rng.choice([3, 10_000, 10_000])),
        (snapshot_file.SnapshotWriter, "WRITE_EVERY", rng.choice([50, 1 << 18])),
        (snapshot_file.SnapshotWriter, "SYNC_EVERY", rng.choice([200, 4 << 20])),
    ]
