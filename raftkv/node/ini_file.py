"""What a server's file says of the others, compared with what the cluster knows. The cluster's word counts; so that an
edited file changes nothing silently, the differences are said. (What the file says of this server itself becomes known
to the cluster: upkeep.py.)

Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator

from raftkv.ini import Address
from raftkv.node.profile import Profile
from raftkv.raft.configuration import Configuration


def differences(profile: Profile, members: Configuration) -> Iterator[tuple[int, str]]:
    """(id, a sentence) for each other server of which the file says something else than `members`."""
    for id in sorted({*profile.servers, *profile.peers} - {profile.id}):
        record = members.with_id(id)
        if record is None:
            yield (
                id,
                (
                    f"the file of this server has node {id}, which is no member of the cluster: `member add` makes it one; if "
                    "it is to be none, take it out of [servers] and [peers]"
                ),
            )
            continue
        for section, told, known in (
            ("servers", profile.servers.get(id), record.client_address),
            ("peers", profile.peers.get(id), record.peer_address),
        ):
            if told is not None and _spelt(told) != _spelt(known):
                yield (
                    id,
                    (
                        f"the file of this server has node {id} at {told} in [{section}], and the cluster has it at {known}, "
                        f"which counts: correct the file (a member moves by its own file, or by `member move`)"
                    ),
                )
                break


def _spelt(address: str) -> str:
    host, _, port = address.rpartition(":")
    return str(Address(host, int(port)).plain()) if port.isdecimal() else address
