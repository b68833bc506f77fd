"""Mutants of raftkv/rpc: what strangers, slow readers and broken networks do."""

from __future__ import annotations

import pickle

from tests.mutants.breaking import Edit, Function, Instead, always
from tests.mutants.mutant import Mutant


def _by_age(take: Function) -> Function:
    return lambda calls, request: take(calls, next(iter(calls._calls), request))


# fmt: off
MUTANTS: list[Mutant] = [
    Mutant("handshake inline in accept", "10", "the accept thread waits for each stranger's answer",
           "rpc/test_hostile.py::test_accepting_does_not_wait_for_a_silent_one",
           Edit("rpc.acceptor", "A.sock.send(A.challenge.opening)",
                "(A.sock.send(A.challenge.opening), __import__('select').select([A.sock], [], [], 11))")),
    Mutant("handshake without a deadline", "10", "a stranger has as long as it likes",
           "rpc/test_hostile.py::test_a_proof_sent_byte_by_byte_is_cut_off_in_time",
           Edit("rpc.acceptor", "A - B.admission.handshake_timeout_s", "A - 20.0")),
    Mutant("client need not prove its key", "", "a server takes any answer to its challenge",
           "rpc/test_challenge.py::test_a_client_without_the_key_does_not",
           Edit("rpc.challenge", "not hmac.compare_digest(A, B)", "False")),
    Mutant("no connection is one too many", "10 13", "max_connections is not looked at",
           "rpc/test_hostile.py::test_one_client_too_many_is_told_so_and_a_place_that_is_left_can_be_taken",
           Edit("rpc.door", "self.connections >= A.max_connections", "False")),
    Mutant("a failed accept is tried at once", "10", "accepting spins while there are no descriptors",
           "rpc/test_hostile.py::test_accepting_pauses_while_the_system_has_nothing_for_a_connection",
           Edit("rpc.acceptor", "A.resume_at = B + _RETRY_S", "A.resume_at = B")),
    Mutant("frames of any size", "10", "FrameReader keeps what a frame announces, whatever that is",
           "rpc/test_hostile.py::test_a_frame_too_large_is_refused_when_it_is_announced",
           Edit("rpc.wire", "not 0 <= A <= B", "A < 0")),
    Mutant("a frame may take for ever", "10", "half a frame holds its connection without end",
           "rpc/test_hostile.py::test_a_frame_that_does_not_end_closes_the_connection",
           Edit("rpc.server", "A.frame_since is not None and B", "False")),
    Mutant("unread replies without a bound", "10 13", "a client that does not read fills the server's memory",
           "rpc/test_server.py::test_large_replies_take_no_memory_before_the_client_takes_those_before_them",
           Edit("rpc.channel", "A <= 0 or B.waiting or B in C", "False")),
    Mutant("a turn sends all that waits", "10 13", "clients that read much hold up the heartbeats",
           "rpc/test_server.py::test_many_connections_that_read_much_leave_time_for_one_that_asks_little",
           Edit("rpc.server", "A -= B.flush()", "B.flush()")),
    Mutant("opcodes not checked", "10", "a pickle may name a class and call it",
           "rpc/test_hostile.py::test_a_pickle_that_would_run_code_runs_none",
           Instead("rpc.wire:loads", lambda original: lambda payload: pickle.loads(payload))),
    Mutant("memo of any size", "10", "a small pickle may ask for a terabyte",
           "rpc/test_wire.py::test_a_small_payload_cannot_make_us_allocate_much",
           Edit("rpc.wire", "A == _LONG_BINPUT and _operand(B, C, 4) < len(B)", "A == _LONG_BINPUT")),
    Mutant("backlog of 1", "10", "the listener's queue is multiprocessing's default of 1",
           "rpc/test_server.py::test_a_burst_of_connects_waits_in_the_kernels_queue",
           Edit("rpc.door", "A.listen(B)", "A.listen(1)")),
    Mutant("pings off", "11", "a half-open connection counts as alive",
           "rpc/test_client.py::test_a_server_that_vanished_is_noticed_while_idle",
           Instead("rpc.link:Link.is_dead", always(False))),
    Mutant("reply to whoever waits longest", "8", "a reply's id is not looked at",
           "rpc/test_client.py::test_many_in_flight_get_their_own_replies_in_any_order",
           Instead("rpc.calls:CallTable.take", _by_age)),
    Mutant("request ids used again", "8", "a reply that comes late answers the next request",
           "rpc/test_client.py::test_a_late_reply_is_not_that_of_the_next_call",
           Edit("rpc.exchange", "itertools.count(1)", "itertools.repeat(1)")),
    Mutant("calls that ended are kept", "13", "a client keeps each call that has ended",
           "rpc/test_client.py::test_a_call_that_ended_is_forgotten",
           Edit("rpc.calls", "A.pop(B, None)", "A.get(B)")),
    Mutant("who reads for others tells nobody", "15",
           "lost wakeup: a caller who was alone reads the reply to another one, and does not wake its thread",
           "unit/test_clerk.py::test_a_caller_who_was_alone_reads_for_those_who_come",
           Edit("rpc.exchange", "self.X.extend(A); self.Y()", "self.X.extend(A)")),
    Mutant("the loop is not woken", "15", "lost wakeup: a new connection waits for the loop's next turn",
           "rpc/test_server.py::test_a_new_connection_is_served_at_once",
           Edit("rpc.server", "self.X.append(channel); self.Y.wake()", "self.X.append(channel)")),
    Mutant("nobody wakes who dozes", "11 15",
           "lost wakeup: a call on a connection that was idle does not have it pinged",
           "rpc/test_client.py::test_a_server_that_vanished_meanwhile_is_noticed_by_the_next_call",
           Edit("rpc.exchange", "if A.deadline < self.X or B: self.Y()", "pass")),
    Mutant("sent, said not to be", "8", "a request that left is reported as one that did not",
           "rpc/test_client.py::test_a_deadline_ends_a_call_and_a_late_reply_goes_to_nobody",
           Edit("rpc.exchange", "A.sent = True; B.transmit(A.frame)", "B.transmit(A.frame)")),
    Mutant("key file's mode not checked", "", "a key that others can read is used",
           "unit/test_keys.py::test_a_key_that_others_can_read_is_refused",
           Edit("keys", "if os.name == 'posix': X(A, B)", "pass")),
]
