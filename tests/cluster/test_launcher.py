"""What people run, on real clusters: the launcher leaves no process behind, kvclient exits as it says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from raftkv.keys import load_key

from tests.cluster import append_storm
from tests.cluster.harness import Cluster
from tests.cluster.launched import launched
from tests.cluster.node import ROOT


def kvclient(ini: Path, *words: str) -> tuple[int, str]:
    """(exit status, standard output) of a one-shot command. If it failed, it said why on one line."""
    command = [sys.executable, str(ROOT / "bin" / "kvclient.py"), "--config", str(ini), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert len(done.stderr.splitlines()) == (done.returncode > 1), done.stderr
    return done.returncode, done.stdout.strip()


def test_the_launcher_runs_and_stops_a_cluster(tmp_path: Path) -> None:
    with launched(tmp_path / "cluster", "--nodes", "3") as cluster:
        assert len(cluster.inis) == 3
        assert kvclient(cluster.client_ini, "put", "k", "v")[0] == 0
        cluster.process.send_signal(signal.SIGTERM)
        assert cluster.process.wait() == 0
        cluster.wait_until_gone()
        assert cluster.process.stdout is not None
        assert cluster.process.stdout.read() == "", "it printed more than the line `ready`"
    with launched(tmp_path / "cluster") as cluster:
        assert kvclient(cluster.client_ini, "get", "k") == (0, "v")
        cluster.process.kill()
        cluster.process.wait()
        cluster.wait_until_gone()
    assert "Traceback" not in cluster.log


def test_exit_statuses_of_kvclient(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.wait_for_leader()
        ini = cluster.client_ini
        assert kvclient(ini, "put", "k", "two words")[0] == 0
        assert kvclient(ini, "get", "k") == (0, "two words")
        assert kvclient(ini, "get", "nothing") == (1, "(nil)")
        assert kvclient(ini, "cas", "k", "wrong", "v")[0] == 1
        assert kvclient(ini, "put", "k") == (2, "")
        cluster.kill(1)
        status, output = kvclient(ini, "status", "--json")
        servers = {server["id"]: server for server in json.loads(output)["servers"]}
        assert (status, {id: server["alive"] for id, server in servers.items()}) == (
            0,
            {1: False, 2: True, 3: True},
        )
        assert servers[2]["pid"] == cluster.status(2)["pid"]  # type: ignore[index]
        cluster.kill(2)
        assert kvclient(ini, "--timeout", "0.5", "put", "k", "v") == (3, "")
        assert kvclient(ini, "--timeout", "0.5", "get", "k") == (3, "")
        cluster.start(1, 2)
        assert kvclient(ini, "get", "k")[0] == 0
        stranger = tmp_path / "stranger.ini"
        stranger.write_text(ini.read_text().replace("client.key", "stranger.key"))
        load_key(str(tmp_path / "stranger.key"), create=True)
        assert kvclient(stranger, "get", "k") == (4, "")


def test_a_small_append_storm(capsys) -> None:  # type: ignore[no-untyped-def]
    arguments = "--nodes 3 --clients 3 --appends 900 --every 0.5"
    status = append_storm.main(arguments.split())
    verdict = capsys.readouterr().out
    assert status == 0, verdict
    assert ", 0 kills" not in verdict, verdict
