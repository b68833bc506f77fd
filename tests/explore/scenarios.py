"""The scenarios. Each script begins with servers that know their first configuration and nothing else."""

from __future__ import annotations

from raftkv.raft.types import Options

from tests.explore.scenario import Scenario

_LEADER = """
campaign n1
stabilize
"""

# n1 has proposed 2@1, which nobody else holds; n3 was elected after it, by itself and n2, and nobody has its no-op
# 2@2; n1 is elected again, by itself and n2.
_FIGURE_8 = f"""{_LEADER}
propose n1
lose
campaign n3
deliver n1
deliver n2
deliver n3
lose
campaign n1
deliver n2
deliver n1
"""

# n1 has begun to remove n2, and nobody has heard of it; the three others have elected n2, whose no-op is at n4, too.
_TWO_CHANGES = f"""{_LEADER}
remove n1 n2
lose
campaign n2
deliver n1
deliver n3
deliver n4
deliver n2
deliver n4
deliver n2
deliver n4
deliver n2
lose
"""

# n2 leads, and its no-op is nowhere else.
_NEW_LEADER = f"""{_LEADER}
campaign n2
deliver n3
deliver n2
"""

# n1 and n3 have committed an entry, which n2 has not written yet when it is told to stand.
_UNWRITTEN = f"""{_LEADER}
propose n1
write n1
deliver n3
write n3
deliver n1
deliver n2
campaign n2
"""

# n2 has not written its vote for itself, and those of the others are on the way.
_VOTES = f"""{_LEADER}
campaign n2
deliver n1
write n1
deliver n3
write n3
"""

SCENARIOS = [
    Scenario("elections", "from nothing, with pre-votes and withheld votes", 3, "", {"timeout": 2}, leases=True),
    Scenario("reordering", "messages overtake each other and come twice", 3, "", {"campaign": 2, "duplicate": 1},
             ordered=False),
    Scenario("slow_disks", "each write is an event, and what was not written is lost in a crash", 3, "",
             {"campaign": 2, "crash": 1, "propose": 1}, slow_disks=True),
    Scenario("figure_8", "an entry of an older term is held by a majority, and replaced", 3, _FIGURE_8,
             {"campaign": 1}, options=Options(max_kept_bytes=0, max_append_bytes=1)),
    Scenario("heartbeats", "followers learn by heartbeats what is committed", 3, _LEADER,
             {"propose": 1, "heartbeat": 1, "campaign": 2}),
    Scenario("snapshots", "logs are compacted, and a server that lags is sent a snapshot", 3, _LEADER,
             {"snapshot": 1, "add": 1, "campaign": 1}, joining=1),
    Scenario("promotion", "one of two dies after a learner was promoted", 2, _LEADER,
             {"add": 1, "campaign": 1}, joining=1, elects=True),
    Scenario("growth", "one joins three as a learner and is promoted, while servers crash", 3, _LEADER,
             {"add": 1, "crash": 1, "campaign": 1}, joining=1),
    Scenario("replacement", "one of three is replaced by one that joins, also the leader", 3, _LEADER,
             {"replace": 1, "propose": 1, "campaign": 1}, joining=1),
    Scenario("removal", "one of three is removed, also the leader", 3, _LEADER,
             {"remove": 1, "propose": 1, "campaign": 1}),
    Scenario("shrinking", "of two servers one is removed, and either may die meanwhile", 2, _LEADER,
             {"remove": 1, "propose": 1, "timeout": 1}, elects=True),
    Scenario("haste", "a change is asked for at any time, and a second one", 3, _NEW_LEADER, {"add": 1, "remove": 1}, joining=1),
    Scenario("two_changes", "two leaders change the members of four (the bug of 2015)", 4, _TWO_CHANGES,
             {"remove": 1, "campaign": 1}, rules=False),
    Scenario("transfer", "the leadership is handed over, while there are proposals", 3, _LEADER,
             {"transfer": 1, "propose": 1, "campaign": 1}),
    Scenario("slow_campaigns", "one who is told to stand has not written all that it holds", 3, _UNWRITTEN,
             {"campaign": 1, "crash": 1}, slow_disks=True),
    Scenario("slow_votes", "one who is told to stand crashes, and stands again", 3, _VOTES,
             {"campaign": 1, "crash": 1}, slow_disks=True),
]  # fmt: skip

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
