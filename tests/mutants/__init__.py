"""Mutants: the product is broken on purpose, in small ways, to see that the tests notice.

    python -m tests.mutants                      all of them: what catches each, and after how long
    python -m tests.mutants "backlog of 1"       some
    python -m tests.mutants --list               what there is

A mutant is a sabotage (tests/sim/patch.py: a piece of one function's source is replaced, in memory) and what
is to catch it: the simulator within a number of seeds, or one test of the suite. "Caught" also means that the
same seed, or the same test, passes on the product as it is; that is checked each time.

    mutant.py                              what a mutant is, and how it is put in force
    in_simulator.py, in_raft.py, …         the mutants, by what they break
    plugin.py, launch.py                   a pytest, and a server, of the broken product
    run.py, report.py                      trying them, and saying what came of it
"""
