"""Measuring a cluster: `bin/kvbench.py`, also installed as `raftkv-bench`.

    python bin/kvbench.py --local 3 put1 put64 get64        # a cluster of its own, in a temporary folder
    python bin/kvbench.py --config conf/client.ini put --clients 32 --value-size 1024    # one that runs
    python bin/kvbench.py --local 3 outage                  # kills the leader
    python bin/kvbench.py --local 3 --compare               # beside what the machine allows
    python bin/kvbench.py --local 3 watch1 watch1000        # one writer; events, and how long each took to be told
    python bin/kvbench.py --local 3 put64 --json >> results.jsonl
    python -m raftkv.bench.pairs ../other-tree put1 put64   # this tree against another one, in turns

**What is measured.** *Clients* are closed loops: each has one operation under way (or `--in-flight` many),
and asks for the next one when it is answered. They share *connections*, each a Clerk; those are spread over
*processes*, since one Python process is soon busier than the cluster. By default a process has one Clerk for
all its clients, as a program should; etcd's own benchmark shares connections, too. A client is a callback
that submit() calls with the answer: a thousand of them cost little. One that has its connection to itself is
a thread that calls put() and waits, as most programs do; so is one with a `--batch`, which is a pipeline().

All processes connect, and put load on the cluster for `--warmup` seconds. Then they all begin to count at one
moment, and stop at one moment. What is answered in between counts, in operations (a batch is many); a latency
is that of a request, from the client's call to its answer, with all repetitions within: a request that
outlives a leader is one slow request. Latencies go into histograms (histogram.py), so that hours need no
memory.

**What makes a result doubtful is said.** Every failure is counted by its kind and printed, and so is an
election; a get must find its key, a cas must match. The exit status is 1 if anything failed, except with
`--kill-leader`, where failures are a part of what is measured.

**What it does not measure.** *Coordinated omission*: while the cluster stands still, closed loops ask for
nothing, so a pause of a second is one slow request a client and not the thousands that users would have sent
meanwhile. Look at the maximum and at the longest gap (`outage`) beside the percentiles. *One machine*: with
`--local` the clients compete with the servers for processors and all servers share one disk, so the figures
are for comparing, in one sitting, and no forecast for three machines. Nor does it vary its values: they are
all x.

**The files.** workloads.py says what can be measured, operations.py and keys.py what a client asks for,
clients.py how it waits, fanout.py who watches. load.py is one process of clients and recorder.py its notes; processes.py starts
several of them, run.py coordinates a run, result.py adds up. target.py has the cluster, outage.py kills its
leader, cpu.py reads the servers' processor time, session.py measures one workload after the other. floor.py and echo.py measure the machine, compare.py
holds workloads against it, pairs.py one tree against another. progress.py and report.py show it all;
arguments.py and main.py are the program.
"""
