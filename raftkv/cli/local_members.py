"""Servers of a local cluster that come and go at the prompt of kvcluster: `grow`, `shrink`, `replace N`.

A new server has the next id, a folder of its own and free ports. What the cluster knows of its members counts; the
files are brought up to date behind it, so that the launcher starts the same servers the next time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

from raftkv.cli.arguments import Arguments
from raftkv.cli.call import Command
from raftkv.cli.cluster_files import ClusterFiles, add_server, rewrite_addresses
from raftkv.cli.console import Console
from raftkv.cli.nodes import LocalCluster, NodeError
from raftkv.cli.outcome import DONE, Outcome, UsageError
from raftkv.config import load_server_config
from raftkv.errors import InvalidChangeError

CHANGE_S = 60.0  # a change may take so long; also a server that is to catch up


class LocalMembers:
    """For the thread of the prompt."""

    def __init__(self, cluster: LocalCluster, files: ClusterFiles) -> None:
        self._cluster, self._files = cluster, files

    def commands(self) -> dict[str, Command]:
        return {
            "grow": Command("", "add a server", self._grow, 0, 0),
            "shrink": Command("[N]", "take server N out, or the last one, and remove its data", self._shrink, 0, 1),
            "replace": Command("N", "put a new server in the place of server N", self._replace, 1, 1),
        }  # fmt: skip

    def _grow(self, clerk: Any, _arguments: Arguments, _console: Console) -> Outcome:
        new, client, peer = self._start_new(clerk)
        with self._undone_if_refused(new):
            clerk.member_add(new, client, peer, timeout=CHANGE_S)
        rewrite_addresses(self._files)
        return Outcome(DONE, f"OK: server {new} votes", {"node": new})

    def _shrink(self, clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
        id = self._known(arguments.words[0]) if arguments.words else max(self._cluster.nodes)
        clerk.member_remove(id, timeout=CHANGE_S)
        self._discard(id)
        rewrite_addresses(self._files)
        return Outcome(DONE, f"OK: server {id} has left", {"node": id})

    def _replace(self, clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
        old = self._known(arguments.words[0])
        new, client, peer = self._start_new(clerk)
        with self._undone_if_refused(new):
            clerk.member_replace(old, new, client, peer, timeout=CHANGE_S)
        self._discard(old)
        rewrite_addresses(self._files)
        return Outcome(DONE, f"OK: server {new} is in the place of server {old}", {"node": new})

    def _known(self, word: str) -> int:
        if not word.isdecimal() or int(word) not in self._cluster.nodes:
            raise UsageError(f"no node {word!r}; there are {', '.join(map(str, self._cluster.nodes))}")
        return int(word)

    def _start_new(self, clerk: Any) -> tuple[int, str, str]:
        """A server with an empty disk, which waits to be added: its id, and its addresses for clients and peers."""
        rows = clerk.member_list()
        join = next((row["peer_address"] for row in rows if row["alive"] and row["role"] == "voter"), None)
        if join is None:
            raise NodeError("no member is alive that the new one could join")
        new = 1 + max([*self._cluster.nodes, *(row["id"] for row in rows)])
        ini = add_server(self._files, new, join)
        config = load_server_config(ini)
        self._cluster.add(new, ini)
        return new, str(config.servers[new]), str(config.peers[new])

    @contextlib.contextmanager
    def _undone_if_refused(self, new: int) -> Iterator[None]:
        """If nothing has changed, the new server goes again; if that is not certain, it stays."""
        try:
            yield
        except InvalidChangeError:
            self._discard(new)
            raise

    def _discard(self, id: int) -> None:
        """It is no member: neither its process nor its files are of any use."""
        ini = self._files.server_inis.pop(id)
        data_dir = load_server_config(ini).data_dir
        self._cluster.remove(id)
        os.remove(ini)
        shutil.rmtree(data_dir, ignore_errors=True)
