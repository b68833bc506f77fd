"""Loan: what a caller needs to make commands by itself."""

from __future__ import annotations


class Loan:
    """What ClerkSession.lend() gives: whom to ask, how long to wait for an answer (in seconds), the client id (0:
    no session yet), and the next number."""

    __slots__ = ("client", "leader", "next_seq", "timeout_s", "used")

    def __init__(self, leader: int, client: int, next_seq: int, timeout_s: float) -> None:
        self.leader, self.client, self.next_seq = leader, client, next_seq
        self.timeout_s = timeout_s
        self.used = False
