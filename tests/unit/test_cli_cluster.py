"""kvcluster with real servers: on a terminal, without one, killed; and the client against it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from raftkv.cli.cluster_files import prepare_folder
from raftkv.cli.nodes import CAN_PAUSE, LocalCluster, Node, NodeError, describe_end
from raftkv.config import load_client_config

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLUSTER = os.path.join(ROOT, "bin", "kvcluster.py")
CLIENT = os.path.join(ROOT, "bin", "kvclient.py")
PATIENCE_S = 30.0


@contextlib.contextmanager
def launched(*args: str):
    """A kvcluster without a terminal. Yields the process; kills it at the end, and its nodes with it."""
    process = subprocess.Popen(
        [sys.executable, CLUSTER, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(*args: str):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=PATIENCE_S)


def kvclient(folder, *words: str):
    """(exit status, standard output) of kvclient with the cluster in `folder`."""
    done = run(CLIENT, "--config", os.path.join(folder, "client.ini"), *words)
    return done.returncode, done.stdout


def wait_until_silent(folder) -> None:
    """Wait until no server of the cluster in `folder` listens any more."""
    deadline = time.monotonic() + PATIENCE_S
    for address in load_client_config(os.path.join(folder, "client.ini")).servers.values():
        while True:
            with socket.socket() as caller:
                if caller.connect_ex(tuple(address)) != 0:
                    break
            assert time.monotonic() < deadline, f"a server still listens on {address}"
            time.sleep(0.02)


def test_without_a_terminal_it_runs_until_a_signal_and_goes_on_later(tmp_path):
    folder = str(tmp_path / "cluster")
    with launched("--data-dir", folder) as launcher:
        assert launcher.stdout.readline().startswith("ready")
        assert kvclient(folder, "put", "a", "one") == (0, "OK\n")
        assert kvclient(folder, "get", "none") == (1, "(nil)\n")
        twice = run(CLUSTER, "--data-dir", folder)
        assert (twice.returncode, twice.stdout) == (3, "")
        assert twice.stderr.startswith(
            f"kvcluster: {folder} is in use by the launcher with the process id {launcher.pid}: "
        )
        status, out = kvclient(folder, "status", "--json")
        servers = json.loads(out)["servers"]
        assert (status, [server["alive"] for server in servers]) == (0, [True, True, True])
        assert [server["role"] for server in servers].count("leader") == 1
        launcher.send_signal(signal.SIGTERM)
        out, err = launcher.communicate(timeout=PATIENCE_S)
        assert (launcher.returncode, out) == (0, ""), err
        assert sorted(re.findall(r"^\[node (\d)\] stopped \(exit status 0\)$", err, re.MULTILINE)) == [
            "1",
            "2",
            "3",
        ]
    wait_until_silent(folder)
    assert kvclient(folder, "--timeout", "0.5", "get", "a") == (3, "")

    refused = run(CLUSTER, "--data-dir", folder, "--nodes", "5")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"kvcluster: {folder} holds a cluster of 3 servers, not 5")

    with launched("--data-dir", folder, "--nodes", "3") as launcher:
        assert launcher.stdout.readline().startswith("ready")
        assert kvclient(folder, "get", "a") == (0, "one\n")
        wrong = tmp_path / "wrong.ini"
        with open(os.path.join(folder, "client.ini")) as file:
            wrong.write_text(file.read().replace("client.key", os.path.join(folder, "peer.key")))
        assert run(CLIENT, "--config", str(wrong), "get", "a").returncode == 4
        assert run(CLIENT, "--config", str(wrong), "status").returncode == 4
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(PATIENCE_S) == 0
    wait_until_silent(folder)


def test_no_node_outlives_a_killed_launcher(tmp_path):
    folder = str(tmp_path)
    with launched("--data-dir", folder, "--nodes", "1") as launcher:
        assert launcher.stdout.readline().startswith("ready")
        launcher.kill()
        wait_until_silent(folder)
    with launched("--data-dir", folder, "--nodes", "1") as launcher:
        assert launcher.stdout.readline().startswith("ready"), launcher.stderr.read()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_no_paused_node_outlives_a_killed_launcher(tmp_path):
    """The node becomes a child of this process, which is of its session: so the system does not wake it as it
    does with orphans."""
    become_subreaper = functools.partial(ctypes.CDLL(None).prctl, 36)
    with launched("--data-dir", str(tmp_path), "--nodes", "1") as launcher:
        assert launcher.stdout.readline().startswith("ready")
        (server,) = json.loads(kvclient(tmp_path, "status", "--json")[1])["servers"]
        become_subreaper(1)
        try:
            os.kill(server["pid"], signal.SIGSTOP)
            launcher.kill()
            launcher.wait()
            end = wait_or_kill(server["pid"])
        finally:
            become_subreaper(0)
        assert end == "was killed"


def wait_or_kill(pid: int) -> str:
    """What became of an adopted process."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return "was killed" if os.WTERMSIG(status) == signal.SIGKILL else "ended"
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "lived on"


def test_a_launcher_whose_nodes_are_all_dead_ends_and_says_why(tmp_path):
    with launched("--data-dir", str(tmp_path), "--nodes", "1") as launcher:
        assert launcher.stdout.readline().startswith("ready")
        (server,) = json.loads(kvclient(tmp_path, "status", "--json")[1])["servers"]
        os.kill(server["pid"], signal.SIGKILL)
        lines = [line.rstrip() for line in launcher.stderr]
        assert launcher.wait(PATIENCE_S) == 3
        *_, last, end = [line[len("[node 1] ") :] for line in lines if line.startswith("[node 1] ")]
        assert f"kvcluster: all nodes ended: node 1 {end}: {last}" in lines and end == "died of SIGKILL"


def fill(pipe: int) -> None:
    """Leave no room in it."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"x" * 4096):
            continue
    os.set_blocking(pipe, True)


@pytest.mark.skipif(os.name != "posix", reason="pipes that are full")
def test_a_launcher_whose_output_nobody_reads_goes_on_and_stops(tmp_path):
    unread, full = os.pipe()
    fill(full)
    launcher = subprocess.Popen(
        [sys.executable, CLUSTER, "--data-dir", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=full,
        text=True,
    )
    try:
        assert launcher.stdout.readline().startswith("ready")
        servers = json.loads(kvclient(tmp_path, "status", "--json")[1])["servers"]
        leader = next(server for server in servers if server["role"] == "leader")
        os.kill(leader["pid"], signal.SIGKILL)
        assert kvclient(tmp_path, "put", "a", "one") == (0, "OK\n")
        launcher.terminate()
        assert launcher.wait(PATIENCE_S) == 0
        wait_until_silent(str(tmp_path))
    finally:
        launcher.kill()
        launcher.communicate()
        os.close(full)
        os.close(unread)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full")
def test_a_launcher_that_cannot_say_that_it_is_ready_ends(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, CLUSTER, "--nodes", "1", "--data-dir", str(tmp_path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 5
    assert "kvcluster: cannot write to standard output: No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not CAN_PAUSE, reason="SIGSTOP")
def test_a_node_that_somebody_paused_stops_with_the_others(tmp_path):
    folder = str(tmp_path)
    with launched("--data-dir", folder) as launcher:
        assert launcher.stdout.readline().startswith("ready")
        servers = json.loads(kvclient(folder, "status", "--json")[1])["servers"]
        os.kill(servers[0]["pid"], signal.SIGSTOP)
        launcher.terminate()
        _, err = launcher.communicate(timeout=PATIENCE_S)
        assert "[node 1] stopped (exit status 0)\n" in err


def test_a_node_that_dies_is_reported_and_the_others_go_on(tmp_path):
    folder = str(tmp_path)
    with launched("--data-dir", folder) as launcher:
        assert launcher.stdout.readline().startswith("ready")
        servers = json.loads(kvclient(folder, "status", "--json")[1])["servers"]
        victim = next(server for server in servers if server["role"] == "follower")
        os.kill(victim["pid"], signal.SIGKILL)
        while launcher.stderr.readline() != f"[node {victim['id']}] died of SIGKILL\n":
            assert launcher.poll() is None
        assert kvclient(folder, "put", "a", "one") == (0, "OK\n")
        status, table = kvclient(folder, "status")
        assert status == 0
        assert [line.split()[0] for line in table.splitlines() if " no: " in line] == [str(victim["id"])]


def ports_in_a_row(count):
    """Sockets bound to neighbouring ports, none of which is one that outgoing connections get."""
    while True:
        first, sockets = random.randrange(10_000, 32_000), [socket.socket() for _ in range(count)]
        try:
            for at, each in enumerate(sockets):
                each.bind(("127.0.0.1", first + at))
            return sockets
        except OSError:  # in use
            for each in sockets:
                each.close()


@pytest.mark.parametrize("nodes, last", [(1, 0), (3, 2), (3, 5)])
def test_a_port_in_use_is_said_before_a_node_is_started(tmp_path, nodes, last):
    """`last`: the port in use is so far from the first one."""
    folder = str(tmp_path / "c")
    with contextlib.ExitStack() as others:
        *before, listener = ports_in_a_row(last + 1)
        others.callback(listener.close)
        for free in before:
            free.close()
        listener.listen()
        port = listener.getsockname()[1]
        done = run(CLUSTER, "--data-dir", folder, "--nodes", str(nodes), "--port", str(port - last))
    assert (done.returncode, done.stdout) == (2, "")
    who = "clients" if last < nodes else "the other nodes"
    assert done.stderr == (
        f"kvcluster: node {last % nodes + 1} cannot listen for {who} on 127.0.0.1:{port}: the port is in use; "
        "stop what uses it, or give another --port\n"
    )
    assert os.listdir(folder) == ["LOCK"], "another --port can be given"


def test_a_port_of_an_old_cluster_that_is_in_use_is_said(tmp_path):
    folder = str(tmp_path)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        files = prepare_folder(folder)
        old_port = load_client_config(files.client_ini).servers[2].port
        for ini in (files.client_ini, *files.server_inis.values()):
            replace(ini, f":{old_port}\n", f":{port}\n")
        done = run(CLUSTER, "--data-dir", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"kvcluster: node 2 cannot listen for clients on 127.0.0.1:{port}: the port is in use; stop what uses it, "
        f"or choose another in the ini files of {folder}\n"
    )


def test_a_cluster_with_a_node_that_cannot_run_as_configured_is_not_ready(tmp_path):
    """As when a port is taken at the last moment; a majority could do without it."""
    files = prepare_folder(str(tmp_path))
    replace(files.server_inis[3], "id = 3\n", "id = 3\nlisten_clients = 192.0.2.1:7001\n")
    done = run(CLUSTER, "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    lines = done.stderr.splitlines()
    assert lines[-1].startswith(
        "kvcluster: the cluster cannot start: node 3 died with exit status 2: kvserver: cannot listen on "
        "192.0.2.1:7001: that is not an address of this machine"
    )
    assert {"[node 1] stopped (exit status 0)", "[node 2] stopped (exit status 0)"} < set(lines)


def replace(path, old, new):
    with open(path) as file:
        text = file.read().replace(old, new)
    with open(path, "w") as file:
        file.write(text)


@pytest.mark.parametrize(
    "args", [["--nodes", "0"], ["--nodes", "100"], ["--nodes", "x"], ["--port", "65536"]]
)
def test_wrong_usage(args):
    done = run(CLUSTER, *args)
    assert done.returncode == 2
    assert "must be a whole number from 1 to" in done.stderr


def test_on_a_terminal(tmp_path):
    pytest.importorskip("pty")
    from tests.unit.terminal import Terminal

    with Terminal([sys.executable, CLUSTER], str(tmp_path)) as terminal:
        terminal.expect("data in ")
        folder = terminal.expect(", removed at the end")
        terminal.expect("other clients: kvclient --config " + os.path.join(folder, "client.ini"))
        terminal.expect("> ")

        def do(line: str, answer: str) -> str:
            terminal.type(line + "\n")
            terminal.expect(line)
            seen = terminal.expect(answer)
            terminal.expect("> ")
            return seen

        do("put a 'one, '", "OK")
        do("append a two", "OK")
        killed = re.search(r"\[node (\d)\] died of SIGKILL", do("kill leader", "OK"))[1]
        do("get a", "one, two")
        do(f"kill {killed}", f"error: node {killed} is not running; start {killed} starts it")
        do("start 4", "error: no node '4'; there are 1, 2, 3, and `leader`")
        assert do("status", "no: cannot connect").splitlines()[-1].split()[0] == killed
        do(f"start {killed}", "OK")
        do("shrink 9", "error: no node '9'; there are 1, 2, 3")
        do("grow", "OK: server 4 votes")
        do("replace 2", "OK: server 5 is in the place of server 2")
        do("shrink 3", "OK: server 3 has left")
        do("get a", "one, two")
        assert sorted(name for name in os.listdir(folder) if name.startswith("server")) == [
            *("server1", "server1.ini", "server4", "server4.ini", "server5", "server5.ini")
        ]
        assert prepare_folder(folder).server_inis.keys() == {1, 4, 5}
        terminal.type("cut leader\n")
        cut_off = re.findall(r"\[node (\d)\]", terminal.expect("cut off from"))[-1]
        do("append a !", "OK")
        do(f"heal {cut_off}", "OK")
        do(f"heal {cut_off}", f"error: node {cut_off} is not cut off")
        if CAN_PAUSE:
            do("pause leader", "OK")
            do("append a !", "OK")
            do("get a", "one, two!!")
            do("resume leader", "error: node ")
        do("help kill", "kill N|leader")
        terminal.type("exit\n")
        terminal.expect(f"removed {folder}")
        assert terminal.wait() == 0
    assert not os.path.exists(folder)


def test_a_terminal_that_hangs_up_ends_the_cluster(tmp_path):
    pytest.importorskip("pty")
    from tests.unit.terminal import Terminal

    folder = str(tmp_path / "cluster")
    with Terminal([sys.executable, CLUSTER, "--data-dir", folder], str(tmp_path)) as terminal:
        terminal.expect("> ")
    wait_until_silent(folder)


# -- nodes ---------------------------------------------------------------------------------------------------


class Output:
    """What nodes print. `ends`: what was said of their ends."""

    def __init__(self):
        self._lines = queue.Queue()
        self.ends = []

    def __call__(self, _node_id, line):
        self._lines.put(line)
        if re.match("died|stopped .exit|does not stop", line):
            self.ends.append(line)

    def expect(self, text):
        while text not in self._lines.get(timeout=PATIENCE_S):
            continue


@pytest.fixture
def inis(tmp_path):
    return prepare_folder(str(tmp_path), 3).server_inis


def test_a_node_that_does_not_run_can_only_be_started(inis):
    node = Node(1, inis[1], lambda *_: None)
    for action in (node.kill, node.stop, node.ask_to_stop, node.pause, node.resume, node.cut, node.heal):
        with pytest.raises(NodeError, match="node 1 is not running; start 1 starts it"):
            action()
    assert node.pid is None
    node.wait_or_kill(0.0)


def test_the_life_of_a_node(inis):
    output = Output()
    with LocalCluster({1: inis[1]}, output) as cluster:
        node = cluster.nodes[1]
        output.expect("listens")
        with pytest.raises(NodeError, match=rf"node 1 is already running \(process {node.pid}\)"):
            node.start()
        with pytest.raises(NodeError, match="node 1 is not paused"):
            node.resume()
        node.stop()
        assert cluster.running() == []
        node.start()
        assert cluster.running() == [1]
        node.kill()
        assert cluster.running() == []
        node.start()
        output.expect("listens")
        if CAN_PAUSE:
            node.pause()
            assert node.running
    assert not node.running
    assert output.ends == ["stopped (exit status 0)", "died of SIGKILL", "stopped (exit status 0)"]


def test_a_node_that_does_not_stop_is_killed(inis):
    output = Output()
    node = Node(1, inis[1], output)
    node.start()
    output.expect("listens")
    node.stop(timeout_s=0.0)
    assert output.ends == ["does not stop; killing it", "died of SIGKILL"]


def test_the_end_of_a_process_is_described():
    assert describe_end(0) == "stopped (exit status 0)"
    assert describe_end(70) == "died with exit status 70"
    assert describe_end(-signal.SIGTERM) == "died of SIGTERM"
    assert describe_end(-250) == "died of signal 250"
