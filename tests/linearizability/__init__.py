"""Is a history linearizable?

A history says what clients asked, when, and what they were told (history.py has the format). It is
linearizable if each operation can be given a moment between its invoke and its answer at which it took
effect, so that, one after the other, they explain every answer. An operation without an answer may take
effect at any later moment, or never; one that failed, never. That is what a user of the database may rely on
(Herlihy and Wing, "Linearizability", 1990), and it is checked from outside: the checker knows nothing of
Raft.

The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993): take any operation that no
other one was answered before, let it take effect, go on, go back if that leads nowhere. With Lowe's memory
("Testing for linearizability", 2017): from the same set of operations and the same value nothing is tried
twice. Keys are searched one by one, since linearizability is local (Herlihy and Wing, theorem 1). What makes
10,000 operations on one key a matter of seconds:

problem.py      sets of operations as a frontier and a small bit mask, however long the history is
model.py        what the operations do to a key; values that no later answer can tell apart are one state
unanswered.py   of the operations without an answer, those that can still matter
search.py       the search itself
shrink.py       a violation cut down to the fewest operations that contradict each other
timeline.py     and drawn

    from tests.linearizability.checker import check
    result = check(operations)   # .verdict: OK, VIOLATION or UNKNOWN; str(result) is the report

UNKNOWN means that the time limit came first, and no test may take it for a pass. `python -m
tests.linearizability FILE` checks a file.

What the search does not do: operations on several keys at once, revisions, and weaker models than linearizability.
Where answers carry revisions, another checker needs no search, and knows all operations:

revisions.py    replays a history by revision, and compares every answer and the order of time
store_model.py  against this model of the database
work.py         operations for clients whose histories are judged so
"""
