"""Mutants of raftkv/kvdb: tables that grow, snapshots that hold up everybody."""

from __future__ import annotations

from raftkv.kvdb import service, store
from raftkv.kvdb import session_table as sessions

from tests.mutants.mutant import Mutant
from tests.sim.patch import Sabotage

MUTANTS: list[Mutant] = [
    Mutant(
        Sabotage(
            "sessions never expire",
            sessions.Sessions,
            "_expire",
            "while len(self._sessions) > MAX_SESSIONS or self._size > MAX_RESULTS:",
            "while False:",
        ),
        "13",
        "the session table grows for ever",
        "tests/unit/test_sessions.py::test_the_least_recently_used_session_makes_room",
    ),
    Mutant(
        Sabotage(
            "answers are never forgotten",
            sessions.Session,
            "forget_below",
            "outcome = self.outcomes.pop(seq, None)",
            "outcome = self.outcomes.get(seq)",
        ),
        "13",
        "what a client has acknowledged is kept",
        "tests/unit/test_sessions.py::test_what_the_client_no_longer_waits_for_is_not_applied_late",
    ),
    Mutant(
        Sabotage(
            "one client may fill the table",
            sessions.Sessions,
            "recall",
            "if seq >= session.floor + MAX_IN_FLIGHT or session.size + size > MAX_SESSION_RESULTS:",
            "if False:",
        ),
        "13",
        "the answers that a client does not acknowledge are kept without a bound",
        "tests/unit/test_sessions.py::test_one_greedy_client_does_not_expire_the_others",
    ),
    Mutant(
        Sabotage(
            "snapshot encoded in one go",
            store.SnapshotView,
            "_next_keys",
            'islice(self._store._keys.iterate(self._position + "\\0"), n)',
            'self._store._keys.iterate(self._position + "\\0")',
        ),
        "12",
        "a chunk holds all keys, however many: the GIL is held, heartbeats stop",
        "tests/unit/test_store.py::test_a_chunk_is_bounded_in_keys_text_and_results",
    ),
    Mutant(
        Sabotage(
            "chunks of any size",
            store.SnapshotView,
            "_next_keys",
            "if room <= 0:",
            "if False:",
        ),
        "12",
        "a chunk holds 500 keys, however large",
        "tests/unit/test_store.py::test_a_chunk_is_bounded_in_keys_text_and_results",
    ),
    Mutant(
        Sabotage(
            "who is refused is not told",
            service.KVService,
            "refuse",
            "self._send_replies([(request[0], request[1], False, refusal) for request in requests])",
            "pass",
        ),
        "15",
        "clients of a deposed leader wait until their time is over",
        "tests/unit/test_service.py::test_the_end_of_a_leadership_says_what_is_in_doubt_and_who_leads_now",
    ),
]
