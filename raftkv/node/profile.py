"""Profile: what a server's ini file says of it and of the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Profile:
    """`cluster` is a name. Addresses are "host:port". `founders`: id -> peer address of all that found the
    cluster, this one among them; none if it joins one that there is. `hints`: where else to look for members.
    `servers`, `peers`: id -> address, as these sections have it."""

    cluster: str
    id: int
    client_address: str
    peer_address: str
    http_address: str = ""
    founders: Mapping[int, str] = dataclasses.field(default_factory=dict)
    hints: tuple[str, ...] = ()
    servers: Mapping[int, str] = dataclasses.field(default_factory=dict)
    peers: Mapping[int, str] = dataclasses.field(default_factory=dict)
