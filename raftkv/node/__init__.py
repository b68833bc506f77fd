"""The node: what drives Raft in a process, with a mutex, threads, storage and connections to its peers.

From the bottom up:

    interfaces.py         StateMachine and Network: what a node stands between
    crash_points.py       named places at which a test can end the process
    checked_lock.py       the mutex, with the paper's invariants checked at each release
    proposals.py          which client waits for which entry
    handover.py           what waits while the leadership passes to another node
    profile.py            what a server's ini file says of it and of the others
    ini_file.py           where that differs from what the cluster knows
    hello.py, lives.py    who two servers are to each other; copies of a disk
    founding.py           how the first servers become a cluster
    upkeep.py             what a leader changes of the members by itself
    wire.py               messages and hellos as plain data
    problems.py           what is wrong between members, for log and status
    snapshot_source.py    the snapshot that is being sent to a peer
    peer_link.py          PeerLink: the way to the server at one address
    network.py            PeerNetwork: messages to and from the other servers
    threads.py            Threads: what a node needs of the operating system's scheduler
    log_writer.py         LogWriter: who writes, and when the promises leave
    applier.py            Applier: who applies what is committed
    snapshotter.py        Snapshotter: own snapshots are written, received ones loaded
    room.py               RoomWatch: full disks, this node's and those of the others
    view.py               View: what a node knows of the members at one moment
    node.py               RaftNode: the mutex, input, and where what comes out goes
    admin.py              MemberAdmin: what an operator can change of the members
    member.py             Member: disk, network and node of one process, and the care for the members

To follow one command: RaftNode.propose() → Raft.propose() → Raft.ready() → (Persister.save(),
PeerNetwork.flush()) → Raft.step(AppendAccepted) → Raft.ready().committed → StateMachine.apply().
docs/architecture/put.md walks the same way slowly.

The mutex is held for calls of the core only: nothing is written, fsynced, sent or unpickled with it held.
What is durable comes first, then the promise.

What this layer does not do: it does not know what a command means (that is the state machine's), and does not
remove duplicates: a client that repeats a command must be recognised by the state machine.
"""
