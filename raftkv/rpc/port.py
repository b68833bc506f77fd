"""What the loop of an RpcServer knows of each listener, and of each of its connections."""

from __future__ import annotations

import socket
import time
from typing import Callable

from raftkv.rpc.channel import Channel
from raftkv.rpc.door import Door
from raftkv.rpc.handler import Handler, Request
from raftkv.rpc.wire import FrameReader


class Port:
    """One listener: its door, its handler, and the requests of the current turn."""

    def __init__(self, handler: Handler, max_frame_bytes: int, always: frozenset[str]) -> None:
        self.door: Door  # set by who makes it
        self.handler = handler
        self.max_frame_bytes = max_frame_bytes
        self.always = always
        self.batch: list[Request] = []
        self.batch_bytes = 0  # of the payloads that were read for it
        self.refused: list[Connection] = []  # that are being told so; oldest first


class Connection(Channel):
    """A channel with what only the loop knows of it."""

    __slots__ = ("frame_since", "frames", "port", "refusal", "since", "watched")

    def __init__(
        self,
        port: Port,
        sock: socket.socket,
        peer: str,
        refusal: str | None,
        attend: Callable[[Connection], None],
    ) -> None:
        super().__init__(sock, peer, attend)
        self.port = port
        self.refusal = refusal  # why no requests are taken from it, if it is one too many
        self.since = time.monotonic()
        self.frames = FrameReader(port.max_frame_bytes)
        self.frame_since: float | None = None  # since when a frame has been coming in without an end
        self.watched = 0  # the events that the selector is watching
