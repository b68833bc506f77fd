"""The server's database: what the replicated commands mean, and how requests become entries and answers.

    limits.py          the limits of keys, values and requests, and their checks
    outcomes.py        what became of an operation: ok with a result, or refused
    operations.py      the table of operations: each one's fields, check, plain form and effect
    member_requests.py what an operator can ask of the members, and its check
    members.py         Members: how that is answered
    requests.py        operations as they come in requests and in entries of the log
    session_table.py   who has already been answered what: each command takes effect exactly once
    sorted_items.py    the items, by key and in the order of the keys
    snapshot_view.py   a store as it was at one moment, read while it goes on
    store.py           Store: the deterministic state machine of all that
    dumps.py           Dumps: views that clients read piece by piece
    offline.py         the database of a server that does not run
    recovery.py        a cluster of one, from the disk of a survivor
    data_limit.py      DataLimit: how large the data may become
    service.py         KVService: requests in, entries back, answers out
    server.py          KVServer: wires rpc, node and service into a server

A write is proposed to the log, and answered once it is applied; a read asks for a ReadIndex and is answered
from the store: both are linearizable. A client registers once (its id is the log index of that), numbers its
commands, and repeats one under the same number until it is answered; the store remembers answers, and gives a
repeated command its first answer instead of a second effect. The client's half of this is raftkv/client.

What this layer does not do: no transactions over several keys (a batch is one atomic entry, but has no reads
in it), no expiry of keys, no watches, and values are text.
"""
