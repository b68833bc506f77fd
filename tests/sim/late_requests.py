"""Requests that come late, or that nobody honest would send: what one-shot writes must bear (kvdb/session_table.py).

A command that was answered comes once more, long after, when its session may be forgotten and a snapshot taken: it must not
take effect again. And a stranger begins sessions with births that no server can have told: none of them may take effect, nor shut
others out.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from raftkv.client.command import Command

if TYPE_CHECKING:
    from tests.sim.client import SimClient

OFTEN = 0.3
WITHIN_S = 15.0
FORGED = (0, 10**9, 2**62)  # births


class LateRequests:
    """Of one client, which gets no answers to them."""

    def __init__(self, client: SimClient, seed: str) -> None:
        self._client, self._rng = client, random.Random(seed)
        self._strangers = 0

    def after(self, command: Command) -> None:
        """`command` was answered."""
        world, numbering = self._client.world, command.numbering
        if numbering is not None and self._rng.random() < OFTEN:
            args = (numbering.name, numbering.birth, command.seq, 1, *command.args)
            world.schedule(self._rng.random() * WITHIN_S, self._send, command.method, args)
        if self._rng.random() < OFTEN / 10:
            world.schedule(self._rng.random(), self._forge)

    def _forge(self) -> None:
        self._strangers += 1
        client = self._client
        token = f"{client.name}-forged-{self._strangers}"
        client.tokens[token] = "fail"
        name, birth = f"stranger {client.name} {self._strangers}", self._rng.choice(FORGED)
        self._send("append", (name, birth, 1, 1, client.own_key.encode(), token.encode() + b";"))

    def _send(self, method: str, args: tuple[Any, ...]) -> None:
        world = self._client.world
        if not world.calm:
            world.count["late requests"] += 1
            self._client.carry(self._rng.choice(sorted(world.hosts)), method, args)
