"""kvclient exits as it says, whatever becomes of the cluster. (tests/unit/test_cli_cluster.py has the launcher.)"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from raftkv.keys import load_key

from tests.cluster.harness import Cluster
from tests.cluster.node import ROOT


def kvclient(ini: Path, *words: str) -> tuple[int, str]:
    """(exit status, standard output) of a one-shot command. If it failed, it said why on one line."""
    command = [sys.executable, str(ROOT / "bin" / "kvclient.py"), "--config", str(ini), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert len(done.stderr.splitlines()) == (done.returncode > 1), done.stderr
    return done.returncode, done.stdout.strip()


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
