"""One run: a cluster, its clients, the nemesis, and the verdict."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from raftkv import Clerk
from raftkv.errors import NoSpaceError, RaftKVError

from tests.chaos.client import COUNTER_PERIOD_S, KEYS, PERIOD_S
from tests.chaos.cluster import ChaosCluster
from tests.chaos.data_client import events_of, judge, read_asked
from tests.chaos.launcher import bound_history
from tests.chaos.nemesis import Nemesis
from tests.chaos.recorder import Recorder, merge, outcomes
from tests.chaos.resources import Resources
from tests.chaos.verdict import check_counters, check_histories, check_logs, check_terms
from tests.chaos.watchers import Watchers
from tests.cluster.node import ROOT
from tests.cluster.waiting import wait_until
from tests.linearizability.store_model import Changes

CLIENT_PROCESSES = 2
TURN_S = 0.05
SAMPLE_EVERY_S = 1.0
PROGRESS_EVERY_S = 15.0
RECOVERY_S = 60.0  # after the last fault, on a machine that does other things as well


class Report(NamedTuple):
    """What a run was, in lines for people, and what was wrong with it, in sentences. `compared`: it was long
    enough to tell whether anything grows."""

    lines: list[str]
    problems: list[str]
    compared: bool


class Clients:
    """The processes of clients. Their histories are in `folder`."""

    def __init__(self, folder: Path, ini: Path, seed: int, began: float) -> None:
        self.histories: list[Path] = []
        self.asked: list[Path] = []  # of the clients that use all of the database
        self._processes: list[subprocess.Popen] = []
        self._folder = folder
        for name in "ABCDEFGH"[:CLIENT_PROCESSES]:
            history = folder / f"history-{name}.jsonl"
            asked = folder / f"asked-{name}.jsonl"
            options = ["--name", name, "--history", str(history), "--asked", str(asked)]
            options += ["--began", str(began), "--seed", str(seed)]
            with open(folder / f"client-{name}.log", "wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.client_process", str(ini), *options],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
            self.histories.append(history)
            self.asked.append(asked)
            self._processes.append(process)

    def expect_running(self) -> None:
        for process in self._processes:
            assert process.poll() is None, f"a client ended by itself:\n{self._logs()}"

    def sizes(self) -> list[int]:
        """How long the histories are now, in bytes."""
        return [history.stat().st_size if history.exists() else 0 for history in self.histories]

    def answered_since(self, sizes: Sequence[int]) -> bool:
        """Was any operation answered since sizes() was `sizes`? Fails if a client has ended."""
        self.expect_running()
        for history, size in zip(self.histories, sizes):
            if history.exists():
                with open(history, "rb") as file:
                    file.seek(size)
                    if b'"type": "ok"' in file.read():
                        return True
        return False

    def stop(self) -> None:
        """Let each client end its last operation."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            assert process.wait(30) == 0, f"a client failed:\n{self._logs()}"

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def _logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self._folder.glob("client-*.log"))


class Run:
    """`say` gets a progress line now and then. The files go to `folder`, and stay there."""

    def __init__(
        self, folder: Path, seconds: float, nodes: int, seed: int, say: Callable[[str], None]
    ) -> None:
        self._folder, self._seconds, self._nodes, self._seed, self._say = folder, seconds, nodes, seed, say
        self._problems: list[str] = []
        self._lines: list[str] = []
        self._began = time.monotonic()
        self._next_sample = 0.0
        self._length_s = 0.0  # of the run, up to the end of the last fault
        self._resources = Resources(dict)

    def run(self) -> Report:
        """Everything from the first start to the verdict. No process is left, whatever happens."""
        cluster = ChaosCluster(self._folder, self._nodes, self._seed)
        with open(self._folder / "faults.log", "w", encoding="utf-8") as self._fault_log:
            try:
                self._run_cluster(cluster)
            except (AssertionError, RaftKVError) as error:
                self._problems.append(str(error) or repr(error))
            except Exception:  # a fault of this harness: the folder is to be kept as well
                self._problems.append(traceback.format_exc())
            finally:
                cluster.close()
        self._judge_logs(cluster)
        return Report(self._lines, self._problems, self._resources.comparable(self._length_s))

    def _run_cluster(self, cluster: ChaosCluster) -> None:
        cluster.begin()
        cluster.wait_for_leader()
        self._began = time.monotonic()
        self._resources = Resources(cluster.processes)
        clients = Clients(self._folder, cluster.client_ini, self._seed, self._began)
        watchers = Watchers(str(cluster.client_ini))
        try:
            self._rage(cluster, clients)
            self._recover(cluster, clients)
            clients.stop()
            with cluster.clerk() as db:
                line, problems = watchers.judge(db)
            self._lines.append(line)
            self._problems += problems
        finally:
            clients.close()
            watchers.close()
        final = self._folder / "history-final.jsonl"
        counters = self._read_last(cluster, final)
        cluster.stop(*cluster.nodes)
        self._compare_disks(cluster)
        self._judge_histories(merge([*clients.histories, final]), counters)
        self._judge_revisions(clients.asked, watchers.told, cluster.nodes[1].data_dir)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    # -- the storm -------------------------------------------------------------------------------------------

    def _rage(self, cluster: ChaosCluster, clients: Clients) -> None:
        """All faults, until the time is over; then the last ones end."""
        wait_until(lambda: clients.answered_since([0] * CLIENT_PROCESSES), "the first operation of a client")
        nemesis = Nemesis(cluster, self._seed, self._seconds, self._note)
        end_s = self._elapsed_s() + self._seconds
        next_progress = PROGRESS_EVERY_S

        def idle() -> None:
            clients.expect_running()
            self._sample()
            time.sleep(TURN_S)

        try:
            while self._elapsed_s() < end_s:
                nemesis.turn()
                idle()
                if self._elapsed_s() >= next_progress:
                    next_progress += PROGRESS_EVERY_S
                    self._say(f"{self._elapsed_s():4.0f} s: {sum(nemesis.faults.values())} faults")
            nemesis.wind_down(idle)
        finally:
            self._length_s = self._elapsed_s()
            self._lines.append(
                f"{sum(nemesis.faults.values())} faults in {self._length_s:.0f} s: {nemesis.summary}"
            )
            seen = cluster.proxy
            self._lines.append(
                f"frames between peers: {seen.frames}, of which {seen.lost_frames} were lost, "
                f"and {seen.cut_frames} cut in the middle"
            )

    def _note(self, fault: str) -> None:
        print(f"{self._elapsed_s():7.1f} s  {fault}", file=self._fault_log, flush=True)

    def _sample(self) -> None:
        if self._elapsed_s() >= self._next_sample:
            self._next_sample = self._elapsed_s() + SAMPLE_EVERY_S
            self._resources.sample(self._elapsed_s())

    # -- afterwards ------------------------------------------------------------------------------------------

    def _recover(self, cluster: ChaosCluster, clients: Clients) -> None:
        """Without faults there must be a leader soon, all nodes must catch up, and clients must be served."""
        healed = time.monotonic()
        with cluster.clerk(RECOVERY_S) as db:
            wait_until(lambda: has_room(db), "the alarm of the last full disk to end", RECOVERY_S)
        served_s = time.monotonic() - healed
        cluster.wait_for_leader()
        for id in cluster.nodes:
            cluster.wait_until_caught_up(id)
        before = clients.sizes()
        wait_until(lambda: clients.answered_since(before), "clients to be answered after the last fault")
        self._lines.append(
            f"after the last fault: a put was answered within {served_s:.1f} s, "
            f"and every node had caught up within {time.monotonic() - healed:.1f} s"
        )

    def _read_last(self, cluster: ChaosCluster, path: Path) -> dict[str, Any]:
        """Read the newest keys once more, on record; and the counters."""
        period = int(self._elapsed_s() / PERIOD_S)
        with open(path, "w", encoding="ascii") as file, cluster.clerk() as db:
            recorder = Recorder(file)
            for key in (
                f"k{number}-{p}" for p in range(max(0, period - 2), period + 1) for number in range(KEYS)
            ):
                recorder.invoke("final", "get", key, None)
                recorder.end("final", "ok", "get", key, db.get(key))
            names = (f"count-{number}" for number in range(int(self._elapsed_s() / COUNTER_PERIOD_S) + 1))
            return {name: db.get(name) for name in names}

    def _compare_disks(self, cluster: ChaosCluster) -> None:
        """All nodes, which have stopped, must hold the same data, each on its own disk."""
        data = {id: cluster.stored_data(id) for id in cluster.nodes}
        for id in cluster.nodes:
            if data[id] != data[1]:
                keys = sorted(key for key in {*data[id], *data[1]} if data[id].get(key) != data[1].get(key))
                self._problems.append(f"the disks of nodes 1 and {id} differ in {keys[:5]}")

    # -- the verdict -----------------------------------------------------------------------------------------

    def _judge_histories(self, events: list[dict[str, Any]], counters: dict[str, Any]) -> None:
        ok, failed, unknown = outcomes(events)
        self._say(f"checking {ok + failed + unknown} operations")
        started = time.monotonic()
        histories = check_histories(events, self._folder, self._say)
        counted = check_counters(events, counters)
        self._problems += histories.problems + counted.problems
        good, took_s = histories.keys - len(histories.problems), time.monotonic() - started
        self._lines += [
            f"{ok + failed + unknown} operations: {ok} ok, {failed} failed without effect, {unknown} unknown",
            f"linearizable: {good} of {histories.keys} keys, checked in {took_s:.1f} s",
            f"exactly once: {counted.keys} counters, {len(counted.problems)} problems",
        ]

    def _judge_revisions(self, files: list[Path], told: dict[int, Changes], data_dir: Path) -> None:
        """The newest revisions no watcher was told of: it was closed before."""
        started = time.monotonic()
        bound_history()
        result = judge(read_asked(files), {**events_of(data_dir), **told})
        self._problems += result.problems
        self._lines.append(f"by revisions: {result.summary}, checked in {time.monotonic() - started:.1f} s")

    def _judge_logs(self, cluster: ChaosCluster) -> None:
        logs = {id: node.log for id, node in cluster.nodes.items()}
        terms = check_terms(logs)
        tracebacks = check_logs(logs)
        self._problems += terms.problems + tracebacks
        self._lines.append(
            f"elections won: {terms.keys}, never two in a term: {'no' if terms.problems else 'yes'}; "
            f"nodes whose log shows a traceback or a broken invariant: {len(tracebacks)}"
        )
        if self._length_s:
            self._lines += self._resources.table(self._length_s)
            self._problems += self._resources.growing(self._length_s)


def processes_left(folder: Path) -> list[int]:
    """Processes that have `folder` in their command line. Linux only; elsewhere none are seen."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdecimal() and int(name) != os.getpid():
            try:
                command = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            if os.fsencode(folder) in command:
                found.append(int(name))
    return found


def has_room(db: Clerk) -> bool:
    """Whether a put is taken. The alarm of a full disk lasts for a moment after there is room again."""
    try:
        db.put("after-all", "v")
    except NoSpaceError:
        return False
    return True
