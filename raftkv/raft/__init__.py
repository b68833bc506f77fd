"""The consensus layer: a log that a majority of nodes agrees on, whatever fails.

Raft in one paragraph. One node leads. Clients' commands become entries of its log, which it copies to the
others; an entry that a majority has on disk is committed, will never be lost, and is applied by every node in
the same order. When the leader falls silent, another node asks for votes; a majority votes only for a node
whose log is at least as complete as its own, so the new leader has everything that was committed.

From the bottom up:

    types.py, messages.py, ready.py   the nouns, what nodes say to each other, what the core wants done
    log.py                  RaftLog: the log in memory
    progress.py, quorum.py, reads.py   small pieces of the leader's bookkeeping
    core.py                 Raft: the algorithm, as a state machine without I/O, clock or threads
    leadership.py           Leadership: what it does, and all that it knows, only while it leads
    following.py            Following: what it does with the messages of a leader
    output.py               Output: what it wants done, until somebody asks for it
    invariants.py           the paper's properties, runnable anywhere
    persister.py            Persister: term, vote, log and snapshots on disk, fsynced
    wire.py, network.py     messages to and from other nodes
    joining.py              who is who: a member that lost its disk must not vote as if it had not
    node.py                 RaftNode: the mutex and the threads that drive the core
    member.py               Member: all of it together, for one process

To follow one command: RaftNode.propose() → Raft.propose() → Raft.ready() → (Persister.save(),
PeerNetwork.flush()) → Raft.step(AppendAccepted) → Raft.ready().committed → StateMachine.apply().
docs/architecture.md walks the same way slowly.

What this layer does not do: it does not know what a command means (that is the state machine's), it does not
remove duplicates (a client that repeats a command must be recognised by the state machine), and it does not
yet change the membership of a running cluster, although voters are already read from the log.
"""
