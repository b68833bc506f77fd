"""The database: what the replicated commands mean, and how clients reach it.

    commands.py   the commands that go through the log: their form, limits and checks
    sessions.py   who has already been answered what: each command takes effect exactly once
    index.py      the keys in their order
    store.py      Store: the deterministic state machine of all that
    service.py    KVService: requests in, entries back, answers out
    server.py     KVServer: wires rpc, raft and the service into a server
    session.py    ClerkSession: a client's half of "exactly once", without I/O; with numbering.py (sequence
                  numbers), leader_search.py (which server next), client_command.py (a command, its outcome)
    driver.py     carries out what a ClerkSession decides, on real connections
    clerk.py      Clerk: the client library; pipeline.py, its batches

A write is proposed to the log, and answered once it is applied; a read asks for a ReadIndex and is answered
from the store: both are linearizable. A client registers once (its id is the log index of that), numbers its
commands, and repeats one under the same number until it is answered; the store remembers answers, and gives a
repeated command its first answer instead of a second effect.

What this layer does not do: no transactions over several keys (a batch is one atomic entry, but has no reads
in it), no expiry of keys, no watches, and values are text.
"""
