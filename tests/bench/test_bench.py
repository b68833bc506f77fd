"""kvbench as a program, against real servers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys

import pytest
from raftkv import Clerk
from raftkv.bench.arguments import parse
from raftkv.bench.errors import BenchError, WrongAnswerError
from raftkv.bench.load import Job
from raftkv.bench.operations import blocking, chooser, load_keys, source
from raftkv.bench.processes import ClientProcesses
from raftkv.bench.workloads import OPERATIONS, Workload
from raftkv.cli.cluster_files import prepare_folder
from raftkv.cli.nodes import LocalCluster
from raftkv.config import load_server_config
from raftkv.errors import ConfigError

from tests.cluster.waiting import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCH = os.path.join(ROOT, "bin", "kvbench.py")
PATIENCE_S = 60.0
SECONDS = 0.25
SHAPE = ["--keys", "40", "--clients", "2", "--processes", "1"]
SHORT = ["--json", "--seconds", str(SECONDS), "--warmup", "0", *SHAPE]


def kvbench(*args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, BENCH, *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
    )


def results(done: subprocess.CompletedProcess):
    """The lines of JSON of a run in which all was well."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def nodes(folder, *started: int, of: int = 3):
    """A cluster `of` three of which these run; yields its client.ini."""
    files = prepare_folder(str(folder), of)
    for ini in files.server_inis.values():
        with open(ini, "a") as file:
            file.write("[raft]\nelection_timeout_ms = 250\n")
        load_server_config(ini).load_keys()
    inis = {node: ini for node, ini in files.server_inis.items() if node in started}
    with LocalCluster(inis, lambda node, line: None):
        yield files.client_ini


@pytest.fixture(scope="module")
def client_ini(tmp_path_factory):
    with nodes(tmp_path_factory.mktemp("running") / "cluster", 1, 2, 3) as ini:
        with Clerk.from_config(ini, timeout=PATIENCE_S) as clerk:
            clerk.put("mine", "untouched")
        yield ini
        with Clerk.from_config(ini) as clerk:
            assert clerk.get("mine") == "untouched"


@pytest.fixture(scope="module")
def lone_ini(tmp_path_factory):
    """Of one server, which nobody makes lose its leadership: each entry of its log is one that a client asked for."""
    with nodes(tmp_path_factory.mktemp("lone") / "cluster", 1, of=1) as ini:
        with Clerk.from_config(ini, timeout=PATIENCE_S) as clerk:
            clerk.put("mine", "untouched")
        yield ini


def test_a_cluster_of_its_own_is_measured_hurt_and_removed(tmp_path):
    shape = ["--clients", "6", "--connections", "2", "--seconds", "1", "--warmup", "0.1"]
    own = ["--local", "3", "--data-dir", str(tmp_path), "--set", "raft.election_timeout_ms=400"]
    done = kvbench(*own, "outage", "put", *shape, "--idle", "2", "--json")
    outage, put = results(done)
    assert 0 < outage["recovery_ms"] < 700 and outage["worst_gap_ms"] > 5
    assert "the leader was killed" in done.stderr
    assert (put["peer"], put["nodes"], put["op"], put["clients"]) == ("raftkv", 3, "put", 6)
    assert (put["connections"], put["processes"], put["value_size"], put["batch"]) == (2, 2, 16, 1)
    assert (put["errors"], put["errors_by_kind"], put["seconds"]) == (0, {}, 1.0)
    assert put["ops_per_s"] > 20 and "worst_gap_ms" not in put
    latencies = [put[f"{name}_us"] for name in ("p50", "p90", "p99", "p999", "max")]
    assert 10 < latencies[0] and latencies == sorted(latencies) and latencies[-1] <= 1e6
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_counted_that_is_not_in_the_log(client_ini):
    with Clerk.from_config(client_ini) as clerk:
        before = commit_index(clerk)
        threads, callbacks, batches = results(
            kvbench("--config", client_ini, "put", "inflight", "batch", *SHORT)
        )
        entries = commit_index(clerk) - before
    assert (threads["in_flight"], callbacks["in_flight"], batches["batch"]) == (1, 1000, 100)
    assert threads["errors"] == callbacks["errors"] == batches["errors"] == 0
    requests = [line["ops_per_s"] * SECONDS / line["batch"] for line in (threads, callbacks, batches)]
    assert all(count > 0 and count == pytest.approx(round(count)) for count in requests)
    assert sum(requests) <= entries  # what is answered before the beginning and after the end does not count


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op != "watch"])  # see fanout.py
def test_each_operation_finds_the_keys_that_were_loaded(lone_ini, op):
    with Clerk.from_config(lone_ini) as clerk:
        workload = Workload(op, op, keys=40)
        shown = []
        load_keys(clerk, workload, shown.append)
        assert (shown[0], shown[-1]) == (0, 40)
        rng = random.Random(1)
        call = blocking(clerk, workload, source(workload, chooser(workload, rng), rng))
        before = commit_index(clerk)
        for _ in range(50):
            call()
        written = commit_index(clerk) - before
        assert [row[0] for row in clerk.scan("bench/0000")] == [f"bench/{at:06d}" for at in range(40)]
    assert {"get": written == 0, "scan": written == 0, "mixed": 0 < written < 50}.get(op, written == 50)


def test_a_batch_is_as_many_operations_as_it_says(client_ini):
    def carry_out(op: str) -> None:
        numbers = itertools.count(1000)
        workload = Workload("batch", op, batch=30, value_size=3)
        blocking(clerk, workload, source(workload, lambda: next(numbers), random.Random(1)))()

    with Clerk.from_config(client_ini) as clerk:
        for op, value in (("put", "xxx"), ("append", "xxxxxx")):
            carry_out(op)
            rows = clerk.scan("bench/001")
            assert [row[:2] for row in rows] == [(f"bench/{at:06d}", value) for at in range(1000, 1030)]
            revisions = [revision for _, _, revision in rows]
            assert revisions == list(range(revisions[0], revisions[0] + 30))
        with pytest.raises(WrongAnswerError, match="does not hold the value"):
            carry_out("cas")


def commit_index(clerk: Clerk) -> int:
    return max(server["commit_index"] for server in clerk.status())


def test_a_table_for_people(client_ini):
    done = kvbench("--config", client_ini, "get", *SHORT[1:], "--quiet")
    heading, row = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert heading.split()[:2] == ["workload", "clients"] and row.split()[:4] == ["get", "2", "16", "1"]
    assert len(heading) == len(row)


def test_a_comparison_holds_workloads_against_the_machine(client_ini):
    floor, put = results(kvbench("--config", client_ini, "--compare", "put", *SHORT))
    assert floor["peer"] == "floor" and floor["put1_us"] == pytest.approx(
        floor["fsync_us"] + 2 * floor["round_trip_us"], abs=0.3
    )
    assert floor["echo_per_s"] > floor["echo_fsync_per_s"] > 0
    assert put["floor"] == "echo+fsync"
    assert put["ratio_to_floor"] == pytest.approx(put["ops_per_s"] / floor["echo_fsync_per_s"], abs=0.01)


# -- failures are never silent -------------------------------------------------------------------------------


def test_operations_that_fail_are_counted_by_kind_and_end_with_status_1(client_ini):
    """A value grows beyond what the database stores: from the second append on, all are refused."""
    done = kvbench("--config", client_ini, "append", *SHORT, "--keys", "1", "--value-size", "800000")
    (line,) = [json.loads(text) for text in done.stdout.splitlines()]
    assert done.returncode == 1
    assert line["errors"] > 0 and line["errors_by_kind"] == {"InvalidRequestError": line["errors"]}
    assert f"kvbench: append: {line['errors']} failed with InvalidRequestError" in done.stderr
    with Clerk.from_config(client_ini) as clerk:
        clerk.delete("bench/000000")


def test_a_wrong_answer_is_a_failure(client_ini):
    """A key that was loaded is not there, because somebody deletes it again and again."""
    command = [sys.executable, BENCH, "--config", client_ini, "get", *SHORT, "--keys", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Clerk.from_config(client_ini) as clerk, subprocess.Popen(command, text=True, **pipes) as process:
        while process.poll() is None:
            clerk.delete("bench/000000")
        out, err = process.communicate()
    assert process.returncode == 1
    assert json.loads(out)["errors_by_kind"].get("WrongAnswerError", 0) > 0
    assert "a key that was written before is not there" in err


def test_ctrl_c_prints_what_was_measured_so_far_and_leaves_nothing_behind(tmp_path):
    command = [sys.executable, BENCH, "--local", "1", "--data-dir", str(tmp_path), "put", "get", "--seconds",
               "60", "--warmup", "0", "--json"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.fullmatch(r"put +\d+\.0 s +[\d,]+/s   p50 .*   p99 .*   node 1 leads\n", line):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    (line,) = [json.loads(text) for text in out.splitlines()]
    assert line["interrupted"] and 1 <= line["seconds"] < 60 and line["ops_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_clients_that_dies_spoils_the_run(client_ini):
    job = Job(client_ini, Workload("put", "put").resolved(), [1], 0, 1, 0.25, 4)
    with ClientProcesses([job]) as clients:
        clients.wait_until_ready()
        clients._processes[0].kill()
        with pytest.raises(BenchError, match="exit status -9: there is no result"):
            list(clients.reports())


def test_clients_that_cannot_connect_say_why(tmp_path):
    job = Job(str(tmp_path / "nowhere.ini"), Workload("put", "put").resolved(), [1], 0, 1, 0.25, 4)
    why = "a client cannot use the cluster: ConfigError: .*nowhere.ini"
    with ClientProcesses([job]) as clients, pytest.raises(BenchError, match=why):
        clients.wait_until_ready()


@pytest.mark.parametrize(
    "args, words",
    [
        (["put"], "one of the arguments --local --config is required"),
        (["--local", "0"], "must be a whole number from 1 to 99, not '0'"),
        (["--local", "1", "--seconds", "0"], "must be a number of seconds from 0.1 to 86400, not '0'"),
        (["--local", "1", "--set", "node.id=1"], "must be raft.OPTION=VALUE or limits.OPTION=VALUE"),
    ],
)
def test_bad_usage_ends_with_the_usage_and_one_line(args, words, capsys):
    with pytest.raises(SystemExit) as end:
        parse(args)
    assert end.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "args, words",
    [
        (["--local", "3", "put2"], "no workload named 'put2'"),
        (["--config", "x.ini", "--kill-leader"], "a leader is killed only in a cluster of our own"),
        (["--config", "x.ini", "--set", "raft.segment_bytes=1"], "--set is for a cluster of our own"),
    ],
)
def test_options_that_do_not_go_together_are_refused(args, words):
    with pytest.raises(ConfigError, match=words):
        parse(args)


@pytest.mark.parametrize(
    "args, words",
    [
        (["--local", "1", "--set", "raft.foo=1"], "[raft] foo: unknown option"),
        (["--local", "1", "--data-dir", "/nowhere"], "/nowhere: No such file or directory"),
        (["--config", "nowhere.ini"], "nowhere.ini"),
    ],
)
def test_bad_input_is_one_clear_line(args, words):
    done = kvbench(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "started, words", [((), "no server answers at"), ((1,), "1 of 3 servers answer, and none leads")]
)
def test_a_cluster_that_cannot_work_is_said_to_be_so(tmp_path, started, words):
    with nodes(tmp_path / "cluster", *started) as ini:
        with Clerk.from_config(ini) as clerk:
            wait_until(lambda: sum(one["alive"] for one in clerk.status()) == len(started), "the nodes")
        done = kvbench("--config", ini, "put")
    assert (done.returncode, done.stdout) == (3, "")
    assert words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc")
def test_two_trees_in_turns_are_compared_by_rate_and_processor_time():
    command = [sys.executable, "-m", "raftkv.bench.pairs", ROOT, "put1"]
    done = subprocess.run(
        [*command, "--pairs", "1", "--seconds", "0.2", "--nodes", "1"], cwd=ROOT, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    name, *figures = done.stdout.decode().splitlines()[1].replace(",", "").split()
    assert name == "put1" and len(figures) == 6 and all(float(figure) > 0 for figure in figures)
