"""kvgateway: runs an HTTP front until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading

from raftkv import __version__
from raftkv.cli.memory import share_heap
from raftkv.cli.parent import stop_signals, watch_parent
from raftkv.cli.streams import open_standard_streams
from raftkv.config import load_server_config
from raftkv.errors import ConfigError, RaftKVError
from raftkv.http.front import Front
from raftkv.http_config import load_gateway_config
from raftkv.keys import load_key
from raftkv.logs import log_to_stderr

log = logging.getLogger("raftkv.http")

_NICE = 5


def main(argv: list[str] | None = None) -> int:
    """Run a front. Returns the exit status: 0 stopped, 1 could not start, 2 wrong usage or configuration."""
    share_heap()
    open_standard_streams()
    args = _parser().parse_args(argv)
    stop = threading.Event()
    for number in stop_signals():
        signal.signal(number, lambda *_: stop.set())
    if args.exit_with_parent:
        watch_parent(lambda _why: stop.set())
    log_to_stderr()
    try:
        front = _of_server(args.config) if args.of_server else _alone(args.config)
        return _run(front, stop)
    except ConfigError as error:
        print(f"kvgateway: {error}", file=sys.stderr)
        return 2
    except (RaftKVError, OSError) as error:
        print(f"kvgateway: {error}", file=sys.stderr)
        return 1


def _alone(path: str) -> Front:
    config = load_gateway_config(path)
    for warning in config.http.warnings:
        log.warning("%s: %s", config.path, warning)
    key = load_key(config.client_key_file, create=False)
    return Front(config.http, config.servers, key)


def _of_server(path: str) -> Front:
    """The front of the server whose file it is; that has shown the warnings. Where both want the processor, the server comes
    first: a late heartbeat is an election, a late answer is only late."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    config = load_server_config(path)
    if config.http is None:
        raise ConfigError(f"{config.path}: section [http] is missing")
    key = load_key(config.client_key_file, create=False)
    return Front(config.http, config.servers, key, config.node_id)


def _run(front: Front, stop: threading.Event) -> int:
    thread = threading.Thread(target=front.run, name="http", daemon=True)
    thread.start()
    log.info("HTTP on %s", front.address)
    # Not for ever: a signal that another thread receives does not wake this one.
    while not stop.wait(0.5) and thread.is_alive():
        pass
    front.stop()
    thread.join(5.0)
    log.info("HTTP stopped")
    return 0 if stop.is_set() else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kvgateway", description="Serve etcd's JSON API over HTTP for a raftkv cluster."
    )
    parser.add_argument(
        "config", metavar="CONFIG.ini", help="the front's configuration; see conf/gateway.ini"
    )
    parser.add_argument("--version", action="version", version=f"raftkv {__version__}")
    parser.add_argument("--of-server", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--exit-with-parent", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
