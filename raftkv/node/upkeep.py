"""Upkeep: the changes of the members that a leader makes by itself.

    a member has moved      its record gets the addresses that it announces
    a disk was lost         an empty disk came under the id of one that has not been heard for long: the old
                            one leaves, the new one is a learner, which is promoted when it has caught up

Only an empty disk can replace another one, and only one that is silent: a copied ini file with an empty folder
pushes nobody out. What was replaced has left, and is refused when it comes back; so two disks cannot replace each
other again and again.

Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from raftkv.node.hello import Hello
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration, MemberRecord
from raftkv.raft.quorum import VoteResult, vote_result


def due_change(
    configuration: Configuration,
    met: Mapping[int, Hello],
    silent_s: Callable[[int], float],
    replace_after_s: float,
) -> Change | None:
    """What the leader should change now, if anything. `met`: uid -> hello, of itself and of those that it is
    connected with; `silent_s(uid)`: how long a member has not been heard, in seconds."""
    moved = [_moved(configuration, hello) for hello in met.values()]
    updates = tuple(record for record in moved if record is not None)
    if updates:
        return Change(update=updates)
    for hello in newcomers(configuration, met):
        holder = configuration.with_id(hello.id)
        if holder is not None and holder.uid not in met and silent_s(holder.uid) >= replace_after_s:
            return Change(add=(hello.record(holder.held),), remove=(holder.uid,))
    return None


def newcomers(configuration: Configuration, met: Mapping[int, Hello]) -> list[Hello]:
    """Servers with empty disks that are no members."""
    return [hello for hello in outsiders(configuration, met) if hello.is_empty]


def outsiders(configuration: Configuration, met: Mapping[int, Hello]) -> list[Hello]:
    """Servers that never were members."""
    return [hello for uid, hello in met.items() if uid not in (*configuration.members, *configuration.left)]


def why_it_waits(configuration: Configuration, hello: Hello) -> str:
    """Why the outsider `hello` is no member yet, as a sentence."""
    holder = configuration.with_id(hello.id)
    if not hello.is_empty:
        return (
            f"node {hello.id} at {hello.peer_address} has data, and is no member: the leader that was adding it did not come "
            "to the end. Stop it, move its data folder away, and start it with an empty one"
        )
    where = f"a server with an empty disk at {hello.peer_address} says that it is node {hello.id}"
    if holder is None:
        return f"{where}: it waits to be added to the cluster"
    return (
        f"{where}, which is a member with another disk: it takes its place when that one has not been heard for "
        "a while; if both are to go on, give the new one another [node] id"
    )


def what_is_missing(configuration: Configuration, own: int, met: Mapping[int, Hello]) -> str | None:
    """What a member, which has the disk `own`, says while there is no leader, if no majority is there that could elect
    one; None if there is."""
    here = {uid: True for uid in configuration.all_voters if uid == own or uid in met}
    if vote_result(configuration, here) is VoteResult.WON:
        return None
    missing = {configuration.label(uid) for uid in configuration.all_voters if uid not in here}
    empty = sorted(missing & {hello.id for hello in newcomers(configuration, met)})
    instead = f" ({_nodes(empty)} with an empty disk)" if empty else ""
    return (
        f"no majority of the members is here: missing are the disks of {_nodes(sorted(missing))}{instead}; if so many are "
        "lost for good, kvserver --recover makes a cluster of what is left"
    )


def _nodes(ids: list[int]) -> str:
    return f"node{'s' if len(ids) > 1 else ''} {' and '.join(map(str, ids))}"


def _moved(configuration: Configuration, hello: Hello) -> MemberRecord | None:
    old = configuration.record(hello.uid)
    if old is None:
        return None
    new = hello.record(old.held)._replace(id=old.id)
    return new if new != old else None
