"""Directory: which servers there are, and where, as a client learns it from their answers.

A client is given some addresses. The ids that come with them, if any do, are believed until a server says another one of
itself. What a server says of the members adds addresses, and takes away those that were learned and are no member's any
more; the given ones stay. To a member whose id is known to be at one of our addresses no other one is added: that one
works from here, also where servers have other addresses among themselves.

A client belongs to the cluster that first answered one of its commands, or may have carried one out: others are refused,
and when only others are left, the client has come to its end.

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
        self._cluster_id = 0  # of ours, from bind() on
        self._guided_by = 0  # the cluster_id of those whose guides count until then
        self._told: dict[int, int] = {}  # server -> its cluster_id, by its last hello

    def greeted(self, server: int, guide: Any) -> None:
        """The first words of `server` on a connection are `guide`. Raises ProtocolError if it is not of our cluster."""
        cluster_id = _cluster_id(guide)
        if not cluster_id:
            raise ProtocolError("it is no member of a cluster yet")
        self._told[server] = cluster_id
        if self._is_foreign(cluster_id):
            raise ProtocolError("it belongs to another cluster than before")

    def bind(self, server: int) -> None:
        """`server` has answered a command, or may have carried one out: from now on its cluster is ours."""
        if not self._cluster_id:
            self._cluster_id = self._told.get(server, 0)

    def is_foreign(self, server: int) -> bool:
        """Was `server`, when it was heard last, of another cluster than ours? From any thread."""
        return self._is_foreign(self._told.get(server, self._cluster_id))

    @property
    def has_lost_its_cluster(self) -> bool:
        """Are those that could be reached of another cluster?"""
        return bool(self._told and self._cluster_id) and self._cluster_id not in self._told.values()

    def learn(self, server: int, guide: Any, keep: Collection[int | None] = ()) -> None:
        """`server` has said what kvdb.members.Members.guide() has. Numbers in `keep` do not go."""
        members = members_of(guide.get("members")) if isinstance(guide, dict) else {}
        cluster_id = _cluster_id(guide)
        if not members or not cluster_id or cluster_id != (self._cluster_id or self._guided_by or cluster_id):
            return
        self._guided_by = cluster_id
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
        if self._told and not self._is_foreign(self._told.get(server, 0)):
            self._told.pop(server, None)
        if self._guided_by:  # else there is nothing better to know
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

    def _is_foreign(self, cluster_id: int) -> bool:
        return self._cluster_id not in (0, cluster_id)

    def _name(self, server: int, id: Any) -> None:
        if type(id) is int and server in self.addresses and self.ids.get(id) != server:
            self.ids = {other: number for other, number in self.ids.items() if number != server}
            self.ids[id] = server


def _cluster_id(guide: Any) -> int:
    """0 if it names none."""
    cluster_id = guide.get("cluster_id") if isinstance(guide, dict) else None
    return cluster_id if type(cluster_id) is int else 0


def members_of(plain: Any) -> dict[int, Address]:
    """id -> address, from what a server says. What makes no sense is left out: a client talks to servers of any
    version."""
    found: dict[int, Address] = {}
    for id, text in plain.items() if isinstance(plain, dict) else ():
        host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        if type(id) is int and id > 0 and host and port.isdecimal() and 0 < int(port) < 65_536:
            found[id] = Address(host, int(port))
    return found
