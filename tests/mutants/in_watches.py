"""Mutants of watches and locks: events that are missed, repeated or split, and two who hold one lock."""

from __future__ import annotations

from tests.mutants.breaking import Edit, Instead, always
from tests.mutants.mutant import SIMULATOR, Mutant

_WATCHES = "unit/test_watches.py::test_"

# fmt: off
MUTANTS: list[Mutant] = [
    Mutant("a watch resumes one revision late", "17", "the first revision after a reconnect is missed", SIMULATOR,
           Edit("client.watch_session", "self.next_revision = revision + 1", "self.next_revision = revision + 2")),
    Mutant("a watch resumes one revision early", "17", "a revision is told again after a reconnect", SIMULATOR,
           Edit("client.watch_session", "self._request._replace(number=A, start=self.next_revision, unread=B)",
                "self._request._replace(number=A, start=max(1, self.next_revision - 1), unread=B)")),
    Mutant("half a revision is kept over a reconnect", "17", "its first part is told twice",
           _WATCHES + "watchers_are_told_exactly_what_happened",
           Edit("client.watch_session", "self._parts = []", "pass")),
    Mutant("a stream that ended is heard", "17", "what comes of it late is told, and what was lost is missed",
           _WATCHES + "watchers_are_told_exactly_what_happened",
           Edit("client.watch_session", "server, self.server, self._attempt = self.server, None, 0",
                "server, self.server = self.server, None")),
    Mutant("a revision is split", "17", "each part of a large one is told as if it were whole",
           _WATCHES + "a_revision_that_is_too_large_for_a_message_is_told_whole",
           Edit("client.watch_session", "if not is_whole: return []", "pass")),
    Mutant("a start in the future is now", "17", "a server that lags tells of what was told before", SIMULATOR,
           Edit("kvdb.watches", "watch.next == self._told + 1", "watch.next >= self._told + 1")),
    Mutant("a received snapshot is skipped", "17", "who was up to date is not told of what it brought", SIMULATOR,
           Edit("kvdb.watches", "self._all_lag(group, before + 1)", "pass")),
    Mutant("history goes before it was told", "17", "much that comes at once drops what nobody was told of",
           _WATCHES + "more_than_the_history_holds_at_once_is_told_to_those_who_are_up_to_date",
           Instead("kvdb.watches:Watches._before_drop", always(None))),
    Mutant("compaction goes unnoticed", "17", "a watch that fell out of the history goes on at what is left",
           _WATCHES + "a_watch_that_fell_out_of_the_history_is_told_where_it_stopped",
           Edit("kvdb.watches", "watch.next < self._first_kept", "False")),
    Mutant("idle watches hear of no progress", "17", "after a compaction they cannot go on",
           _WATCHES + "an_idle_watch_goes_on_after_a_compaction",
           Instead("kvdb.watches:Watches._mark", always(None))),
    Mutant("unread watches fill the server", "13 17", "a client that takes nothing is told on and on",
           _WATCHES + "an_unread_watch_costs_a_bounded_buffer_and_holds_up_nobody",
           Edit("kvdb.watch_cursor", "self.sent - self.taken < WINDOW", "True")),
    Mutant("who lags is told of other keys", "17", "the history is not filtered by range",
           _WATCHES + "watchers_are_told_exactly_what_happened",
           Edit("kvdb.watch_cursor", "not self.key <= key < self.limit", "False")),
    Mutant("a server that is cut off keeps its watchers", "17", "they are told of nothing, and go nowhere else",
           _WATCHES + "a_server_without_a_leader_ends_its_streams_but_for_those_that_need_none",
           Instead("kvdb.watches:Watches._is_cut_off", always(False))),
    Mutant("watches of closed connections stay", "13", "the table of watches grows for ever",
           _WATCHES + "nothing_is_kept_of_a_watch_that_is_over",
           Instead("kvdb.watches:Watches._tidy_up", always(None))),
    Mutant("a lock for all who want it", "18", "nobody waits for those before",
           "unit/test_clerk_locks.py::test_waiting_clients_get_the_lock_in_order_with_growing_tokens",
           Edit("client.claim", "len(found.kvs) == 1", "True")),
]
