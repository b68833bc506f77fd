"""Connections: the ways of one client to the servers that it knows.

To each there is an end for commands, on which the server must be of the client's cluster: the first words on each
connection say so. Those to servers that may lead next are kept open. `status` has ends of its own, on which any server
may answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Callable

from raftkv.ini import Address
from raftkv.kvdb.member_requests import Hello
from raftkv.rpc.calls import Call
from raftkv.rpc.client import ClientEnd

_CONNECT_TIMEOUT_S = 1.5  # a little more than a lost first packet costs

HELLO = Hello.name


class Connections:
    """`ends`: server -> its end. It grows and shrinks: copy it before a loop. `addresses`: of the servers that have one.
    follow() and take_gone() are for those who hold the driver's lock, all else is for any thread.

    `on_hello(server, guide)` is called with the first words of a server on a connection; it may raise ProtocolError.
    """

    def __init__(self, authkey: bytes, on_hello: Callable[[int, Any], None]) -> None:
        self._authkey, self._on_hello = authkey, on_hello
        self.addresses: Mapping[int, Address] = {}
        self.ends: dict[int, ClientEnd] = {}
        self._status_ends: dict[Address, ClientEnd] = {}
        self._gone: list[ClientEnd] = []  # to be closed

    def follow(self, addresses: Mapping[int, Address]) -> bool:
        """Have an end for each of these servers. Returns whether others are to be closed: see take_gone()."""
        before, self.addresses = self.addresses, addresses
        for server in [server for server, address in before.items() if addresses.get(server) != address]:
            self._gone.append(self.ends.pop(server))
        for address in set(self._status_ends) - {*addresses.values(), *before.values()}:
            self._gone.append(self._status_ends.pop(address))
        for server, address in addresses.items():
            if server not in self.ends:
                self.ends[server] = ClientEnd(
                    address,
                    self._authkey,
                    name=f"clerk-{server}",
                    hello=lambda: (HELLO, ()),
                    on_hello=partial(self._on_hello, server),
                    connect_timeout_s=_CONNECT_TIMEOUT_S,
                )
        return bool(self._gone)

    def take_gone(self) -> list[ClientEnd]:
        """The ends that are to be closed."""
        gone, self._gone = self._gone, []
        return gone

    def status_end(self, address: Address, label: str) -> ClientEnd:
        """The end of a server for `status`; `label`: what people know it as."""
        end = self._status_ends.get(address)
        if end is None:
            end = ClientEnd(
                address, self._authkey, name=f"clerk-{label}", connect_timeout_s=_CONNECT_TIMEOUT_S
            )
            end = self._status_ends.setdefault(address, end)
        return end

    def questions(self, leader: int, make: Callable[[int], Call]) -> list[Callable[[], None]]:
        """What asks the leader for the members, and the others, with which there is no connection, too, so that there is
        one: any of them may lead next."""
        return [
            partial(end.post, make(server), HELLO, ())
            for server, end in self.ends.items()
            if server == leader or not end.is_connected
        ]

    def all(self) -> list[ClientEnd]:
        return [*self.ends.values(), *self._status_ends.values(), *self._gone]
