"""Mutants of changes of the members, of transfers, and of what the explorer finds."""

from __future__ import annotations

from typing import Any, Callable

from raftkv.raft.changes import change, leave_joint
from raftkv.raft.configuration import Configuration

from tests.mutants.breaking import Edit, Function, Instead, always
from tests.mutants.mutant import Mutant


def _skipping_joint(begin: Function) -> Function:
    """Any leader changes the voters, at once and in one step."""

    def instead(membership: Any, wanted: Any) -> Configuration:
        new = change(membership._log.configuration, wanted)
        return leave_joint(new) if new.is_joint else new

    return instead


def _not_waiting_for_the_no_op(init: Function) -> Function:
    def instead(membership: Any, id: int, log: Any, term_start: int, longest_round_s: float) -> None:
        init(membership, id, log, 0, longest_round_s)

    return instead


def _counting(voters: Callable[[Configuration], tuple[int, ...]]) -> Callable[[Function], Function]:
    """Other voters decide what is committed."""
    return lambda original: (
        lambda configuration, values: original(configuration._replace(voters=voters(configuration)), values)
    )


def _vote_not_saved(ready: Function) -> Function:
    def forgetful(raft: Any) -> Any:
        made = ready(raft)
        return made._replace(hard_state=made.hard_state and made.hard_state._replace(vote=None))

    return forgetful


def _explored(scenario: str) -> str:
    return f"explore/test_explore.py::test_no_invariant_breaks[{scenario}]"


def _member(test: str) -> str:
    return f"raft/test_membership.py::{test}"


def _configuration_at_commit(attribute: Function) -> Function:
    def of_log(log: Any, name: str) -> Any:
        return log.configuration_at(log.commit) if name == "configuration" else attribute(log, name)

    return of_log


# fmt: off
MUTANTS: list[Mutant] = [
    # who counts
    Mutant("only the new majority counts", "16", "while joint, the outgoing voters are not asked",
           _explored("replacement"), Edit("raft.quorum", "[A.voters, *B]", "[A.voters]")),
    Mutant("only the old majority counts", "16", "while joint, the new voters are not asked",
           _explored("replacement"), Edit("raft.quorum", "[A.voters, *B]", "B or [A.voters]")),
    Mutant("one majority elects", "16", "while joint, a candidate wins by one of the two majorities",
           _explored("replacement"), Edit("raft.quorum", "if VoteResult.LOST in A: return VoteResult.LOST",
                                          "if VoteResult.WON in A: return VoteResult.WON")),
    Mutant("a majority of both together counts", "16", "while joint, the voters of both are counted as one group",
           _member("test_a_joint_change_is_committed_by_both_majorities_and_by_neither_alone"),
           Edit("raft.quorum", "[A.voters, *B]", "[A.all_voters]")),
    Mutant("a learner is counted", "16", "what learners hold counts for what is committed", _explored("promotion"),
           Instead("raft.quorum:quorum_value", _counting(lambda known: known.voters + known.learners))),
    Mutant("a removed leader counts itself", "16", "what a leader holds counts though it is no voter any more",
           _explored("removal"),
           Edit("raft.leadership", "int(quorum_value(A.configuration, held))",
                "int(quorum_value(A.configuration._replace("
                "voters=tuple({*A.configuration.voters, self._id})), held))")),
    Mutant("a promoted learner refuses its vote", "16", "who does not know yet that it votes does not vote",
           _explored("promotion"),
           Edit("raft.core", "free and self.log.is_up_to_date(A, B)",
                "free and self.id in self.configuration.all_voters and self.log.is_up_to_date(A, B)")),
    # when a change begins and ends
    Mutant("the bug of 2015", "16", "voters change in one step, also before the leader's own no-op is committed",
           _explored("two_changes"), Instead("raft.membership:Membership.begin", _skipping_joint)),
    Mutant("a change before the no-op", "16", "a leader changes the members before it knows what is committed",
           _explored("two_changes"), Instead("raft.membership:Membership.__init__", _not_waiting_for_the_no_op)),
    Mutant("two changes at once", "16", "a change begins before the one before is committed",
           _explored("haste"),
           Edit("raft.membership", "if self.is_changing: raise A", "pass")),
    Mutant("the joint phase ends early", "16", "the new configuration comes before the joint one is committed",
           _explored("replacement"),
           Edit("raft.membership", "if A.commit < max(B, C.configuration_index): return None",
                "if A.commit < B: return None")),
    Mutant("the joint phase never ends", "16", "the leader does not go on with a change",
           _explored("shrinking"), Edit("raft.membership", "if A.is_joint: return B", "pass")),
    Mutant("in force when committed", "16", "a configuration counts from when it is committed",
           _explored("replacement"),
           Instead("raft.log:RaftLog.__getattribute__", _configuration_at_commit)),
    Mutant("a snapshot has the newest members", "7 16", "a snapshot brings a configuration that came after it",
           _explored("snapshots"), Edit("raft.log", "Snapshot(A, B, self.configuration_at(A))",
                                        "Snapshot(A, B, self.configuration)")),
    # who stands for election
    Mutant("an uncommitted removal ends campaigning", "16",
           "who sees its removal in its log does not stand, though the removal may be undone",
           _explored("shrinking"),
           Edit("raft.core", "(A.configuration, A.configuration_at(A.commit))", "(A.configuration,)")),
    Mutant("who was removed stands", "16", "a committed removal does not end campaigning",
           _explored("removal"),
           Edit("raft.core", "not self.is_removed and any(A in B for C in D)", "not self.is_removed")),
    Mutant("a removed leader goes on", "16", "a leader that is no member any more never steps down",
           _explored("removal"),
           Instead("raft.membership:Membership.has_left", lambda original: False)),
    Mutant("a removed leader leaves at once", "16", "a leader steps down before its removal is committed",
           _member("test_a_removed_leader_leads_until_that_is_committed_and_counts_itself_no_more"),
           Edit("raft.membership", "A not in B and not self.is_changing", "A not in B")),
    # learners
    Mutant("learners are promoted at once", "16", "a learner votes before it has caught up",
           _member("test_a_learner_that_lags_is_promoted_only_when_a_round_was_short"),
           Edit("raft.membership", "A == B or C", "True")),
    Mutant("a held learner is promoted", "16", "`held` is not looked at",
           _member("test_a_held_learner_waits_for_its_operator"),
           Instead("raft.membership:Membership._is_held", always(False))),
    # transfer
    Mutant("who lags is told to stand", "", "leadership is handed to a server that lacks entries",
           _member("test_a_complete_follower_is_told_to_stand_and_others_first_get_the_rest"),
           Edit("raft.leadership", "self.X is not None and A.match == B.last_index", "self.X is not None")),
    Mutant("proposals while leadership is handed over", "", "what is proposed may be lost with the leadership",
           _member("test_nothing_is_proposed_while_leadership_is_handed_over_and_again_when_that_was_in_vain"),
           Edit("raft.leadership", "if self._transfer is not None or self._is_founding: self._refuse()", "pass")),
    Mutant("a transfer is withheld its votes", "", "who hears the leader refuses the one that it hands over to",
           _explored("elections"),
           Edit("raft.core", "A and self.X() and not B.is_transfer", "A and self.X()")),
    Mutant("a transfer asks with entries that are not durable", "1", "votes are asked for with a log that a crash shortens",
           _explored("slow_transfer"), Edit("raft.core", "A and self.log.stable == B", "A")),
    Mutant("a leader without its own durable vote", "1", "after a crash it may lead the same term again",
           _explored("slow_transfer"), Edit("raft.core", "self.id in self._votes", "True")),
    # elections and commitment
    Mutant("figure 8, explored", "2", "entries of older terms are committed by counting", _explored("figure_8"),
           Edit("raft.leadership", "A and B.term(C) == D", "A")),
    Mutant("a vote is not durable", "1", "a vote is given, and not written", _explored("slow_disks"),
           Instead("raft.core:Raft.ready", _vote_not_saved)),
]
