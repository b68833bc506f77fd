"""FrontChild: the front of a server as a process."""

import os
import signal

import pytest
from raftkv.cli.cluster_files import ClusterFiles, add_http
from raftkv.cli.front_child import FrontChild
from raftkv.config import load_server_config
from raftkv.errors import ConfigError

from tests.cluster.harness import free_ports
from tests.http.conftest import LOCAL, free_run, version, wait_for


@pytest.fixture
def ini(cluster):
    """(a file for its server that has a front, the front's port)."""
    port = free_ports(1)[0]
    path = cluster.path.replace("server1.ini", "with_front.ini")
    with open(cluster.path) as file, open(path, "w") as copy:
        copy.write(f"{file.read()}[http]\nlisten = {LOCAL}:{port}\n")
    return path, port


def test_front_serves_is_started_again_when_it_dies_and_ends_with_its_server(ini):
    path, port = ini
    child = FrontChild(path)
    child.start()
    try:
        wait_for(lambda: version(port) == 200)
        first = child.pid
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: "died of SIGKILL" in child.problem)
        wait_for(lambda: version(port) == 200)
        assert child.pid != first
        assert not child.problem
    finally:
        child.stop()
    assert version(port) is None


@pytest.fixture
def files(tmp_path):
    inis = {}
    for id in (1, 2):
        inis[id] = str(tmp_path / f"server{id}.ini")
        with open(inis[id], "w") as file:
            file.write(
                f"[node]\nid = {id}\ndata_dir = d{id}\n[servers]\n1 = {LOCAL}:7001\n2 = {LOCAL}:7002\n[peers]\n"
                f"1 = {LOCAL}:8001\n2 = {LOCAL}:8002\n[auth]\nclient_key_file = c\npeer_key_file = p\n"
            )
    return ClusterFiles(str(tmp_path / "client.ini"), inis)


def test_launcher_gives_each_node_a_front_on_the_next_port_once(files):
    port = free_run(2)
    add_http(files, port)
    add_http(files, port)
    assert [str(address) for address in files.http_addresses()] == [f"{LOCAL}:{port}", f"{LOCAL}:{port + 1}"]
    with pytest.raises(ConfigError, match="leave out --http"):
        add_http(files, port + 1)


def test_launcher_with_too_high_a_port_changes_nothing(files):
    with pytest.raises(ConfigError, match="65535"):
        add_http(files, 65_535)
    assert load_server_config(files.server_inis[1]).http is None
