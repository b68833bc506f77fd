"""The tests of MIT's course 6.824, labs 2 and 3, on virtual time.

    python -m pytest tests/course                     each test once, lab 3's with one round of the course's three
    python -m tests.course --seeds 20                 each with 20 seeds and all rounds, and its figures
    python -m tests.course backup --start 7 --trace   one seed, and all that happens

Procedures, numbers and time limits are those of the course's public test files (2022), told anew. What
differs is said where it does: at the test, and in these files, from the bottom up:

    network.py       the course's network: loss, delays, late answers, counting
    world.py         the virtual clock, and tests/sim's machines on it
    raft_cluster.py  what tests of lab 2 call: one(), check_one_leader(), crash(), and so on
    clerk.py, kv_cluster.py, generic.py    the same for lab 3
    run.py           one test with one seed, and the figures it reports

Besides what the course asserts, every test checks Raft's invariants (raft/invariants.py), that all logs
agree, that what a crashed server believed durable is on its disk, and in lab 3 that the history of all
calls is linearizable.

What it does not do: look for faults that the course does not know. That is for tests/sim.
"""
