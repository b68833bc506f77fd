"""kvcluster: all nodes of a cluster on this machine, and on a terminal a prompt to use and to hurt it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from raftkv import Clerk, __version__
from raftkv.cli.arguments import Arguments
from raftkv.cli.call import Command
from raftkv.cli.cluster_files import (
    HOST,
    MAX_NODES,
    ClusterFiles,
    add_http,
    check_ports,
    listens,
    locked,
    prepare_folder,
    wait_until_unused,
)
from raftkv.cli.commands import COMMANDS
from raftkv.cli.console import Console
from raftkv.cli.local_members import LocalMembers
from raftkv.cli.memory import share_heap
from raftkv.cli.nodes import CAN_PAUSE, LocalCluster, NodeError
from raftkv.cli.outcome import DONE, STOPS, Outcome, OutputError, Terminated, UsageError, exit_status
from raftkv.cli.printable import one_line
from raftkv.cli.prompt import Prompt
from raftkv.cli.status import leader_of
from raftkv.cli.streams import open_standard_streams
from raftkv.cli.terminal import NodeOutput
from raftkv.config import load_server_config
from raftkv.errors import ConfigError, RaftKVError, ResourceError
from raftkv.ini import Address, new_folder
from raftkv.logs import log_to_stderr

ALL_SERVE_S = 10.0


def main(argv: list[str] | None = None) -> int:
    """Run a cluster until the user leaves or a signal comes. Returns the exit status."""
    share_heap()
    open_standard_streams()
    args = _parser().parse_args(argv)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if not sys.stderr.isatty():
        log_to_stderr()  # nothing stands still because nobody reads what the nodes say
    try:
        _end_by_signals(interactive)
        with _folder(args.data_dir) as folder, locked(folder):
            files = prepare_folder(folder, args.nodes, args.port)
            if args.http is not None:
                add_http(files, args.http)
            _run(files, folder, interactive)
    except OutputError as error:
        print(f"kvcluster: cannot write to standard output: {error}", file=sys.stderr)
        return exit_status(error)
    except RaftKVError as error:
        print(f"kvcluster: {error}", file=sys.stderr)
        return exit_status(error)
    except STOPS:
        return DONE
    return DONE


def _run(files: ClusterFiles, folder: str, interactive: bool) -> None:
    for server_ini in files.server_inis.values():
        load_server_config(server_ini).load_keys()  # so that the client's key is there, whoever starts first
    wait_until_unused(files)
    check_ports(files)
    output = NodeOutput(interactive)
    with LocalCluster(files.server_inis, output.show) as cluster:
        try:
            with Clerk.from_config(files.client_ini) as clerk:
                _use(cluster, clerk, output, files, folder)
        finally:
            _ignore_signals()  # nothing interrupts the stopping of the nodes


def _use(cluster: LocalCluster, clerk: Any, output: NodeOutput, files: ClusterFiles, folder: str) -> None:
    leader, count, client_ini = _wait_for_leader(cluster, clerk), len(cluster.nodes), files.client_ini
    http = _wait_for_http(files)
    commands = {**COMMANDS, **node_commands(cluster), **LocalMembers(cluster, files).commands()}
    prompt = ClusterPrompt(clerk, commands, output)
    with _page(cluster, files) as page:
        _talk(cluster, prompt, output, f"node {leader} of {count} leads", f"{client_ini}{http}{page}", folder)


def _talk(
    cluster: LocalCluster, prompt: Prompt, output: NodeOutput, leader: str, clients: str, folder: str
) -> None:
    console = Console()
    if not output.terminal:
        console.write(one_line(f"ready: {leader}; clients use {clients}") + "\n")
        while cluster.running():  # until Terminated
            time.sleep(0.5)  # short, because a signal that another thread receives does not wake this one
        raise NodeError(f"all nodes ended: {cluster.last_words()}")
    console.write(
        f"{leader}; data in {folder}\n"
        f"other clients: kvclient --config {clients}\n"
        "`help` lists the commands; try `kill leader`; `exit` stops the cluster\n"
    )
    prompt.run()


def _wait_for_leader(cluster: LocalCluster, clerk: Any) -> int:
    """The id of the first leader, however long the nodes take to load what they hold; all that run serve then,
    unless one takes ALL_SERVE_S longer.

    Raises NodeError if a node cannot run as it is configured, or if so many ended that there will be no leader.
    """
    give_up_at = None
    while 2 * len(cluster.running()) > len(cluster.nodes) and not cluster.misconfigured():
        servers = clerk.status()
        leader = leader_of(servers)
        if leader is not None:
            give_up_at = give_up_at or time.monotonic() + ALL_SERVE_S
            serving = {server["id"] for server in servers if server["alive"]}
            if serving.issuperset(cluster.running()) or time.monotonic() >= give_up_at:
                return int(leader["id"])
        time.sleep(0.05)
    raise NodeError(f"the cluster cannot start: {cluster.last_words()}")


def _wait_for_http(files: ClusterFiles) -> str:
    """What to say of the HTTP fronts, once they listen; one that does not has said why."""
    addresses = files.http_addresses()
    give_up_at = time.monotonic() + ALL_SERVE_S
    for address in addresses:
        while not listens(address) and time.monotonic() < give_up_at:
            time.sleep(0.05)
    return "; HTTP on " + " ".join(f"http://{address}" for address in addresses) if addresses else ""


@contextlib.contextmanager
def _page(cluster: LocalCluster, files: ClusterFiles) -> Iterator[str]:
    """The launcher's own page, on the port after those of the fronts, if there are any. Gives what to say of it."""
    addresses = files.http_addresses()
    if not addresses:
        yield ""
        return
    from raftkv.cli.node_page import NodePage  # with all of HTTP: no other launcher waits for it

    address = Address(HOST, max(each.port for each in addresses) + 1)
    try:
        page = NodePage(cluster, files.client_ini, address)
    except (ConfigError, ResourceError) as error:
        print(f"kvcluster: there is no page: {error}", file=sys.stderr)
        yield ""
        return
    with page:
        yield f"; page on http://{address}/"


def find_leader(clerk: Any) -> int | None:
    """The id of the server that leads, or None."""
    leader = leader_of(clerk.status())
    return None if leader is None else int(leader["id"])


class ClusterPrompt(Prompt):
    """The client's prompt, with commands for the nodes themselves."""

    def __init__(self, clerk: Any, commands: dict[str, Command], output: NodeOutput) -> None:
        super().__init__(clerk, commands)
        self._output = output

    def read_line(self, prompt: str) -> str:
        with self._output.typing():
            return super().read_line(prompt)


def node_commands(cluster: LocalCluster) -> dict[str, Command]:
    """Commands that do something to a node, whose id (or the word `leader`) is their argument."""

    def command(summary: str, action: str) -> Command:
        def run(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
            node_id = _node_id(cluster, clerk, arguments.words[0])
            getattr(cluster.nodes[node_id], action)()
            return Outcome(DONE, "OK", {"node": node_id})

        return Command("N|leader", summary, run, 1, 1)

    commands = {
        "kill": command("kill -9 node N, as a crash would", "kill"),
        "stop": command("stop node N cleanly", "stop"),
        "start": command("start node N again", "start"),
        "cut": command("cut node N off from the others, as a broken network would", "cut"),
        "heal": command("let node N reach the others again", "heal"),
    }
    if CAN_PAUSE:
        commands["pause"] = command("freeze node N, as an overloaded machine would", "pause")
        commands["resume"] = command("let node N go on", "resume")
    return commands


def _node_id(cluster: LocalCluster, clerk: Any, word: str) -> int:
    if word == "leader":
        leader = find_leader(clerk)
        if leader is None:
            raise NodeError("there is no leader at the moment")
        return leader
    if not word.isdecimal() or int(word) not in cluster.nodes:
        known = ", ".join(map(str, cluster.nodes))
        raise UsageError(f"no node {word!r}; there are {known}, and `leader`")
    return int(word)


# -- the life of the launcher --------------------------------------------------------------------------------


@contextlib.contextmanager
def _folder(data_dir: str | None) -> Iterator[str]:
    """The cluster's folder: the given one, or a temporary one that is removed at the end."""
    if data_dir is not None:
        yield new_folder(data_dir, "--data-dir")
        return
    try:
        folder = tempfile.mkdtemp(prefix="raftkv-")
    except OSError as error:
        raise ConfigError(
            f"cannot make a temporary folder ({error.strerror}): give one with --data-dir"
        ) from None
    print(f"data in {folder}, removed at the end; --data-dir DIR keeps it", file=sys.stderr)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"cannot remove {folder}" if os.path.exists(folder) else f"removed {folder}", file=sys.stderr)


def _end_by_signals(interactive: bool) -> None:
    """From now on SIGTERM, SIGHUP and, without a terminal, SIGINT raise Terminated in the main thread, so that every
    `finally` on the way out runs."""

    def stop(_number: int, _frame: object) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    if not interactive:  # on a terminal Ctrl-C stays a KeyboardInterrupt: it abandons a command
        signal.signal(signal.SIGINT, stop)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not under nohup
        signal.signal(signal.SIGHUP, stop)


def _ignore_signals() -> None:
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kvcluster", description="Run all servers of a raftkv cluster on this machine."
    )
    parser.add_argument("--nodes", metavar="N", type=_node_count, help="how many servers (default 3)")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="the cluster's folder, new or of earlier (default: a temporary one)"
    )
    parser.add_argument(
        "--port", metavar="P", type=_port, help="listen on the ports from P on (default: free ones)"
    )
    parser.add_argument(
        "--http",
        metavar="P",
        type=_port,
        help="serve etcd's JSON API over HTTP, on the ports from P on, one for each server",
    )
    parser.add_argument("--version", action="version", version=f"raftkv {__version__}")
    return parser


def _node_count(text: str) -> int:
    return _integer(text, 1, MAX_NODES)


def _port(text: str) -> int:
    return _integer(text, 1, 65_535)


def _integer(text: str, minimum: int, maximum: int) -> int:
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise argparse.ArgumentTypeError(f"must be a whole number from {minimum} to {maximum}, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
