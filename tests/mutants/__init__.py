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
"""
