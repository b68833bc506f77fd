"""A deterministic simulator: whole clusters, with all that can go wrong, decided by one seed.

    python -m tests.sim --seeds 20000            many seeds, on two processes; what they comprised
    python -m tests.sim --replay 17              one seed, with a line for each event
    python -m tests.sim --shrink 17              which few faults make it fail?

What runs is the product: Member, RaftNode and the core, the Persister, KVService and the store, ClerkSession.
What is simulated is what they stand on: the network, the disks, the clocks and the threads. Nothing else
decides what happens next, so a seed means one history, whatever the machine, and whatever PYTHONHASHSEED.

    plan.py      what a seed decides at the start: cluster, options, clients, kinds of trouble
    events.py    the queue of events on a virtual clock
    world.py     one cluster on it; first the faults, then the calm
    host.py      a machine: its disk and its clock; process.py: one life of a server on it
    fiber.py     calls that can stop in the middle; threads.py: the product's threads, made of them
    disk.py      a disk that loses what was not fsynced
    network.py   loses, delays, doubles, reorders; peers.py: the servers' connections over it
    client.py    clients, their work and what they saw; record.py: as a history; data_client.py: those that use all of
                 the database; late_requests.py: what comes late, or forged
    leases.py    what is promised of leases
    operator.py  who decides which machines are the members, and sees to it
    faults.py    what goes wrong, and when; fault.py: what one fault can do; network_faults.py,
                 server_faults.py, disk_faults.py, member_faults.py: the kinds of faults
    checks.py    what must be true after each event, and at the end
    trace.py     lines for people
    runner.py    one case, or many on several processes; report.py: what came of them
    shrink.py    smaller failures

What it does not do: real sockets, real files, real threads (tests/cluster and tests/rpc have those), and it
does not find what is only slow.
"""
