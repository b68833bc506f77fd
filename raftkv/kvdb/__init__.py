"""The server's database: what the replicated commands mean, and how requests become entries and answers.

    limits.py          the limits of keys, values and requests, and their checks
    outcomes.py        what became of an operation: ok with a result, or refused
    sorted_items.py    the items, by key and in the order of the keys
    history.py         the last events, with what was there before: reads of the past
    leases.py          which leases there are, and which keys hang on them
    lease_clock.py     when they end, as the leader sees it
    lease_keeper.py    LeaseKeeper: ends them, and keeps them alive
    keyspace.py        Keyspace: keys, revisions, history and leases; what operations change
    ranges.py          ranges of keys, and how their rows are sorted and filtered
    operation.py       what an operation is: its fields, check, plain form and effect
    reads.py           get, gets, range
    writes.py          put, append, delete, cas, and batches of them
    transactions.py    compares, then, else
    maintenance.py     compact, leases, status, dumps
    member_requests.py what is asked of the members
    members.py         Members: how that is answered
    restoring.py       a dump is put back
    watch_requests.py  what clients and servers say about watches
    range_index.py     who is interested in a key, among many ranges
    watch_cursor.py    where one watch is in the history, and what it is told
    watches.py         Watches: the streams that tell clients of changes
    local_reads.py     reads that any server answers from its own state
    operations.py      the table of operations
    requests.py        operations as they come in requests and in entries of the log
    session_table.py   who has already been answered what: each command takes effect exactly once
    snapshot_view.py   a store as it was at one moment, read while it goes on
    store.py           Store: the deterministic state machine of all that
    dumps.py           Dumps: views that clients read piece by piece
    offline.py         the database of a server that does not run
    recovery.py        a cluster of one, from the disk of a survivor
    data_limit.py      DataLimit: how large the data may become
    service.py         KVService: requests in, entries back, answers out
    server.py          KVServer: wires rpc, node and service into a server

A write is proposed to the log, and answered once it is applied; a read asks for a ReadIndex and is answered
from the store: both are linearizable. A client draws a name, is told a birth, numbers its commands, and repeats one
under the same number until it is answered; the store remembers answers, and gives a repeated command its first answer
instead of a second effect. A watch is told of what its server has applied, whoever leads. The client's half of this is
raftkv/client.
"""
