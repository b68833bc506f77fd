"""Founding: how the first servers become a cluster, so that no others ever found a second one.

The list of founders is what the section [peers] of all of them says. The one with the lowest id founds, and only
when it has met all the others, and each is empty and has a list of the same ids. (Where the others are may look
different from each; that is a warning.) A server that holds data is not empty: so
while one of them does, wherever the others' disks went, nobody founds anything.

The founder begins a cluster of itself (Raft.found), and brings the others in by one ordinary change, when it has
met them all again. Until that change is in its log it serves no client: its disk alone would hold what it said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from raftkv.node.hello import Hello
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration

_MOST_CHARS = 80  # of what another server wrote, in a sentence


def founders_text(founders: Mapping[int, str]) -> str:
    """ "1=HOST:PORT 2=HOST:PORT …" """
    return " ".join(f"{id}={address}" for id, address in sorted(founders.items()))


def first_configuration(own: Hello) -> Configuration:
    """What the founder begins with. A disk founds once at most, so its random uid is the cluster's, too: a founder that
    crashes before the first entry is durable says the same in its next life."""
    alone = not _others(own)
    return Configuration((own.uid,), records=(own.record(),), cluster_id=own.uid, founding=not alone)


def bring_in(own: Hello, met: Iterable[Hello]) -> Change:
    """The change that makes the others members; see why_not()."""
    others = [hello for hello in met if hello.id in _others(own)]
    return Change(add=tuple(hello.record() for hello in others), promote=tuple(hello.uid for hello in others))


def why_not(own: Hello, met: Iterable[Hello]) -> str | None:
    """Why the server `own` cannot found a cluster, or bring the others in, now; None if it can. `met`: those
    that it is connected with."""
    met = list(met)
    # One that has the founder's own cluster_id has had the beginning of its log, from an attempt that a crash ended.
    holders = sorted({hello.id for hello in met if hello.cluster_id not in (0, own.cluster_id)})
    if holders and not own.founders:
        return (
            f"this server's disk is empty, and it has met node {holders[0]}, which has data: it waits to be added to that "
            f"cluster, by `member add {own.id} {own.client_address} {own.peer_address}`"
        )
    if holders:
        return (
            f"this server's disk is empty, and node {holders[0]} has data: it waits for a majority that has them to make it "
            "a member; if that is lost for good, see kvserver --recover"
        )
    if not own.founders:
        return "this server's disk is empty: it waits to be added to a cluster"
    founder = min(_ids(own.founders))
    if founder != own.id:
        return f"this server's disk is empty: it waits for node {founder} to found the cluster"
    for id in sorted(_others(own)):
        same = [hello for hello in met if hello.id == id]
        if not same:
            return f"to found the cluster, all nodes of [peers] must have been met, and node {id} was not yet"
        if len(same) > 1:
            return (
                f"two servers say that they are node {id}: stop one, and correct its [node] id and data_dir"
            )
        if _ids(same[0].founders) != _ids(own.founders):
            return difference(id, same[0].founders, own.founders)
    return None


def difference(peer: int, theirs: str, ours: str) -> str | None:
    """How node `peer` differs from this one in who is to found the cluster, as a sentence; None if it does
    not."""
    if theirs == ours:
        return None
    their_lines, our_lines = _lines(theirs), _lines(ours)
    for id in sorted({*their_lines, *our_lines}):
        there, here = their_lines.get(id, "nothing"), our_lines.get(id, "nothing")
        if there != here:
            return (
                f"node {peer} has another section [peers] than this node: for node {_short(id)} it has "
                f"{_short(there)}, and this node {_short(here)}; all should have the same"
            )
    return f"node {peer} has another section [peers] than this node; all should have the same"


def _others(own: Hello) -> set[int]:
    return _ids(own.founders) - {own.id}


def _ids(text: str) -> set[int]:
    return {int(id) for id in _lines(text) if id.isdecimal()}


def _lines(text: str) -> dict[str, str]:
    return {id: address for id, _, address in (line.partition("=") for line in text.split())}


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else text[:_MOST_CHARS] + "…"
