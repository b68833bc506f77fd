"""What becomes of this process's connections and files in a child that it forks.

A child has the parent's descriptors, and none of its threads. So whoever holds connections, files or threads
registers here. In the child it closes what it inherited (close() alone: a shutdown() would end the parent's
connection, and to unregister from an epoll would unregister the parent), takes no lock that a thread of the
parent may have held, and begins anew.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

#: How many forks lie between this process and the one that imported this module.
generation = 0


class Owner(Protocol):
    def after_fork_in_child(self) -> None:
        """Close what was inherited, and begin anew. Called before anything else runs in the child."""


class Closable(Protocol):
    def close(self) -> None: ...


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
_inherited: weakref.WeakSet[Closable] = weakref.WeakSet()


def register(owner: Owner) -> None:
    """Have `owner` told in each child. It is not kept alive by this."""
    _owners.add(owner)


def close_in_child(*inherited: Closable) -> None:
    """Have these closed in each child: sockets, selectors, files. They are not kept alive by this."""
    for each in inherited:
        _inherited.add(each)


def _in_child() -> None:
    global generation
    generation += 1
    for each in list(_inherited):
        each.close()
    for owner in list(_owners):
        owner.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
