"""The launcher's page: the one of every front, with buttons that do to the nodes what the prompt's commands do."""

from __future__ import annotations

import threading
from typing import Callable

from raftkv.cli.nodes import CAN_PAUSE, LocalCluster, NodeError
from raftkv.config import load_client_config
from raftkv.http.front import Front
from raftkv.http_config import HttpConfig
from raftkv.ini import Address
from raftkv.keys import load_key


class NodeControls:
    """What the page can do to the nodes. Thread-safe, as far as a person's clicks need it."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._nodes = cluster.nodes

    def actions(self) -> dict[int, list[str]]:
        """By node, what can be done to it now."""
        found = {}
        for id, node in self._nodes.items():
            if not node.running:
                found[id] = ["start"]
            elif node.paused:
                found[id] = ["resume", "kill"]
            else:
                found[id] = [
                    "kill",
                    "stop",
                    *(["pause"] if CAN_PAUSE else []),
                    "heal" if node.is_cut_off else "cut",
                ]
        return found

    def do(self, id: int, action: str) -> None:
        """Raises NodeError if it cannot be done now."""
        if action not in self.actions().get(id, []):
            raise NodeError(f"node {id} cannot be told to {action} now")
        act: Callable[[], None] = getattr(self._nodes[id], action)
        act()


class NodePage:
    """A front of the launcher's own, which outlives the nodes. A context manager. Raises ConfigError, ResourceError."""

    def __init__(self, cluster: LocalCluster, client_ini: str, address: Address) -> None:
        config = load_client_config(client_ini)
        key = load_key(config.client_key_file, create=False)
        self._front = Front(HttpConfig(address), config.servers, key, controls=NodeControls(cluster))
        self._thread = threading.Thread(target=self._front.run, name="page", daemon=True)

    def __enter__(self) -> NodePage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._front.stop()
        self._thread.join(5.0)
