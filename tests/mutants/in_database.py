"""Mutants of raftkv/kvdb and raftkv/client: what clients are told, and tables that grow."""

from __future__ import annotations

from tests.mutants.breaking import Edit, Instead, always
from tests.mutants.mutant import SIMULATOR, Mutant

# fmt: off
MUTANTS: list[Mutant] = [
    Mutant("duplicates applied again", "8", "a repeated command takes effect again", SIMULATOR,
           Edit("kvdb.session_table", "if A is not None: return A", "pass")),
    Mutant("expired sessions served", "8", "a forgotten client is registered anew, without its answers",
           SIMULATOR,
           Edit("kvdb.session_table", "A = B.get(client)\nif A is None: return _EXPIRED",
                "A = B.get(client) or (self.register(client), B.get(client))[1]")),
    Mutant("sessions never expire", "13", "the session table grows for ever",
           "unit/test_sessions.py::test_the_least_recently_used_session_makes_room",
           Edit("kvdb.session_table", "A > MAX_SESSIONS or B", "False")),
    Mutant("answers are never forgotten", "13", "what a client has acknowledged is kept",
           "unit/test_sessions.py::test_a_command_the_client_no_longer_waits_for_is_not_applied_late",
           Edit("kvdb.session_table", "self.outcomes.pop(A, None)", "self.outcomes.get(A)")),
    Mutant("one client may fill the table", "13",
           "the answers that a client does not acknowledge are kept without a bound",
           "unit/test_sessions.py::test_one_greedy_client_does_not_expire_the_others",
           Edit("kvdb.session_table", "A or B > MAX_SESSION_RESULTS", "False")),
    Mutant("session table not in the snapshot", "7 8", "who begins from it knows no client", SIMULATOR,
           Instead("kvdb.snapshot_view:SnapshotView._next_sessions", always([]))),
    Mutant("snapshot sees writes of later", "7", "no copy is kept of what changes while it is written",
           SIMULATOR,
           Instead("kvdb.snapshot_view:KeysView.keep", always(None))),
    Mutant("snapshot encoded in one go", "12",
           "a chunk holds all keys, however many: the GIL is held, heartbeats stop",
           "unit/test_store.py::test_a_chunk_is_bounded_in_keys_text_and_results",
           Edit("kvdb.snapshot_view", "islice(A, n)", "A")),
    Mutant("chunks of any size", "12", "a chunk holds 500 keys, however large",
           "unit/test_store.py::test_a_chunk_is_bounded_in_keys_text_and_results",
           Edit("kvdb.snapshot_view", "if A <= 0: break", "pass")),
    Mutant("who is refused is not told", "15", "clients of a deposed leader wait until their time is over",
           "unit/test_service.py::test_the_end_of_a_leadership_says_what_is_in_doubt_and_who_leads_now",
           Instead("kvdb.service:KVService.refuse", always(None))),
    Mutant("a retry gets a new number", "8", "Clerk numbers each attempt", SIMULATOR,
           Edit("client.session", "numbering = command.numbering", "numbering = None")),
    Mutant("in doubt, reported as not applied", "8", "Clerk says NotApplied of what may have been",
           "unit/test_clerk_session.py::test_a_write_that_is_in_flight_at_its_deadline_is_in_doubt",
           Edit("client.command", "if A.in_doubt: return errors.OutcomeUnknown(B)", "pass")),
    Mutant("acknowledged too far", "8", "Clerk acknowledges what it still waits for", SIMULATOR,
           Edit("client.numbering", "A == self.acked", "A >= self.acked")),
]
