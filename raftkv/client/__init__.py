"""The client: Clerk, and what it must do so that each command takes effect exactly once.

    numbering.py       sequence numbers, by which a server tells a repeated command from a new one
    directory.py       which servers there are, and where, as they say themselves
    leader_search.py   which server to ask next, while the leader is not known
    inquiry.py         one command looks for the leader, the others wait
    command.py         one command, the actions that move it, and what its failures are called
    waiting.py         the commands that wait to be sent
    session.py         ClerkSession: the client's half of "exactly once", without I/O
    loan.py            what a caller needs to make commands by itself
    loans.py           what is lent to a caller who is alone: the connection and the next numbers
    window.py          the commands of submit() that have no answer yet
    connections.py     Connections: the ways to the servers that are known
    driver.py          Driver: our own threads; carries out on real connections what a ClerkSession decides
    callers.py         Callers: what a caller's thread does, without a lock
    encoding.py        between the text of a program and the bytes of the database
    answers.py         what a Clerk returns: KeyValue, RangeResult, Deleted
    ranges.py          ranges, however large
    local_reads.py     reads that any server answers from its own state
    leases.py          leases for programs: commands, and Lease, which keeps itself alive
    watch_session.py   WatchSession: the client's half of a watch, without I/O
    watching.py        Watching: carries out on real connections what WatchSessions decide
    watch.py           watches for programs: an iterator of events
    claim.py           a place in a queue: what locks and elections share
    lock.py, election.py   one holder, or leader, at a time
    transaction.py     transactions for programs: compares and operations
    pipeline.py        Pipeline: many operations in few requests
    dump.py            Dump: all keys as of one moment
    poll.py            every server is asked for its status
    members.py         changes of the members, seen through to their end
    clerk.py           Clerk: what programs use

ClerkSession knows no socket, thread or clock: events go in, actions come out. So Driver runs it on real
connections, and the simulator of the tests on a virtual clock. The server's half is raftkv/kvdb/session_table.py.

What this layer does not do: it keeps no data, and promises nothing about the order of commands that are under
way at the same time.
"""
