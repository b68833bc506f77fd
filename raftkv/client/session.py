"""ClerkSession: the client's half of "each command takes effect exactly once", without I/O.

The server's half is in kvdb/session_table.py (thesis section 6.3). Here is what a client must do for it. Nothing in
this file knows sockets, threads or clocks: events go in, with the time as a number of seconds, and actions
come out, so that Driver can drive it on real connections and a simulator on a virtual clock.

    events                                             actions
    start(command)     the user wants it               Send(command, attempt, server, method, args, timeout_s)
    answered(...)      a server's result               Done(command): it has its `result` or its `error`
    refused(...)       a server's refusal
    lost(...)          no connection, or it ended      and `wake_at`: call wake() then, or a little later
    timed_out(...)     Send.timeout_s are over
    unauthorised(...)  the server has another key
    abandon(command)   the user no longer wants it
    wake(), close()

The rules:

1. Numbers. A write gets its sequence number when it is first sent, and keeps it through all attempts.
   `acked`, sent along, is the lowest number still unanswered; a command that was given up counts as answered.
   No number is given out that is MAX_IN_FLIGHT or more above `acked`: the command waits instead. Reads have
   no number.
2. Name and birth. Before the first write a server is asked for a birth (any server can tell; it also says who leads).
   With it the client draws a name, and keeps both together: a name never goes out with two births.
3. In doubt is a write that may be in some server's log although we have no answer: one that was sent and then
   lost, or timed out, or refused by a server that had proposed it before (`proposed` in the refusal's detail;
   without one, only OVERLOADED and NO_SPACE certainly proposed nothing). A write once in doubt stays so,
   whatever becomes of its later attempts, until one is answered with a result.
4. Retry. A command is sent again, to whichever server leads then, until it is answered or its deadline is
   over. If it is in doubt then, its error is OutcomeUnknown, else NotApplied; a read's is UnavailableError.
5. A silent server. An attempt has ATTEMPTS_S, which grows with each that times out: one dead server must not
   cost a whole timeout, and a slow one must not get the same work again and again. A server that has answered
   anything within the last SILENT_S is slow, not silent, and remains our leader.
6. Looking for the leader (see inquiry.py). While none is known, one command at a time asks: the oldest
   of those with the fewest timeouts. All others wait, and follow when it has an answer that only a leader
   gives (a hello is answered by any server: what that says of the leader is a hint).
7. An expired session. The server did not apply *this* attempt, and says a fresh birth. A command that is not in
   doubt gets a number under a new name and goes on. One that is in doubt fails with SessionExpiredError: an earlier attempt may
   have taken effect, and nobody remembers. Commands still in flight wait for answers of their own.
8. A result is good whichever attempt it answers: all attempts of a command are the same command. A refusal
   counts only for the latest attempt.

The rules rest on a transport that may lose a message or delay it, but does not deliver it twice (TCP): a
doubled first attempt could be applied, forgotten with its session, and then refused as if it had never been.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from typing import Any, Callable

from raftkv import errors
from raftkv.client.command import (
    Actions,
    Command,
    Done,
    Send,
    cluster_changed,
    error_of,
    expired,
    refusal_error,
    too_late,
)
from raftkv.client.directory import Directory
from raftkv.client.inquiry import Inquiry
from raftkv.client.loan import Loan
from raftkv.client.numbering import Numbering
from raftkv.client.waiting import Waiting
from raftkv.errors import InvariantError
from raftkv.ini import Address
from raftkv.kvdb.member_requests import Hello

ATTEMPTS_S = (1.5, 3.0, 6.0)  # what an attempt has after none, one, or more of the command's timed out
SILENT_S = 0.5
_ABOUT_NOW_S = 0.001  # a deadline so near is over

_FOREVER = float("inf")


class ClerkSession:
    """The state of one client. Not thread-safe. `servers` are numbers; `directory` says more of them than that they are
    ids; `draw_name()` gives a name that nobody else has. Each method returns the actions to take."""

    def __init__(
        self,
        servers: Sequence[int],
        rng: random.Random,
        *,
        directory: Directory | None = None,
        draw_name: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self._directory = directory or Directory({server: Address("", server) for server in servers})
        self._draw_name = draw_name
        self._inquiry = Inquiry(servers, rng)  # rule 6
        self._search = self._inquiry.search
        self._numbering: Numbering | None = None
        self._hello: Command | None = None  # under way
        self._waiting = Waiting()
        self._orders = 0
        self._heard_at = -_FOREVER  # when the latest result came (rule 5)
        self._closed = False
        self._actions: Actions = []
        self.wake_at: float | None = None

    # -- events: the user ------------------------------------------------------------------------------------

    def start(self, command: Command, now: float) -> Actions:
        """Begin a new command."""
        self._orders += 1
        command.order = self._orders
        leader = self._search.leader
        if not command.is_write:
            if leader is not None:
                self._send(command, leader, now)
            else:
                self._wait(command, now)
        elif leader is not None and self._numbering is not None and self._numbering.has_room():
            self._send(command, leader, now)
        else:
            self._wait(command, now)
        return self._take()

    def abandon(self, command: Command, now: float) -> Actions:
        """The user waits no longer for `command`; its answer will be ignored. It may still take effect."""
        if not command.done:
            self._fail(command, errors.UnavailableError("the command was abandoned"))
            self._go_on(now)
        return self._take()

    def lend(self) -> Loan | None:
        """What a caller needs to make commands by himself, one at a time, while there are no others; None when
        there are some, or no leader is known. Until take_back() there must be no other event."""
        leader = self._search.leader
        if leader is None or self._waiting or self._hello is not None:
            return None
        numbers = self._numbering
        if numbers is None:
            return Loan(leader, "", 0, 0, ATTEMPTS_S[0])
        next_seq = numbers.lend()
        return (
            None if next_seq is None else Loan(leader, numbers.name, numbers.birth, next_seq, ATTEMPTS_S[0])
        )

    def take_back(self, loan: Loan, command: Command | None, now: float) -> None:
        """The loan is over. `command`, which is in flight, if any is, becomes one of the others."""
        if command is not None:
            self._orders += 1
            command.order, command.attempt, command.server = self._orders, 1, loan.leader
            if command.seq:
                command.numbering = self._numbering
        elif loan.used:
            self._heard_at = now
        if self._numbering is not None:
            seq = command.seq if command is not None else 0
            self._numbering.resume(max(loan.next_seq, seq + 1), seq or None)

    @property
    def leader(self) -> int | None:
        """The server that everything goes to."""
        return self._search.leader

    def greeted(self, server: int, guide: Any) -> None:
        """See Directory.greeted()."""
        self._directory.greeted(server, guide)
        self.learn(server, guide)

    def learn(self, server: int, guide: Any) -> None:
        """`server` has said who the members are; see Directory."""
        directory, before = self._directory, self._directory.addresses
        directory.learn(server, guide, keep=(server, self._search.leader, self._search.candidate))
        if directory.addresses is not before:
            self._inquiry.look_among(sorted(directory.addresses))

    def close(self, now: float) -> Actions:
        """No more commands: those that wait fail now, those in flight when their connection is lost."""
        self._closed = True
        self._retry_waiting(now)
        self.wake_at = None
        return self._take()

    # -- events: the servers ---------------------------------------------------------------------------------

    def answered(self, command: Command, attempt: int, result: Any, now: float) -> Actions:
        """A server has carried out an attempt of `command` and returned `result`."""
        if command.done:
            return []
        self._heard_at = now
        if command.method == Hello.name:
            self._greeted(command, attempt, result, now)
        elif attempt == command.attempt:
            if self._inquiry.asking is not None:  # mostly nobody asks, and a call less is quicker
                self._inquiry.led(command)
            self._directory.bind(command.server)
        command.result = result
        self._finish(command)
        if self._waiting:
            self._go_on(now)
        return self._take()

    def _greeted(self, hello: Command, attempt: int, guide: Any, now: float) -> None:
        """A server, which may be any, has said what it knows."""
        guide = guide if isinstance(guide, dict) else {}
        if hello is self._hello:
            birth = guide.get("applied")
            self._numbering = Numbering(self._draw_name(), birth if type(birth) is int else 1)
        self.learn(hello.server, guide)
        if attempt == hello.attempt:
            self._inquiry.greeted(hello, self._directory.number_of(guide.get("leader")), now)

    def refused(
        self, command: Command, attempt: int, code: str, message: str, detail: Any, now: float
    ) -> Actions:
        """A server has refused an attempt of `command`, in the words of errors.RemoteError."""
        if command.done or attempt != command.attempt:
            return []
        self._inquiry.refused(command.server, message)
        refusal = errors.RemoteError(code, message, detail)
        _REFUSALS.get(code, ClerkSession._final)(self, command, refusal, now)
        self._go_on(now)
        return self._take()

    def lost(self, command: Command, attempt: int, sent: bool, reason: str, now: float) -> Actions:
        """The connection to the server ended before it answered, or there was none. `sent`: it may have got
        it."""
        if command.done or attempt != command.attempt:
            return []
        search = self._search
        self._failed(command, sent, reason, search.disconnected if sent else search.failed, now)
        self._go_on(now)
        return self._take()

    def timed_out(self, command: Command, attempt: int, sent: bool, now: float) -> Actions:
        """No answer came in time. `sent`: the server may have got the attempt."""
        if command.done or attempt != command.attempt:
            return []
        command.timeouts += 1
        if now - self._heard_at < SILENT_S and command is not self._inquiry.asking:
            command.in_doubt |= sent
            self._retry(command, now)
        else:
            reason = f"no answer within {now - command.sent_at:.1f} s"
            self._failed(command, sent, reason, self._search.failed, now)
        self._go_on(now)
        return self._take()

    def unauthorised(self, command: Command, attempt: int, reason: str, now: float) -> Actions:
        """The server and we do not hold the same key. When that is so with all that answer, there is no point in
        retrying."""
        if command.done or attempt != command.attempt:
            return []
        self._failed(command, False, reason, self._search.failed, now)
        if self._inquiry.unauthorised(command.server):
            self._fail(command, errors.AuthenticationError(reason))
        self._go_on(now)
        return self._take()

    def wake(self, now: float) -> Actions:
        """`wake_at` has come: look for the leader again, give up what has waited too long."""
        self.wake_at = None
        self._retry_waiting(now)
        self._go_on(now)
        return self._take()

    # -- what a refusal means --------------------------------------------------------------------------------

    def _not_leader(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        detail = refusal.detail
        hint = detail.get("leader") if isinstance(detail, dict) else detail
        self._doubt_if_proposed(command, detail)
        self.learn(command.server, detail)
        if self._inquiry.guides(command):
            self._search.redirected(command.server, self._directory.number_of(hint), now)
        self._retry(command, now)

    def _overloaded(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        if self._inquiry.guides(command):
            self._search.overloaded(command.server, now)
        self._retry(command, now)

    def _no_space(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        """Only a leader says so, and not until it is true no more: that may take as long as somebody needs to
        delete something."""
        self._inquiry.led(command)
        self._fail(command, errors.NoSpaceError(f"the {command.method} was not applied: {refusal}"))

    def _session_expired(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        self._inquiry.ended(command)
        if command.numbering is self._numbering:
            birth = refusal.detail.get("birth") if isinstance(refusal.detail, dict) else None
            self._numbering = Numbering(self._draw_name(), birth) if isinstance(birth, int) else None
            self._retry_waiting(now)
        self._retry(command, now)

    def _shutting_down(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        self._doubt_if_proposed(command, refusal.detail)
        self._failed(command, False, str(refusal), self._search.failed, now)

    def _full(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        self._failed(command, False, str(refusal), self._search.failed, now)

    def _final(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        """The request itself is wrong: no server will take it. What the store refuses, it refuses each
        time."""
        self._fail(command, refusal_error(refusal))

    def _invalid_change(self, command: Command, refusal: errors.RemoteError, now: float) -> None:
        """Only a leader says so."""
        self._inquiry.led(command)
        may_pass = isinstance(refusal.detail, dict) and bool(refusal.detail.get("may_pass"))
        self._fail(command, errors.InvalidChangeError(str(refusal), may_pass))

    @staticmethod
    def _doubt_if_proposed(command: Command, detail: Any) -> None:
        if not isinstance(detail, dict) or detail.get("proposed") is not False:
            command.in_doubt = True

    def _failed(
        self, command: Command, sent: bool, reason: str, tell: Callable[[int, float, float], None], now: float
    ) -> None:
        """An attempt brought nothing. `tell` is the search's method that should know."""
        command.in_doubt |= sent
        if sent and command.is_write:
            self._directory.bind(command.server)
        self._directory.failed(command.server)
        self._inquiry.failed(command, reason, tell, now)
        if self._directory.has_lost_its_cluster and self._inquiry.has_asked_all:
            self._fail(command, cluster_changed(command))
        self._retry(command, now)

    # -- queues ----------------------------------------------------------------------------------------------

    def _wait(self, command: Command, now: float) -> None:
        self._enqueue(command)
        self._go_on(now)

    def _retry(self, command: Command, now: float) -> None:
        """An attempt was in vain, or the command was waiting. Queue it, unless its end has come."""
        if command.done:
            return
        if self._closed:
            self._fail(command, errors.ClosedError("the client was closed before the command was answered"))
        elif command.deadline <= now + _ABOUT_NOW_S:
            reason = self._inquiry.wrong_key()
            self._fail(
                command,
                errors.AuthenticationError(reason) if reason else too_late(command, self._complaints()),
            )
        elif command is self._hello and not self._waiting.has_unnumbered():
            self._finish(command)  # nobody needs it any more
        elif command.numbering is not None and command.numbering is not self._numbering:
            if command.in_doubt:
                self._fail(command, expired(command))
            else:
                command.numbering = None
                self._enqueue(command)
        else:
            self._enqueue(command)

    def _complaints(self) -> dict[str, str]:
        label = self._directory.label
        return {label(server): said for server, said in sorted(self._inquiry.complaints.items())}

    def _enqueue(self, command: Command) -> None:
        if command.numbering is None and command.numbered:
            self._waiting.add_unnumbered(command)
            if self._numbering is None and self._hello is None:
                self._hello = Command(Hello(), _FOREVER)  # its order, 0, is before all others
                self._waiting.add(self._hello)
        else:
            self._waiting.add(command)
        self._wake_by(command.deadline)

    def _wake_by(self, when: float) -> None:
        if when < _FOREVER and (self.wake_at is None or when < self.wake_at):
            self.wake_at = when

    def _go_on(self, now: float) -> None:
        """Send what can be sent now."""
        search = self._search
        if search.leader is not None:
            command = self._waiting.next(self._numbering)
            while command is not None:
                self._send(command, search.leader, now)
                command = self._waiting.next(self._numbering)
        elif self._inquiry.asking is None and self._waiting:
            if now < search.resume_at:
                self._wake_by(search.resume_at)
                return
            command = self._waiting.next(self._numbering)
            if command is not None:
                self._send(command, self._inquiry.ask(command), now)

    def _retry_waiting(self, now: float) -> None:
        """Queue anew all that waits: numbers may have become void, deadlines may be over."""
        for command in self._waiting.take_all():
            self._retry(command, now)

    def _send(self, command: Command, server: int, now: float) -> None:
        method, args = command.method, command.args
        if command.numbered:
            numbering = command.numbering
            if numbering is None:
                numbering = command.numbering = self._numbering
                if numbering is None:
                    raise InvariantError(f"{method} is about to be sent without a session")
                command.seq = numbering.take()
            args = (numbering.name, numbering.birth, command.seq, numbering.acked, *args)
        command.attempt += 1
        command.server = server
        command.sent_at = now
        timeout_s = command.deadline - now
        if timeout_s > ATTEMPTS_S[0]:
            timeout_s = min(timeout_s, ATTEMPTS_S[min(command.timeouts, len(ATTEMPTS_S) - 1)])
        self._actions.append(Send(command, command.attempt, server, method, args, timeout_s))

    def _take(self) -> Actions:
        actions, self._actions = self._actions, []
        return actions

    # -- outcomes --------------------------------------------------------------------------------------------

    def _finish(self, command: Command) -> None:
        command.done = True
        if self._inquiry.asking is not None:
            self._inquiry.ended(command)
        if command.numbering is not None:
            command.numbering.answered(command.seq)
        if command is self._hello:
            self._hello = None
        else:
            self._actions.append(Done(command))

    def _fail(self, command: Command, error: errors.RaftKVError) -> None:
        """End `command` with `error`, or with what that means for one that is in doubt."""
        if command.done:
            return
        if command is self._hello:
            for other in self._waiting.take_unnumbered():
                self._fail(other, error)
        command.error = error_of(command, error)
        self._finish(command)


_REFUSALS: dict[str, Callable[[ClerkSession, Command, errors.RemoteError, float], None]] = {
    errors.NOT_LEADER: ClerkSession._not_leader,
    errors.NO_SPACE: ClerkSession._no_space,
    errors.INVALID_CHANGE: ClerkSession._invalid_change,
    errors.OVERLOADED: ClerkSession._overloaded,
    errors.TOO_MANY_IN_FLIGHT: ClerkSession._overloaded,
    errors.SESSION_EXPIRED: ClerkSession._session_expired,
    errors.SHUTTING_DOWN: ClerkSession._shutting_down,
    errors.TOO_MANY_CONNECTIONS: ClerkSession._full,
}
