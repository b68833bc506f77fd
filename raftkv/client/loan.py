"""Loan: what a caller needs to make commands by itself."""

from __future__ import annotations


class Loan:
    """What ClerkSession.lend() gives: whom to ask, how long to wait for an answer (in seconds), the client's name ("": it has none
    yet) and birth, and the next number."""

    __slots__ = ("birth", "leader", "name", "next_seq", "timeout_s", "used")

    def __init__(self, leader: int, name: str, birth: int, next_seq: int, timeout_s: float) -> None:
        self.leader, self.name, self.birth, self.next_seq = leader, name, birth, next_seq
        self.timeout_s = timeout_s
        self.used = False
