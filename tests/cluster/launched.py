"""A cluster that `bin/kvcluster.py` runs, without a terminal, as anybody else would start it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from raftkv.config import Address, load_server_config

from tests.cluster.node import ROOT
from tests.cluster.waiting import PATIENCE_S, wait_until


class Launched:
    """`process` is the launcher's; `inis` are the servers' files, `client_ini` the clients'."""

    def __init__(self, folder: Path, process: subprocess.Popen) -> None:
        self.folder, self.process = folder, process
        self.client_ini = folder / "client.ini"
        self.inis = sorted(folder.glob("server*.ini"))

    @property
    def log(self) -> str:
        """All that the launcher and its nodes have ever printed."""
        return Path(f"{self.folder}.log").read_text(errors="replace")

    @property
    def addresses(self) -> list[Address]:
        """Every address of every server."""
        config = load_server_config(self.inis[0])
        return [*config.servers.values(), *config.peers.values()]

    def wait_until_gone(self) -> None:
        """Wait until no server listens any more."""
        wait_until(lambda: not any(map(_listens, self.addresses)), "all nodes to be gone")


@contextlib.contextmanager
def launched(folder: Path, *options: str) -> Iterator[Launched]:
    """Runs a cluster with its files in `folder`, from its line `ready` to the end of the context. Its nodes'
    lines go to `folder`.log."""
    command = [sys.executable, str(ROOT / "bin" / "kvcluster.py"), "--data-dir", str(folder), *options]
    with open(f"{folder}.log", "ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "RAFTKV_CHECK": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready"), f"the launcher said {line!r}"
            yield Launched(folder, process)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()  # and its nodes with it, whatever they do


def _listens(address: Address) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(tuple(address)) == 0
