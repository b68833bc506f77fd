"""kvserver: runs one node until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import logging
import queue
import signal
import sys
import time
from typing import Callable

from raftkv import __version__
from raftkv.cli.front_child import FrontChild
from raftkv.cli.memory import collect_garbage, share_heap
from raftkv.cli.parent import CUT, HEAL, stop_signals, watch_parent
from raftkv.cli.recovery import run_recovery
from raftkv.cli.streams import open_standard_streams
from raftkv.config import ServerConfig, load_server_config
from raftkv.errors import ConfigError, RaftKVError
from raftkv.kvdb.server import KVServer
from raftkv.logs import log_to_stderr

log = logging.getLogger("raftkv")

LOOK_S = 0.5  # between looks for garbage


def main(argv: list[str] | None = None) -> int:
    """Run a server. Returns the exit status: 0 stopped, 1 could not start, 2 wrong usage or configuration."""
    share_heap()
    open_standard_streams()
    parser = _parser()
    args = parser.parse_args(argv)
    if args.yes and not args.recover:
        parser.error("--yes goes with --recover")
    if args.recover:
        return _explained(lambda: run_recovery(load_server_config(args.config), yes=args.yes))
    # A SimpleQueue, because its put() is safe in a signal handler, whatever the main thread is doing.
    stop_reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
    for number in stop_signals():
        signal.signal(number, lambda received, _: stop_reasons.put(signal.Signals(received).name))
    if args.exit_with_parent:
        watch_parent(
            stop_reasons.put, tell=lambda line: stop_reasons.put(line) if line in (CUT, HEAL) else None
        )
    log_to_stderr()
    return _explained(lambda: _run(args.config, stop_reasons))


def _explained(run: Callable[[], int]) -> int:
    """The exit status of `run`, or of what it raises."""
    try:
        return run()
    except ConfigError as error:
        print(f"kvserver: {error}", file=sys.stderr)
        return 2
    except (RaftKVError, OSError) as error:
        print(f"kvserver: {error}", file=sys.stderr)
        return 1


def _run(path: str, stop_reasons: queue.SimpleQueue[str]) -> int:
    config = load_server_config(path)
    for warning in config.warnings:
        log.warning("%s: %s", config.path, warning)
    gc.disable()
    server = KVServer(config)
    for notice in config.key_notices():
        log.warning("%s", notice)
    _warn_of_loopback(config, server)
    front = FrontChild(config.path) if config.http is not None else None
    try:
        server.start()
        if front is not None:
            server.other_problems = lambda: [front.problem] if front.problem else []
            front.start()
        log.info("stopping: %s", _obey(server, stop_reasons))
    finally:
        if front is not None:
            front.ask_to_stop()
        server.stop()
        if front is not None:
            front.stop()
    log.info("stopped")
    return 0


def _warn_of_loopback(config: ServerConfig, server: KVServer) -> None:
    """A machine's own name often means 127.0.1.1 on that machine (in /etc/hosts)."""
    id = config.node_id
    for section, option, own, told, bound in (
        ("servers", "listen_clients", config.servers[id], config.listen_clients, server.client_address),
        ("peers", "listen_peers", config.peers[id], config.listen_peers, server.peer_address),
    ):
        if own == told and bound.is_loopback() and not own.is_loopback():
            log.warning(
                "%s: [%s] %d: on this machine %s means %s, where nobody on another machine can connect to: "
                "set [node] %s = 0.0.0.0, or correct the name (in /etc/hosts)",
                config.path,
                section,
                id,
                own.host,
                bound.host,
                option,
            )


def _obey(server: KVServer, told: queue.SimpleQueue[str]) -> str:
    """Until there is a reason to stop, which is returned."""
    used_s = 0.0
    while True:
        try:
            # Not for ever: a signal that another thread receives, as after SIGSTOP and SIGCONT, does not wake
            # this one, and only this one can run its handler.
            reason = told.get(timeout=LOOK_S)
        except queue.Empty:
            before_s, used_s = used_s, time.process_time()
            collect_garbage(used_s - before_s)
            continue
        if reason not in (CUT, HEAL):
            return reason
        server.cut_off(reason == CUT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("kvserver", description="Run one server of a raftkv cluster.")
    parser.add_argument(
        "config", metavar="CONFIG.ini", help="this server's configuration; see conf/server1.ini"
    )
    parser.add_argument(
        "--recover",
        action="store_true",
        help="do not run it: when the majority is lost for good, make a cluster of one from its disk",
    )
    parser.add_argument("--yes", action="store_true", help="with --recover: do not ask")
    parser.add_argument("--version", action="version", version=f"raftkv {__version__}")
    parser.add_argument("--exit-with-parent", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
