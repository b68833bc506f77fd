"""Values that are compared by what they say, under any names of the servers.

A form is a text that two things have in common if, and only if, no event tells them apart:

* Moments are relative to the clock of their server: ahead, less than an election timeout ago, or longer ago.
* Sets, tables and lists of ids have no order. What only people read is left out; so is chance, and are sizes in
  bytes, since no bound of them is ever reached.
* Servers are renamed as `names` says.
"""

from __future__ import annotations

import enum
import pickle
import random
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from types import MethodType
from typing import Any, Callable

from raftkv.raft.configuration import Configuration
from raftkv.raft.types import CONFIG, Entry, Options

from tests.explore.server import ID, Longest, Server

Names = Mapping[int, int]  # id -> its other name

_NOT_COMPARED = {"role_reason", "_ends", "_start", "_pending", "_pending_bytes", "_inflight_bytes"}
_LEFT_OUT = (MethodType, Longest, random.Random, Options)


@cache
def names_for(order: tuple[int, ...]) -> Names:
    """Servers are called after their place in `order`."""
    return {id: ID + 100 + place for place, id in enumerate(order)}


class Frozen:
    """A thing that changes no more. Not compared by its content: see Interned."""

    def __init__(self, digest: Callable[[Names], bytes], ids: Sequence[int], id: int = 0) -> None:
        """`ids`: of all servers; `id`: of the one that it belongs to, if there is one."""
        self._digest = digest
        self._digests: dict[tuple[int, ...], bytes] = {}
        # The same under all names: the others are not told apart.
        self.signature = digest({other: ID + (99 if other == id else 98) for other in ids})

    def digest(self, order: tuple[int, ...]) -> bytes:
        """Under the names that `order` gives; 128 bits."""
        found = self._digests.get(order)
        if found is None:
            found = self._digests[order] = self._digest(names_for(order))
        return found


def digest(thing: Any, names: Names) -> bytes:
    return blake2b(_Form(names).of(thing).encode(), digest_size=16).digest()


def pickled_digest(pickled: bytes) -> Callable[[Names], bytes]:
    """Of a server that is kept as `pickled`."""

    def of_server(names: Names) -> bytes:
        server: Server = pickle.loads(pickled)
        held = {id(entry) for entry in server.raft.log.entries}
        waiting = [[(e.index, id(e) in held) for e in ready.entries] for ready in server.queue]
        form = _Form(names, server.raft.now, server.raft.options.election_timeout_s).of([server, waiting])
        return blake2b(form.encode(), digest_size=16).digest()

    return of_server


class _Form:
    def __init__(self, names: Names, now: float = 0.0, timeout_s: float = 0.0) -> None:
        self._names, self._now, self._timeout_s = names, now, timeout_s
        self._seen: set[int] = set()  # objects with attributes, which may refer to each other

    def of(self, thing: Any) -> str:
        kind = type(thing)
        if kind is int:
            return str(self._names.get(thing, thing))
        if kind is float:
            return self._moment(thing)
        if kind is Entry:  # all commands are alike
            data = self.of(_configuration(thing.line)) if thing.kind == CONFIG else thing.kind
            return f"{thing.index}@{thing.term}{data}"
        if kind is Configuration:
            groups = [
                sorted(map(self.of, group)) if type(group) is tuple else self.of(group) for group in thing
            ]
            return f"Configuration{groups}"
        if isinstance(thing, (tuple, list, deque)):
            parts = [self.of(part) for part in thing]
            if kind is not tuple and isinstance(thing, tuple):
                return f"{kind.__name__}({','.join(parts)})"
            return f"[{','.join(sorted(parts) if _is_ids(thing) else parts)}]"
        if isinstance(thing, (set, frozenset)):
            return f"{{{','.join(sorted(self.of(part) for part in thing))}}}"
        if isinstance(thing, dict):
            pairs = sorted(f"{self.of(key)}:{self.of(value)}" for key, value in thing.items())
            return f"{{{','.join(pairs)}}}"
        if isinstance(thing, enum.Enum):
            return thing.name
        if hasattr(thing, "__dict__"):
            return self._object(thing)
        return repr(thing)

    def _moment(self, moment: float) -> str:
        if moment > self._now:
            return "ahead"
        return "late" if moment > self._now - self._timeout_s else "long ago"

    def _object(self, thing: Any) -> str:
        if id(thing) in self._seen:
            return "again"
        self._seen.add(id(thing))
        parts = [
            f"{name}={self.of([index for index, _ in value] if name == '_inflight' else value)}"
            for name, value in sorted(vars(thing).items())
            if name not in _NOT_COMPARED and not isinstance(value, _LEFT_OUT)
        ]
        return f"{type(thing).__name__}({','.join(parts)})"


def _is_ids(things: Sequence[Any]) -> bool:
    return len(things) > 1 and all(type(each) is int and each >= ID for each in things)


@cache
def _configuration(line: bytes) -> Configuration:
    return Configuration.from_plain(Entry.decode(line).data)
