"""Mutants of raftkv/rpc and of the peers' protocol: what strangers, slow readers and broken networks do."""

from __future__ import annotations

from raftkv import keys
from raftkv.node import network, wire
from raftkv.raft import types
from raftkv.rpc import acceptor, calls, channel, client, exchange, handshake, link
from raftkv.rpc import server as rpc_server
from raftkv.rpc import wire as rpc_wire

from tests.mutants.mutant import Mutant
from tests.sim.patch import Sabotage

MUTANTS: list[Mutant] = [
    Mutant(
        Sabotage(
            "handshake inline in accept",
            acceptor.Acceptor,
            "_admit",
            "if full:\n        self.complaints",
            "if not (full or self._closing):\n        thread.join()\n    if full:\n        self.complaints",
        ),
        "10",
        "the accept thread waits for each handshake",
        "tests/rpc/test_hostile.py::test_accepting_does_not_wait_for_a_silent_one",
    ),
    Mutant(
        Sabotage(
            "handshake without a deadline",
            handshake._TimedFrames,
            "_arm",
            "remaining_s = self._deadline - time.monotonic()",
            "remaining_s = 20.0",
        ),
        "10",
        "each read of a handshake has a time of its own",
        "tests/rpc/test_hostile.py::test_who_sends_his_proof_byte_by_byte_is_closed_in_time",
    ),
    Mutant(
        Sabotage(
            "client need not prove its key",
            handshake,
            "prove_as_server",
            "    deliver_challenge(frames, authkey)",
            "    frames.send_bytes(b'#CHALLENGE#' + b'x' * 20); frames.recv_bytes(256); "
            "frames.send_bytes(b'#WELCOME#')",
        ),
        "",
        "a server takes any answer to its challenge",
        "tests/rpc/test_hostile.py::test_a_client_that_knows_no_key_cannot_skip_its_proof",
    ),
    Mutant(
        Sabotage(
            "frames of any size",
            rpc_wire.FrameReader,
            "feed",
            "if not 0 <= size <= self._max_bytes:",
            "if size < 0:",
        ),
        "10",
        "FrameReader keeps what a frame announces, whatever that is",
        "tests/rpc/test_hostile.py::test_a_frame_too_large_is_refused_when_it_is_announced",
    ),
    Mutant(
        Sabotage(
            "a frame may take for ever",
            rpc_server.RpcServer,
            "_sweep",
            "if channel.frame_since is not None and",
            "if False and",
        ),
        "10",
        "half a frame holds its connection without end",
        "tests/rpc/test_hostile.py::test_a_frame_that_does_not_end_closes_the_connection",
    ),
    Mutant(
        Sabotage(
            "unread replies without a bound",
            channel.Channel,
            "_keep",
            "if len(self.backlog) > MAX_BACKLOG_BYTES:",
            "if False:",
        ),
        "10 13",
        "a client that does not read fills the server's memory",
        "tests/rpc/test_server.py::test_a_backlog_beyond_its_bound_closes_the_channel",
    ),
    Mutant(
        Sabotage(
            "the unpickler allows classes",
            rpc_wire,
            "loads",
            "_check_opcodes(payload)\n    try:\n        return _PlainUnpickler(io.BytesIO(payload)).load()",
            "try:\n        return pickle.loads(payload)",
        ),
        "10",
        "pickle.loads() in place of the unpickler that takes only plain data",
        "tests/rpc/test_hostile.py::test_a_pickle_that_would_run_code_runs_none",
    ),
    Mutant(
        Sabotage("opcodes not checked", rpc_wire, "loads", "_check_opcodes(payload)\n    ", ""),
        "10",
        "a small pickle may ask for a terabyte",
        "tests/rpc/test_wire.py::test_a_small_payload_cannot_make_us_allocate_much",
    ),
    Mutant(
        Sabotage("backlog of 1", acceptor.Acceptor, "__init__", "backlog=_BACKLOG", "backlog=1"),
        "10",
        "the listener's queue is multiprocessing's default of 1",
        "tests/rpc/test_server.py::test_a_burst_of_connects_waits_in_the_kernels_queue",
    ),
    Mutant(
        Sabotage(
            "pings off",
            link.Link,
            "is_dead",
            "return self._pinged_at is not None and",
            "return False and",
        ),
        "11",
        "a half-open connection counts as alive",
        "tests/rpc/test_client.py::test_a_server_that_vanished_is_noticed_while_idle",
    ),
    Mutant(
        Sabotage(
            "reply to whoever waits longest",
            calls.CallTable,
            "take",
            "return self.futures",
            "request_id = next(iter([*self.futures, *self.blocking]), request_id)\n    return self.futures",
        ),
        "8",
        "a reply's id is not looked at",
        "tests/rpc/test_client.py::test_many_in_flight_get_their_own_replies_in_any_order",
    ),
    Mutant(
        Sabotage(
            "request ids used again",
            client.ClientEnd,
            "call",
            "request_id = next(self._ids)",
            "request_id = 1",
        ),
        "8",
        "a reply that comes late answers the next request",
        "tests/rpc/test_client.py::test_a_late_reply_is_not_that_of_the_next_call",
    ),
    Mutant(
        Sabotage(
            "calls that ended are kept",
            exchange.Exchange,
            "leave",
            "self.calls.blocking.pop(request_id, None)",
            "pass",
        ),
        "13",
        "a client keeps each call that has ended",
        "tests/rpc/test_client.py::test_a_call_that_ended_is_forgotten",
    ),
    Mutant(
        Sabotage(
            "no next reader is appointed",
            exchange.Exchange,
            "_appoint_reader",
            "next(iter(self.calls.blocking.values())).signal()",
            "pass",
        ),
        "15",
        "lost wakeup: who leaves with its reply wakes nobody to read on",
        "tests/rpc/test_client.py::test_who_waits_takes_over_when_the_reader_leaves",
    ),
    Mutant(
        Sabotage("the loop is not woken", rpc_server.RpcServer, "_attend", "self._waker.wake()", "pass"),
        "15",
        "lost wakeup: a new connection waits for the loop's next turn",
        "tests/rpc/test_server.py::test_a_new_connection_is_served_at_once",
    ),
    Mutant(
        Sabotage("nobody wakes who dozes", exchange.Exchange, "begin_call", "if self.dozing:", "if False:"),
        "11 15",
        "lost wakeup: a call on a connection that was idle does not have it pinged",
        "tests/rpc/test_client.py::test_a_server_that_vanished_meanwhile_is_noticed_by_the_next_call",
    ),
    Mutant(
        Sabotage(
            "sent, said not to be",
            exchange.Exchange,
            "begin_call",
            "call.sent = True\n",
            "pass\n",
        ),
        "8",
        "a request that left is reported as one that did not",
        "tests/rpc/test_client.py::test_a_deadline_ends_a_call_and_a_late_reply_goes_to_nobody",
    ),
    Mutant(
        Sabotage(
            "CRC-32 of entries not compared",
            types.Entry,
            "decode",
            'if crc != b"%d]\\n" % _crc32(head):',
            "if False:",
        ),
        "6",
        "an entry whose bits have flipped is taken, from the wire and from the disk",
        "tests/storage/test_damage.py::test_each_flipped_bit_in_the_log_is_refused",
    ),
    Mutant(
        Sabotage(
            "peers' types not checked",
            wire,
            "from_plain",
            "if tuple(map(type, plain)) != _SHAPES[name]:",
            "if False:",
        ),
        "",
        "a message with fields of other types reaches the core",
        "tests/unit/test_network.py::test_no_field_can_be_replaced_by_what_ends_a_node",
    ),
    Mutant(
        Sabotage(
            "peers' numbers not checked",
            wire,
            "from_plain",
            "if type(field) is int and not 0 <= field <= MAX_NUMBER:",
            "if False:",
        ),
        "",
        "a negative or enormous number reaches the core",
        "tests/unit/test_network.py::test_no_field_can_be_replaced_by_what_ends_a_node",
    ),
    Mutant(
        Sabotage(
            "peers may speak for others",
            network.PeerNetwork,
            "on_requests",
            "if message.sender != channel.context:",
            "if False:",
        ),
        "",
        "a message's sender is not compared with the connection's",
        "tests/unit/test_network.py::test_nobody_speaks_for_another",
    ),
    Mutant(
        Sabotage(
            "an outbox is looked at once",
            network._Link,
            "flush",
            "while outbox and self._sending.acquire(blocking=False):",
            "if outbox and self._sending.acquire(blocking=False):",
        ),
        "15",
        "lost wakeup: what is queued while another thread sends stays there",
        "tests/unit/test_network.py::test_the_outbox_leaves_in_its_order_and_whoever_sends_takes_what_comes_meanwhile",
    ),
    Mutant(
        Sabotage(
            "key file's mode not checked",
            keys,
            "_read_key",
            'if os.name == "posix" and mode & 0o077:',
            "if False:",
        ),
        "",
        "a key that others can read is used",
        "tests/unit/test_keys.py::test_a_key_that_others_can_read_is_refused",
    ),
]
