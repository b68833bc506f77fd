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
           _explored("haste"), Instead("raft.membership:Membership.__init__", _not_waiting_for_the_no_op)),
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
           "raft/test_snapshots.py::test_a_compacted_log_has_the_members_of_where_it_was_compacted",
           Edit("raft.log", "Snapshot(A, B, self.configuration_at(A))", "Snapshot(A, B, self.configuration)")),
    # who stands for election
    Mutant("an uncommitted removal ends campaigning", "16",
           "who sees its removal in its log does not stand, though the removal may be undone",
           _explored("shrinking"),
           Edit("raft.core", "A.configurations_from(A.commit)", "(A.configuration,)")),
    Mutant("who was removed stands", "16", "a committed removal does not end campaigning",
           _member("test_a_removal_that_is_not_committed_ends_no_campaign"),
           Edit("raft.core", "any(A in B for C in D)", "True")),
    Mutant("a removed leader goes on", "16", "a leader that is no member any more never steps down",
           _member("test_a_removed_leader_leads_until_that_is_committed_and_counts_itself_no_more"),
           Instead("raft.membership:Membership.has_left", lambda original: False)),
    Mutant("a removed leader leaves at once", "16", "a leader steps down before its removal is committed",
           _member("test_a_removed_leader_leads_until_that_is_committed_and_counts_itself_no_more"),
           Edit("raft.membership", "A not in B and not self.is_changing", "A not in B")),
    Mutant("a start waits for the timeout", "", "who is connected with a majority is not told to stand",
           "unit/test_member.py::test_a_server_that_starts_stands_as_soon_as_a_majority_is_connected",
           Instead("raft.core:Raft.gathered", lambda original: lambda self: None)),
    Mutant("a start stands alone", "", "a server that nobody is connected with stands for election",
           "unit/test_member.py::test_a_server_that_starts_stands_as_soon_as_a_majority_is_connected",
           Instead("node.member:is_majority", lambda original: lambda *_: True)),
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
           _member("test_a_vote_in_a_transfer_is_given_though_the_leader_was_just_heard"),
           Edit("raft.core", "A and self.X() and not B.is_transfer", "A and self.X()")),
    Mutant("a transfer asks with entries that are not durable", "1", "votes are asked for with a log that a crash shortens",
           _explored("slow_campaigns"), Edit("raft.core", "A and self.log.stable == B", "A")),
    Mutant("a leader without its own durable vote", "1", "after a crash it may lead the same term again",
           _explored("slow_votes"), Edit("raft.core", "self.id in self._votes", "True")),
    # a server is its disk
    Mutant("an empty disk replaces a healthy member", "9", "a copied ini file with an empty folder pushes its member out",
           "unit/test_upkeep.py::test_an_empty_disk_replaces_only_one_that_is_silent",
           Edit("node.upkeep", "A is not None and B not in C and (D >= E)", "A is not None")),
    Mutant("a server with data replaces another one", "9", "a disk that is not empty takes the place of another one",
           "unit/test_upkeep.py::test_a_disk_with_data_replaces_nobody",
           Instead("node.hello:Hello.is_empty", lambda original: property(lambda hello: True))),
    Mutant("founded though one has data", "9", "two empty disks found a cluster beside one that holds data",
           "unit/test_founding.py::test_nobody_founds_while_somebody_has_data",
           Edit("node.founding", "A.cluster_id not in (0, B)", "False")),
    Mutant("founded before all were met", "9", "a server founds a cluster without one of the others",
           "unit/test_founding.py::test_the_lowest_id_founds_when_it_has_met_all_the_others_empty",
           Edit("node.founding", "not same", "False")),
    Mutant("clients are served before the others are in", "9", "what the founder alone holds is acknowledged",
           "raft/test_membership.py::test_a_founder_serves_nobody_before_it_has_brought_in_the_others",
           Edit("raft.leadership", "self._is_founding = self._log.configuration.founding", "pass")),
    Mutant("an older copy is believed", "9", "who has met a later life of a disk believes an earlier one",
           "unit/test_lives.py::test_an_older_copy_is_refused", Instead("node.lives:check_life", always(None))),
    Mutant("lives are not remembered", "9", "after a restart a server knows no life of another one's disk",
           "unit/test_member.py::test_peer_that_said_hello_is_remembered_before_the_answer_leaves",
           Instead("storage.persister:Persister.remember", always(None))),
    Mutant("a start is not noted", "9", "a copy that was started cannot be told from what it is a copy of",
           "storage/test_folder.py::test_each_start_is_noted_before_anything_is_said",
           Instead("storage.identity:Identity.started", lambda original: lambda self, token: self)),
    Mutant("a log that lost its end is believed", "9", "a follower that lost what it acknowledged goes on",
           "raft/test_election.py::test_member_that_lost_what_its_leader_knows_it_acknowledged_takes_no_part_any_more",
           Instead("raft.following:Following.what_is_lost", always(None))),
    Mutant("a missing log is taken for an empty one", "9", "a server starts without its log",
           "storage/test_folder.py::test_a_log_that_is_missing_is_refused",
           Instead("storage.segments:SegmentedLog._check_newest", always(None))),
    Mutant("the id is counted and not the disk", "9", "a lost disk comes back with the votes of the old one",
           "storage/test_folder.py::test_a_new_folder",
           Edit("storage.persister", "Identity(A, B, C())", "Identity(A, B, B)")),
    Mutant("another cluster's servers are believed", "9", "cluster_id is not compared",
           "unit/test_hello.py::test_others_are_refused_with_what_to_do",
           Edit("node.hello", "A.cluster_id and B.cluster_id and A.cluster_id != B.cluster_id", "False")),
    Mutant("a disk that left is let in", "9", "a uid that left and comes back is not refused",
           "unit/test_hello.py::test_a_disk_that_was_removed_is_refused_and_told_so",
           Edit("node.hello", "if A.uid in B.left: raise RemovedError(C)", "pass")),
    Mutant("a disk that left is a newcomer", "9", "two disks replace each other for ever",
           "unit/test_upkeep.py::test_a_disk_that_left_does_not_come_back",
           Edit("node.upkeep", "A not in (*B.members, *B.left)", "A not in B.members")),
    Mutant("two with one id found", "9", "the founder brings in whichever of two it met",
           "unit/test_founding.py::test_nobody_founds_while_two_have_one_id",
           Edit("node.founding", "len(A) > 1", "False")),
    Mutant("founded with who has another list", "9", "who is to found the cluster is not compared",
           "unit/test_founding.py::test_nobody_founds_with_who_has_another_list",
           Edit("node.founding", "_ids(A.founders) != _ids(B)", "False")),
    Mutant("a told removal is not believed", "16", "who hears that its removal is committed stands all the same",
           "unit/test_member.py::test_removed_server_that_hears_of_it_stands_no_more",
           Instead("raft.core:Raft.note_removal", always(None))),
    Mutant("who left stays connected", "16", "connections to a disk that left do not end",
           "unit/test_member.py::test_a_disk_that_left_is_refused_and_its_connections_end",
           Edit("node.member", "A in B.committed.left", "False")),
    Mutant("a moved member is not looked for", "", "the addresses that a server announces are not in its record",
           "unit/test_upkeep.py::test_a_member_that_moved_gets_the_addresses_that_it_announces",
           Instead("node.upkeep:_moved", always(None))),
    Mutant("a change without a majority is begun", "16", "nobody asks whether those who must agree are alive",
           "unit/test_admin.py::test_a_change_that_cannot_be_is_refused_with_the_reason",
           Instead("node.admin:MemberAdmin._check_alive", always(None))),
    Mutant("what is asked during a transfer is refused", "", "clients do not wait for the next leader",
           "unit/test_node.py::test_while_leadership_is_handed_over_clients_wait_until_the_next_leader_is_known",
           Instead("node.handover:Handover.holds_writes", lambda original: False)),
    Mutant("who is stopped keeps its leadership", "", "a leader that is stopped lets the others find out",
           "cluster/test_members.py::test_a_leader_that_is_stopped_hands_its_leadership_over_first",
           Instead("node.node:RaftNode.hand_over", always(None))),
    # elections and commitment
    Mutant("figure 8, explored", "2", "entries of older terms are committed by counting", _explored("figure_8"),
           Edit("raft.leadership", "A and B.term(C) == D", "A")),
    Mutant("a vote is not durable", "1", "a vote is given, and not written", _explored("slow_disks"),
           Instead("raft.core:Raft.ready", _vote_not_saved)),
]
