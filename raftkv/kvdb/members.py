"""Members: how clients' requests about the members are answered.

A change is only begun here: who asked for it asks again, for the list, until it is through (client/members.py).
"""

from __future__ import annotations

from typing import Any

from raftkv.errors import INVALID_CHANGE, NOT_LEADER, InvalidChangeError, NotLeaderError
from raftkv.kvdb.member_requests import Member
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.node.admin import MemberAdmin


class Members:
    """Of one server. Thread-safe."""

    def __init__(self, admin: MemberAdmin) -> None:
        self._admin = admin

    def guide(self) -> dict[str, Any]:
        """What a client must know to find the leader: "id" of this server, "leader" (an id, or None), "members"
        (id -> client address) and "cluster_id"."""
        return self._admin.guide()

    def answer(self, operation: Member, by: str) -> Outcome:
        """Carries out a request, that was checked, of the client `by`. The result is the members as they are then: "members" (see
        MemberAdmin.list()), "leader", "is_changing", "is_handing_over"."""
        admin = self._admin
        try:
            options = operation.options
            if operation.action == "transfer":
                if options["leader"] == self.guide()["id"]:
                    admin.transfer(options["id"] or None)
            elif operation.action != "list":
                getattr(admin, operation.action)(**options, by=f"the client {by}")
            return ok(admin.state())
        except NotLeaderError as error:
            detail = {**self.guide(), "leader": error.leader, "proposed": False}
            return refused(NOT_LEADER, str(error), detail)
        except InvalidChangeError as error:
            return refused(INVALID_CHANGE, str(error), {"may_pass": error.may_pass})
