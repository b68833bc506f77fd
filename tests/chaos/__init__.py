"""Chaos: a cluster of real processes under every fault at once, and a verdict on what its clients saw.

    python -m tests.chaos --minutes 15                      # 5 nodes; a new seed, which is printed
    python -m tests.chaos --minutes 2 --nodes 3 --seed 42   # the same plan of faults again

What takes part, each in a file of its own:

    proxy.py        a TCP proxy on each directed link between two peers: it holds, refuses, delays, throttles
                    and loses frames, or ends a connection in the middle of one (pipe.py)
    launcher.py     runs a server whose fsync can be made to fail or to take long, and which finds each other server
                    through a proxy of that pair
    cluster.py      tests/cluster's Cluster with both of these
    data_client.py  one that uses all of the database, and its record, which is judged by revisions
    client.py       a client: it writes and reads a few keys with Clerk; stubborn.py one that does not follow
                    the leader; client_process.py a process full of them
    recorder.py     what they asked and what they were told, in the format of tests/linearizability
    nemesis.py      decides what happens when; has two hands, one for processes and disks (process_faults.py),
                    one for the network (network_faults.py), so that faults of both sorts overlap
    resources.py    memory, threads and open files of each node over the run
    verdict.py      the histories' linearizability, and that each append took effect exactly once
    run.py          one run from the first start to the verdict

A seed fixes which faults come, and in which order. It does not fix the rest: real processes share real
processors, and who leads at which moment is theirs to decide. So a failure keeps its folder, with all logs
and histories.

What it does not do: power failures (a page cache that is lost; the simulator has them, and here only a
failed fsync loses what was not synced), and clocks that jump. It needs a POSIX system; the disk that fills
up and the resource table need Linux.
"""
