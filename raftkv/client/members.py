"""MemberCommands: the part of a Clerk that looks after the members of its cluster.

The leader only begins a change. Here it is seen through: the leader, whoever that is by then, is asked for the members
until the change can be seen in them. An answer that was lost is found in them, too.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Union

from raftkv.errors import InvalidChangeError, OutcomeUnknown
from raftkv.kvdb.member_requests import Member
from raftkv.kvdb.operation import Operation

POLL_S = 0.02  # at first; then less and less often
MAX_POLL_S = 0.5

State = dict[str, Any]  # see kvdb.members.Members.answer()
Row = dict[str, Any]
Seconds = Union[float, None]  # None: the Clerk's timeout


class MemberCommands:
    """Each method waits until its change is through, for at most `timeout` seconds, and returns the members then: a dict
    for each, see MemberAdmin.list(). Thread-safe.

    They raise InvalidChangeError, with the reason, for what is refused: then nothing has changed; OutcomeUnknown if the
    change is not through in time, which then goes on by itself if it has begun; and what other commands raise.
    """

    def _ask(self, operation: Operation, deadline: float) -> Any:
        """The result of an operation. `deadline` is on the clock of time.monotonic()."""
        raise NotImplementedError

    def _until(self, timeout: Seconds) -> float:
        """The deadline of a command that begins now. Raises ConfigError."""
        raise NotImplementedError

    def member_list(self, timeout: Seconds = None) -> list[Row]:
        """The members, and the servers that wait to be, as the leader knows them."""
        return self._state(self._until(timeout))["members"]  # type: ignore[no-any-return]

    def member_add(
        self,
        id: int,
        client_address: str,
        peer_address: str,
        *,
        learner: bool = False,
        timeout: Seconds = None,
    ) -> list[Row]:
        """Make the server that has come as node `id`, with an empty disk, a member: a voter as soon as it has caught
        up; a `learner` waits for member_promote(). Waits for a server that has not come yet. Addresses are
        "host:port"."""
        role = "learner" if learner else "voter"

        def is_done(state: State) -> bool:
            row = _row(state, id)
            where = (client_address, peer_address)
            return (
                row is not None
                and row["role"] == role
                and (row["client_address"], row["peer_address"]) == where
            )

        options = {
            "id": id,
            "client_address": client_address,
            "peer_address": peer_address,
            "learner": learner,
        }
        return self._see_through(Member("add", options), is_done, self._until(timeout))

    def member_remove(self, id: int, timeout: Seconds = None) -> list[Row]:
        """Take a member out. It must not be started again with its disk."""
        return self._see_through(
            Member("remove", {"id": id}), lambda state: not _is_member(state, id), self._until(timeout)
        )

    def member_promote(self, id: int, timeout: Seconds = None) -> list[Row]:
        """Have a learner vote, which has caught up."""
        return self._see_through(
            Member("promote", {"id": id}), lambda state: _role(state, id) == "voter", self._until(timeout)
        )

    def member_replace(
        self, old: int, new: int, client_address: str, peer_address: str, timeout: Seconds = None
    ) -> list[Row]:
        """Put the server that has come as node `new` in the place of the member `old`. It is a learner until it has
        caught up; then, in one change, it votes and `old` leaves. May be repeated."""
        deadline = self._until(timeout)
        swap = Member("swap", {"old": old, "new": new})
        swap.check()
        state = self._state(deadline)
        if old == new:
            raise InvalidChangeError(
                f"member {old} cannot replace itself: a server with an empty disk that comes as node {old} takes its "
                "place by itself, when the old one has not been heard for a while"
            )
        if not _is_member(state, old):
            raise InvalidChangeError(f"there is no member {old}: the members are {_ids(state)}")
        if _role(state, new) != "learner":
            options = {
                "id": new,
                "client_address": client_address,
                "peer_address": peer_address,
                "learner": True,
            }
            self._see_through(Member("add", options), lambda state: _role(state, new) == "learner", deadline)
        late = f"member {new} is a learner now and has not caught up in time: repeat the command, which will go on there"
        self._wait(swap, lambda state: _is_caught_up(state, new), deadline, late=late)
        return self._see_through(
            swap, lambda state: _role(state, new) == "voter" and not _is_member(state, old), deadline
        )

    def member_move(
        self,
        id: int,
        client_address: str = "",
        peer_address: str = "",
        http_address: str = "",
        timeout: Seconds = None,
    ) -> list[Row]:
        """Note that a member is at other addresses; those that are "" stay. (One that runs says so itself.)"""
        options = {
            "id": id,
            "client_address": client_address,
            "peer_address": peer_address,
            "http_address": http_address,
        }

        def is_done(state: State) -> bool:
            row = _row(state, id)
            return row is not None and all(
                row[name] == value for name, value in options.items() if name != "id" and value
            )

        return self._see_through(Member("move", options), is_done, self._until(timeout))

    def transfer(self, id: int | None = None, timeout: Seconds = None) -> int:
        """Hand the leadership to the voter `id`, or to the one that holds most of the log. Returns who leads then."""
        deadline = self._until(timeout)
        Member("transfer", {"id": id or 0, "leader": 0}).check()
        before: int = self._state(deadline)["leader"]
        if id == before:
            return before
        operation = Member("transfer", {"id": id or 0, "leader": before})

        def is_done(state: State) -> bool:
            leader: int = state["leader"]
            if leader == before and not state["is_handing_over"]:
                raise InvalidChangeError(
                    f"server {before} leads on: the other one did not take over within an election timeout"
                )
            return leader == id if id else leader != before

        state = self._ask(operation, deadline)
        return self._wait(operation, is_done, deadline, state)["leader"]  # type: ignore[no-any-return]

    # -- how -------------------------------------------------------------------------------------------------

    def _state(self, deadline: float) -> State:
        return self._ask(Member("list", {}), deadline)  # type: ignore[no-any-return]

    def _see_through(self, operation: Member, is_done: Callable[[State], bool], deadline: float) -> list[Row]:
        """Have the leader begin a change, and wait until it is through."""
        operation.check()
        was_done = is_done(self._state(deadline))
        pause = POLL_S
        while True:
            try:
                state = self._ask(operation, deadline)
                break
            except InvalidChangeError as refusal:
                state = self._state(deadline)
                if not was_done and is_done(state):
                    break  # by an attempt whose answer was lost
                if not refusal.may_pass or time.monotonic() + pause >= deadline:
                    raise
            pause = _sleep(pause)
        return self._wait(operation, is_done, deadline, state)["members"]  # type: ignore[no-any-return]

    def _wait(
        self,
        operation: Member,
        is_done: Callable[[State], bool],
        deadline: float,
        state: State | None = None,
        late: str = "the change has begun, was not through in time, and goes on by itself",
    ) -> State:
        """`late`: what to say if it is not done by then."""
        pause = POLL_S
        while True:
            if state is None:
                state = self._state(deadline)
            if not state["is_changing"] and is_done(state):
                return state
            if time.monotonic() + pause >= deadline:
                raise OutcomeUnknown(f"{late}{_why(state, operation)}; `member list` shows how far it is")
            pause, state = _sleep(pause), None


def _sleep(pause: float) -> float:
    time.sleep(pause)
    return min(MAX_POLL_S, pause * 1.5)


def _row(state: State, id: int) -> Row | None:
    rows = [row for row in state["members"] if row["id"] == id and row["role"] not in ("waiting", "leaving")]
    return rows[0] if rows else None


def _role(state: State, id: int) -> str | None:
    row = _row(state, id)
    return None if row is None else row["role"]


def _is_member(state: State, id: int) -> bool:
    return _row(state, id) is not None


def _is_caught_up(state: State, id: int) -> bool:
    row = _row(state, id)
    return row is not None and row["caught_up"]


def _ids(state: State) -> str:
    return ", ".join(str(row["id"]) for row in state["members"] if row["role"] in ("voter", "learner"))


def _why(state: State, operation: Member) -> str:
    """What it waits for, as far as the members show it."""
    lacking = [row for row in state["members"] if row["role"] == "learner" and row["lacks"]]
    here = {operation.options.get("id"), operation.options.get("new")}
    words = [f"member {row['id']} lacks {row['lacks']} entries" for row in lacking if row["id"] in here]
    return f" ({', '.join(words)})" if words else ""
