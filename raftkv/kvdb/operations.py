"""The table of operations: all that clients can ask for, by the name of the request.

To add one, write a class (see operation.py) and name it here.
"""

from __future__ import annotations

from raftkv.kvdb.local_reads import Serializable
from raftkv.kvdb.maintenance import (
    Compact,
    DropHistory,
    Dump,
    DumpEnd,
    DumpPiece,
    LeaseExpire,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    Leases,
    LeaseTimeToLive,
    Status,
)
from raftkv.kvdb.member_requests import Hello, Member
from raftkv.kvdb.operation import Operation, Write
from raftkv.kvdb.reads import Get, Gets, Range
from raftkv.kvdb.restoring import Restore
from raftkv.kvdb.transactions import Txn, TxnRead
from raftkv.kvdb.watch_requests import Watch, WatchCancel, WatchTaken
from raftkv.kvdb.writes import SINGLE_WRITES, Batch, Puts

_WRITES: list[type[Write]] = [
    *SINGLE_WRITES.values(),
    Puts,
    Batch,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    Restore,
]
_OF_LEADERS: list[type[Write]] = [LeaseExpire, DropHistory]
#: What can be in the log.
IN_LOG: dict[str, type[Write]] = {kind.name: kind for kind in [*_WRITES, *_OF_LEADERS]}
_READS: list[type[Operation]] = [
    Get,
    Gets,
    Range,
    TxnRead,
    Leases,
    LeaseKeepAlive,
    LeaseTimeToLive,
    Hello,
    Member,
    Status,
    Dump,
    DumpPiece,
    DumpEnd,
    Watch,
    WatchTaken,
    WatchCancel,
    Serializable,
]
#: What clients can ask for.
OPERATIONS: dict[str, type[Operation]] = {kind.name: kind for kind in [*_WRITES, *_READS]}
