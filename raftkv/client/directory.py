"""Directory: which servers there are, and where, as a client learns it from their answers.

A client is given some addresses. The ids that come with them, if any do, are believed until a server says another one of
itself. What a server says of the members adds addresses, and takes away those that were learned and are no member's any
more; the given ones stay. To a member whose id is known to be at one of our addresses no other one is added: that one
works from here, also where servers have other addresses among themselves.

A client belongs to the cluster that the first server told it: others are refused, and when only others are left, the
client has come to its end.

Each address has a number, its *server* in the rest of the client. Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from raftkv.errors import ProtocolError
from raftkv.ini import Address


class Directory:
    """Not thread-safe. `addresses`: number -> address; a new dict when it is another one. `ids`: id -> number."""

    def __init__(self, given: Mapping[int, Address], are_ids: bool = True) -> None:
        """`are_ids`: the numbers are ids, as far as the client was told."""
        self.addresses = dict(given)
        self.ids: dict[int, int] = {id: id for id in given} if are_ids else {}
        self._given = frozenset(given)
        self._cluster_id = 0
        self._greeted: dict[int, bool] = {}  # server -> is it of our cluster? By its last hello

    def greeted(self, server: int, guide: Any) -> None:
        """The first words of `server` on a connection are `guide`. Raises ProtocolError if it is not of our cluster."""
        if isinstance(guide, dict) and guide.get("cluster_id") == 0:
            raise ProtocolError("it is no member of a cluster yet")
        self._greeted[server] = not self._is_foreign(guide)
        if not self._greeted[server]:
            raise ProtocolError("it belongs to another cluster than before")

    @property
    def has_lost_its_cluster(self) -> bool:
        """Are those that could be reached of another cluster?"""
        return bool(self._greeted) and not any(self._greeted.values())

    def learn(self, server: int, guide: Any, keep: Collection[int | None] = ()) -> None:
        """`server` has said what kvdb.members.Members.guide() has. Numbers in `keep` do not go."""
        members = members_of(guide.get("members")) if isinstance(guide, dict) else {}
        if not members or self._is_foreign(guide):
            return
        self._name(server, guide.get("id"))
        spelt = {address.plain(): number for number, address in self.addresses.items()}
        found = dict(self.addresses)
        for id, address in members.items():
            if id not in self.ids:
                number = spelt.get(address.plain())
                if number is None:
                    number = id if id not in found else max(found) + 1
                    found[number] = address
                if number not in self.ids.values():
                    self.ids[id] = number
        used = {*self._given, *keep, *(self.ids[id] for id in members if id in self.ids)}
        found = {number: address for number, address in found.items() if number in used}
        self.ids = {id: number for id, number in self.ids.items() if number in found}
        if found != self.addresses:
            self.addresses = found

    def failed(self, server: int) -> None:
        """There was no answer from there: whoever is said to be there may have moved."""
        if self._greeted.get(server):
            del self._greeted[server]
        if self._cluster_id:  # else there is nothing better to know
            self.ids = {id: number for id, number in self.ids.items() if number != server}

    def number_of(self, id: Any) -> int | None:
        """Where the server `id` is."""
        return self.ids.get(id) if type(id) is int else None

    def label(self, server: int) -> str:
        """What people are told that `server` is."""
        for id, number in self.ids.items():
            if number == server:
                return str(id)
        return str(self.addresses.get(server, server))

    def _is_foreign(self, guide: Any) -> bool:
        cluster_id = guide.get("cluster_id") if isinstance(guide, dict) else None
        if type(cluster_id) is not int or not cluster_id:
            return True
        self._cluster_id = self._cluster_id or cluster_id
        return cluster_id != self._cluster_id

    def _name(self, server: int, id: Any) -> None:
        if type(id) is int and server in self.addresses and self.ids.get(id) != server:
            self.ids = {other: number for other, number in self.ids.items() if number != server}
            self.ids[id] = server


def members_of(plain: Any) -> dict[int, Address]:
    """id -> address, from what a server says. What makes no sense is left out: a client talks to servers of any
    version."""
    found: dict[int, Address] = {}
    for id, text in plain.items() if isinstance(plain, dict) else ():
        host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        if type(id) is int and id > 0 and host and port.isdecimal() and 0 < int(port) < 65_536:
            found[id] = Address(host, int(port))
    return found
