"""Named places between a persist and a send, at which a test can kill the process.

RAFTKV_CRASH_POINT=name or name@3 in a node's environment ends it, as kill -9 would, when it comes to that
place for the first, or here the third, time. Without the variable, reach() does nothing.
"""

from __future__ import annotations

import os

#: The node's own places; the persister adds its own between any two steps on the disk.
CRASH_POINTS = (
    "node:before-save",  # entries or term and vote are decided, nothing is on the disk
    "node:saved",  # they are on the disk, and no message has said so
    "node:chunk-stored",  # a snapshot chunk is on the disk, and no message has said so
    "node:before-send",  # messages are about to leave
    "node:snapshot-written",  # an own snapshot is on the disk, and the log is not yet compacted
    "node:before-apply",  # entries are committed, and the state machine has not seen them
    "node:before-reply",  # they are applied, and no client has been told (the database reaches this one)
)

EXIT_STATUS = 86  # of a process that ended at a crash point

_name, _, _count = os.environ.get("RAFTKV_CRASH_POINT", "").partition("@")
_left = int(_count or 1)


def _reach(name: str) -> None:
    global _left
    if name == _name:
        _left -= 1
        if _left <= 0:
            os._exit(EXIT_STATUS)


def _nothing(name: str) -> None:
    """No crash point is asked for."""


#: Called with its name at each place.
reach = _reach if _name else _nothing
