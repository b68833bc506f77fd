"""What is explored: how many servers, from which state on, and how often each event may happen."""

from __future__ import annotations

from typing import NamedTuple

from raftkv.raft.types import Options


class Scenario(NamedTuple):
    """`start`: a script, see script.py; the search begins at its end. `bounds`: how often each kind of event may
    happen on one path; what is not named does not happen. A message may arrive at any time, or never.

    `slow_disks`: writes are events of their own. `leases`: who hears a leader helps nobody to depose it, until its
    connection breaks. `ordered`: what one server sends another never overtakes, though any of it may be lost.
    `rules`: a leader that breaks a rule for changes of the members is a violation, and not only what comes of it.
    `elects`: a state in which those that are up cannot elect a leader is a violation, too.
    """

    name: str
    about: str
    servers: int
    start: str
    bounds: dict[str, int]
    joining: int = 0
    options: Options = Options(max_kept_bytes=0)
    slow_disks: bool = False
    leases: bool = False
    ordered: bool = True
    rules: bool = True
    elects: bool = False

    def with_more(self, more: int) -> Scenario:
        """Each bound is greater by `more`."""
        return self._replace(bounds={kind: bound + more for kind, bound in self.bounds.items()})
