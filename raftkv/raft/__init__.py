"""Consensus: a log that a majority of nodes agrees on, whatever fails. Pure: no I/O, clock, thread or chance.

Raft in one paragraph. One node leads. Clients' commands become entries of its log, which it copies to the
others; an entry that a majority has on disk is committed, will never be lost, and is applied by every node in
the same order. When the leader falls silent, another node asks for votes; a majority votes only for a node
whose log is at least as complete as its own, so the new leader has everything that was committed.

From the bottom up:

    types.py, messages.py, ready.py   the nouns, what nodes say to each other, what the core wants done
    log.py                  RaftLog: the log in memory
    progress.py, quorum.py, reads.py   small pieces of the leader's bookkeeping
    leadership.py           Leadership: what a node does, and all that it knows, only while it leads
    following.py            Following: what it does with the messages of a leader
    output.py               Output: what it wants done, until somebody asks for it
    configuration.py, changes.py   who belongs to the cluster, and what comes after what
    membership.py           Membership: the leader's part in a change of it
    core.py                 Raft: the algorithm, as a state machine
    invariants.py           the paper's properties, runnable anywhere

Inputs are `step(message)`, `tick(now)`, `propose(batch)`, `read_index(context)`, `propose_configuration(change)` and
`transfer_leadership(to)`; the output is a Ready.
The same class runs under the threads of raftkv/node, and under the simulator of the tests.

What this layer does not do: it stores and sends nothing (it says what is to be stored and sent, and in which
order), it does not know what a command means, and it connects to nobody: who joins must be reachable.
"""
