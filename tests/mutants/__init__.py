"""Mutants: the product is broken on purpose, in small ways, to see that the tests notice.

    python -m tests.mutants                      all of them: what catches each, and after how long
    python -m tests.mutants "backlog of 1"       some
    python -m tests.mutants --list               what there is

What is to catch a mutant is the simulator within a number of seeds, or one test of the suite. "Caught" also
means that the same seed, or the same test, passes on the product as it is; that is checked each time.

    mutant.py                what a mutant is, and how it is put in force
    breaking.py              the ways to break something
    in_raft.py, …, table.py  the mutants, by what they break
    plugin.py                a pytest, and a server, of the broken product
    run.py, __main__.py      trying them, and saying what came of it

Traps are mistakes that real systems have made. A mutant names those that it stands for:

1. A vote or term that is not durable before the answer.
2. An entry of an older term committed by counting (figure 8); a leader whose log is less complete.
3. A late AppendEntries that cuts off acknowledged entries; a commit beyond what the message verified; `match` going back; an
   answer of an earlier term that counts.
4. A read served by a deposed leader, before the no-op of the term, or confirmed by an earlier round.
5. A vote file that is truncated and then written; a rename without an fsync of the folder; an fsync error that is ignored.
6. Damage in the middle of the log taken for a torn tail, or the reverse.
7. An older snapshot over newer state; two installs at once; sessions missing from a snapshot.
8. A retry that is applied twice; a late answer given to another request.
9. A member that lost its disk, or runs on an older copy of it, and votes; two clusters where there was one.
10. A handshake that holds up all accepts; frames without a limit; senders without a deadline.
11. A half-open connection that looks alive.
12. A whole store serialised in one call, so that heartbeats stop.
13. Tables that grow for ever.
14. A full disk on which something is lost.
15. A lost wakeup: a thread sleeps though there is work for it.
16. A joint configuration counted by one majority; a learner, or a removed leader, that counts; two changes at once, or one
    before the leader's no-op; a promoted learner that refuses its vote.
17. A watch that misses, repeats or splits a revision; one that nobody reads, and that fills its server.
18. A lease that ends before its time; two who hold one lock.
"""
