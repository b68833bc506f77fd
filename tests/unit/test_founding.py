"""founding.py: who founds a cluster, and when."""

from __future__ import annotations

import pytest
from raftkv.node.founding import bring_in, difference, first_configuration, why_not
from raftkv.raft.changes import change

from tests.unit.hellos import FOUNDERS, empty, hello_of, members


def test_the_lowest_id_founds_when_it_has_met_all_the_others_empty() -> None:
    assert why_not(empty(1), [empty(3), empty(2)]) is None
    assert why_not(empty(1), [empty(3)]) == (
        "to found the cluster, all nodes of [peers] must have been met, and node 2 was not yet"
    )
    assert "waits for node 1 to found the cluster" in str(why_not(empty(2), [empty(1), empty(3)]))


def test_nobody_founds_while_somebody_has_data() -> None:
    """Node 4 is on no list: it knows of a cluster all the same."""
    for holder in (hello_of(3), hello_of(4)):
        reason = why_not(empty(1), [empty(2), empty(3), holder])
        assert f"node {holder.id} has data: it waits for a majority" in str(reason)


def test_nobody_founds_without_a_list_of_founders() -> None:
    assert "waits to be added" in str(why_not(empty(1, founders=""), [empty(2)]))
    reason = str(why_not(empty(4, founders=""), [hello_of(3)]))
    assert "it has met node 3" in reason and "`member add 4 127.0.0.1:4 127.0.0.1:4`" in reason


def test_nobody_founds_with_who_has_another_list() -> None:
    other = empty(3, founders=FOUNDERS.replace(" 2=127.0.0.1:2", ""))
    assert "for node 2 it has nothing, and this node 127.0.0.1:2" in str(why_not(empty(1), [empty(2), other]))


def test_other_addresses_in_the_list_of_another_one_are_no_hindrance_but_a_difference() -> None:
    """Behind proxies, or with other names, servers look different from each other."""
    other = empty(3, founders=FOUNDERS.replace(":2", ":9"))
    assert why_not(empty(1), [empty(2), other]) is None
    assert "for node 2 it has 127.0.0.1:9" in str(difference(3, other.founders, FOUNDERS))


def test_nobody_founds_while_two_have_one_id() -> None:
    both = [empty(2), empty(3), empty(3, uid=31)]
    assert "two servers say that they are node 3" in str(why_not(empty(1), both))


def test_the_founder_brings_in_all_the_others_at_once_and_is_founding_until_then() -> None:
    met = [empty(3), empty(2), empty(4, founders="")]
    first = first_configuration(empty(1))
    assert (first.voters, first.founding, first.cluster_id) == ((10,), True, 10)
    founded = change(first, bring_in(empty(1), met))
    assert founded._replace(outgoing=(), cluster_id=7) == members(1, 2, 3, founding=False)._replace(
        records=founded.records
    )
    assert founded.outgoing == (10,) and founded.cluster_id == 10


def test_server_with_the_beginning_of_the_founders_own_log_is_brought_in() -> None:
    """A crash has ended the first attempt."""
    assert why_not(hello_of(1), [hello_of(2), empty(3)]) is None


def test_server_alone_on_its_list_founds_at_once_and_serves() -> None:
    alone = empty(1, founders="1=127.0.0.1:1")
    assert why_not(alone, []) is None and not first_configuration(alone).founding


@pytest.mark.parametrize("rubbish", ["=" * 1000, "1=\x1b[2J", "x" * 100_000, "1=127.0.0.1:1"])
def test_rubbish_in_place_of_a_list_makes_a_short_sentence(rubbish: str) -> None:
    assert len(str(difference(2, rubbish, FOUNDERS))) < 400
