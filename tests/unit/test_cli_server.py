"""kvserver as a process: it listens, stops when told to, and has one clear line for each mistake."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None

from raftkv.cli import server as server_module
from raftkv.cli.cluster_files import prepare_folder
from raftkv.keys import load_key

SERVER = os.path.join(os.path.dirname(__file__), "..", "..", "bin", "kvserver.py")
PATIENCE_S = 30.0

needs_limits = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process")
needs_sigstop = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="SIGSTOP")


class Server:
    """A kvserver process; its standard input is a pipe. A context manager that kills it."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SERVER, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def expect(self, text: str) -> str:
        """Read lines until one holds `text`, and return that."""
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"the server ended before it said {text!r}")

    def expect_all(self, *texts: str) -> list[str]:
        """The same for several, which come in any order: the lines in the order of the texts."""
        found: dict[str, str] = {}
        while len(found) < len(texts):
            line = self.expect("")
            found.update({text: line for text in texts if text in line})
        return [found[text] for text in texts]

    def close_input(self) -> None:
        self.process.stdin.close()
        self.process.stdin = None  # or communicate() would use it

    def end(self) -> tuple:
        """Wait for the end: (exit status, standard output, the rest of standard error)."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@pytest.fixture
def ini(tmp_path):
    """The file of a cluster of one server, which is quick to elect itself."""
    ini = prepare_folder(str(tmp_path / "cluster"), 1).server_inis[1]
    with open(ini, "a") as file:
        file.write("[raft]\nelection_timeout_ms = 150\n")
    return ini


def change(ini: str, pattern: str, replacement: str) -> None:
    with open(ini) as file:
        text = file.read()
    changed = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    assert changed != text
    with open(ini, "w") as file:
        file.write(changed)


def make_keys(ini: str) -> None:
    """Not all addresses are loopback ones: servers do not make them."""
    for name in ("client.key", "peer.key"):
        load_key(os.path.join(os.path.dirname(ini), name), create=True)


@needs_limits
def test_a_server_raises_its_limit_of_open_files_to_what_its_connections_need(ini):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        server = Server(ini)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with server:
        server.expect("listens")
        allowed, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        assert 2048 + 2 * 128 <= allowed <= min(2048 + 2 * 128 + 100, hard)


@needs_limits
@pytest.mark.parametrize(
    "files, status, says",
    [
        (512, 0, r"WARNING this system allows 512 open files: \d+ clients can be connected at a time"),
        (30, 2, r"^kvserver: this system allows a process 30 open files, but .* needs \d\d at least: raise"),
    ],
)
def test_a_server_says_when_the_system_allows_too_few_open_files(ini, files, status, says):
    process = subprocess.run(
        [
            "sh",
            "-c",
            f'ulimit -n {files}; exec "$@"',
            "sh",
            sys.executable,
            SERVER,
            ini,
            "--exit-with-parent",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert process.returncode == status and re.search(says, process.stderr, re.MULTILINE), process.stderr
    assert process.stderr.count("open files") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_server_listens_leads_and_stops_cleanly(ini, name):
    with Server(ini) as server:
        server.expect("WARNING")
        listens, _ = server.expect_all("node 1 listens", "leader in term 1")
        assert re.search(r"INFO node 1 listens: clients on 127\.0\.0\.1:\d+, peers on", listens)
        server.process.send_signal(getattr(signal, name))
        status, out, err = server.end()
        assert (status, out) == (0, "")
        assert [line.split(" INFO ")[1] for line in err.splitlines()] == [f"stopping: {name}", "stopped"]


def test_a_signal_during_the_start_stops_it_too(ini):
    with Server(ini) as server:
        server.expect("WARNING")  # the configuration is read, and signals are already heard
        server.process.send_signal(signal.SIGTERM)
        assert server.end()[0] == 0


@needs_sigstop
def test_a_paused_server_that_goes_on_hears_what_it_was_told(ini):
    with Server(ini) as server:
        server.expect("listens")
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
            server.process.send_signal(number)
        assert server.end()[0] == 0


def test_a_server_stops_with_its_launcher(ini):
    with Server(ini, "--exit-with-parent") as server:
        server.expect("listens")
        server.close_input()
        status, _, err = server.end()
        assert status == 0
        assert "stopping: the launcher is gone" in err


def test_its_standard_input_does_not_matter_otherwise(ini):
    with Server(ini) as server:
        server.close_input()
        server.expect("leader in term 1")
        server.process.send_signal(signal.SIGTERM)
        assert server.end()[0] == 0


# -- mistakes ------------------------------------------------------------------------------------------------


def fails(*args: str) -> tuple:
    """(exit status, the one line on standard error) of a server that cannot start."""
    with Server(*args) as server:
        status, out, err = server.end()
    lines = [line for line in err.splitlines() if " WARNING " not in line]
    assert out == ""
    assert len(lines) == 1, f"not one line, but: {err}"
    assert lines[0].startswith("kvserver: ")
    return status, lines[0]


def test_a_missing_configuration(tmp_path):
    status, line = fails(str(tmp_path / "none.ini"))
    assert status == 2
    assert "none.ini: cannot read the configuration file: No such file or directory" in line


def test_a_wrong_configuration(ini):
    change(ini, "^data_dir", "data_folder")
    status, line = fails(ini)
    assert status == 2
    assert "server1.ini: [node] data_folder: unknown option; known are cluster, data_dir, id" in line


@pytest.mark.parametrize("section", ["servers", "peers"])
def test_a_port_in_use(ini, section):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        change(ini, rf"(\[{section}\]\n1 = 127\.0\.0\.1):\d+", rf"\1:{port}")
        status, line = fails(ini)
    assert status == 2
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line


def test_an_address_that_is_not_ours(ini):
    change(ini, r"(\[servers\]\n1 = )127\.0\.0\.1", r"\g<1>192.0.2.1")
    make_keys(ini)
    status, line = fails(ini)
    assert status == 2
    assert "192.0.2.1" in line and "listen_clients" in line


def test_no_key_for_a_cluster_on_several_machines(ini):
    change(ini, r"(\[servers\]\n1 = )127\.0\.0\.1", r"\g<1>192.0.2.1")
    status, line = fails(ini)
    assert status == 2
    assert "client.key: no such key file" in line
    assert "make one: " in line


@pytest.mark.skipif(os.name != "posix", reason="mode bits")
def test_a_key_that_others_can_read(ini):
    key = os.path.join(os.path.dirname(ini), "peer.key")
    with open(key, "w") as file:
        file.write("k" * 64)
    os.chmod(key, 0o644)
    status, line = fails(ini)
    assert status == 2
    assert "peer.key: others can read this key file (mode 0644); run: chmod 600" in line


def test_a_data_folder_in_use(ini):
    with Server(ini) as server:
        server.expect("listens")
        status, line = fails(ini)
        assert status == 1
        assert str(server.process.pid) in line
        assert os.path.join(os.path.dirname(ini), "server1") in line


def test_a_data_folder_of_another_node(ini):
    with Server(ini) as server:
        server.expect("listens")
        server.process.send_signal(signal.SIGTERM)
        assert server.end()[0] == 0
    change(ini, "^1 = ", "7 = ")
    change(ini, "^id = 1", "id = 7")
    status, line = fails(ini)
    assert status == 1
    assert "belongs to node 1" in line


def test_a_folder_that_is_no_data_folder(ini):
    folder = os.path.join(os.path.dirname(ini), "server1")
    os.makedirs(os.path.join(folder, "diary"))
    status, line = fails(ini)
    assert status == 1
    assert f"{folder} has no node.json but is not empty (it holds diary): data_dir must be" in line


def test_wrong_usage():
    with Server() as server:
        status, _, err = server.end()
    assert status == 2
    assert "usage: kvserver" in err


def test_a_look_for_garbage_is_told_the_processor_time_since_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: Any = queue.SimpleQueue()
    used_s: list[float] = []

    def look(since_s: float) -> None:
        used_s.append(since_s)
        if len(used_s) == 5:
            told.put("enough")

    monkeypatch.setattr(server_module, "collect_garbage", look)
    monkeypatch.setattr(server_module, "LOOK_S", 0.001)
    assert server_module._obey(None, told) == "enough"  # type: ignore[arg-type]
    assert min(used_s) >= 0 and sum(used_s) <= time.process_time()
