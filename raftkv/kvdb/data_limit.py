"""DataLimit: how large the data may become ([limits] max_data_bytes).

Every replica holds all data in memory, so they would run out of it at the same time, and the machine with the
least memory would not even come back. The leader looks, when it proposes: what is in the log is applied
whatever its size, since the servers' options may differ and their states must not. So what is proposed and
not applied yet counts, too; only what an earlier leader had proposed does not, until it is applied.
"""

from __future__ import annotations

import logging

log = logging.getLogger("raftkv")

HYSTERESIS = 32  # the alarm ends when this part of the limit is free again


class DataLimit:
    """`limit`: bytes, or 0 for none. Each method is for one thread at a time, admit() and proposed() for the
    one that proposes, the others for the one that applies."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._proposed = self._finished = 0  # bytes since the start; each has one writer only
        self.is_reached = False  # the alarm

    def admits(self, growth: int, data_bytes: int) -> bool:
        """May the data, which has `data_bytes`, grow by so many?"""
        return not self._limit or data_bytes + self._proposed - self._finished + growth <= self._limit

    def admit(self, growth: int, data_bytes: int) -> bool:
        """The same. If not, that is an alarm."""
        if self.admits(growth, data_bytes):
            return True
        if not self.is_reached:
            self.is_reached = True
            log.warning("%s", self.reason)
        return False

    @property
    def reason(self) -> str:
        return (
            f"the data has as many bytes as it may have ([limits] max_data_bytes = {self._limit}): writes that "
            "make it larger are refused; deletes and reads go on"
        )

    def proposed(self, growth: int) -> None:
        """Writes that may make the data grow so much are under way; or, if negative, were not proposed."""
        self._proposed += growth

    def finished(self, growth: int, data_bytes: int) -> None:
        """So much of what was proposed is applied, or will never be; the data has `data_bytes` now."""
        self._finished += growth
        if self.is_reached and data_bytes <= self._limit - self._limit // HYSTERESIS:
            self.is_reached = False
            log.info("the data has %d bytes, and may grow again up to %d", data_bytes, self._limit)
