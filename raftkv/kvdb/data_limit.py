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
    """`limit`: bytes, or 0 for none. `proposed` and `finished`: how many bytes writes were proposed that can
    make the data grow, since the start, and how many of these are applied, or never will be. Who proposes adds to
    the one, who applies to the other."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.proposed = self.finished = 0
        self.is_reached = False  # the alarm

    def admits(self, growth: int, data_bytes: int) -> bool:
        """May the data, which has `data_bytes`, grow by so many?"""
        return not self.limit or data_bytes + self.proposed - self.finished + growth <= self.limit

    def alarm(self) -> None:
        """Something was not admitted."""
        if not self.is_reached:
            self.is_reached = True
            log.warning("%s", self.reason)

    def look(self, data_bytes: int) -> None:
        """While `is_reached`: has the data, which has `data_bytes`, room again?"""
        if data_bytes <= self.limit - self.limit // HYSTERESIS:
            self.is_reached = False
            log.info("the data has %d bytes, and may grow again up to %d", data_bytes, self.limit)

    @property
    def reason(self) -> str:
        return (
            f"the data has as many bytes as it may have ([limits] max_data_bytes = {self.limit}): writes that "
            "make it larger are refused; deletes and reads go on"
        )
