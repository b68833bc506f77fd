"""The explorer: all orders of events of a few servers, within bounds, and the paper's invariants in every state.

    python -m tests.explore                      all scenarios, on two processes, ten minutes at most
    python -m tests.explore figure_8             some
    python -m tests.explore --more 1             each event may happen once more than the scenario says
    python -m tests.explore --mutant "figure 8"  the product as a mutant breaks it (python -m tests.mutants --list)
    python -m tests.explore figure_8 --replay 0,0,3,1     what happens on a path, event by event
    python -m tests.explore --list               what there is

What runs is the product's `Raft`. A state is all that servers have in memory and on disk, what is on the way between
them, how much of each bound is spent, and what the path has decided: who voted for whom, who led, what was
committed. An event is a message that arrives, a timeout, a crash with a restart, a write of a slow disk, a proposal,
a change of the members, a transfer, a snapshot. A scenario (scenarios.py) says from where the search begins and how
often each may happen. Time has no other part in it: each server's clock goes on by its own events alone, and a moment
is ahead, less than an election timeout ago, or longer ago.

The search is breadth first, so that a violation comes with one of the shortest paths to it. States that were met are
remembered by 128 bits. In each are checked: at most one leader a term, elected by durable votes of a majority of each
configuration in force; one vote a server and term; what a leader commits is on the disks of such majorities; log
matching; leader completeness; nobody commits another entry at an index; and what raftkv/raft/invariants.py asks of
one server: there are the rules for changes of the members, too, which a scenario may leave out to see what comes of a
broken one. Where a scenario says so, those that are up must be able to elect a leader, which ends a change under way.

What keeps the number of states small, and why nothing is overlooked:

* Servers are equal. States that differ in nothing but names are one. (Only where two followers hold equally much does
  the core look at ids, to choose a successor; of the two choices one is explored.)
* What commutes is one state. An event touches one server, so two events at two servers lead to the same state in
  both orders, and that is met once. What an event does to a server is computed once for all states that share the two.
* A message that is never delivered is a lost one: there is no event for that. For the same reason an arrival that
  changes nothing and is answered by nothing is no transition: all that could follow, follows with it still on the way.
* A message that can have no effect any more is taken off the way: an answer of an earlier term, or to a leadership
  or candidacy that is over. Terms on disks never go back, and what is over in a term never begins again in it.
* Equal messages on the way are one. What is lost by that is a second arrival, which "duplicate" makes an event.
* Commands are all alike; the core never looks at them.

Two things are left out by choice, where a scenario says so. `ordered`: what one server sends another never overtakes
(as over one connection), though any of it may be lost. Without `leases` no server withholds its vote because it has
just heard a leader: that only makes less happen.
"""
