"""ini_file.py: what a server's file says of others, against what the cluster knows."""

from __future__ import annotations

import pytest
from raftkv.node.ini_file import differences
from raftkv.node.profile import Profile

from tests.unit.hellos import members


def profile(**addresses: dict[int, str]) -> Profile:
    """Of node 1. Each member of the cluster is at the port of its id."""
    told = {id: f"localhost:{id}" for id in (1, 2)}
    return Profile("c", 1, "127.0.0.1:1", "127.0.0.1:1", **{"servers": told, "peers": told, **addresses})  # type: ignore[arg-type]


def test_a_file_that_says_the_same_or_less_or_something_else_of_its_own_server_is_none() -> None:
    assert not [*differences(profile(servers={1: "elsewhere:1"}, peers={}), members(1, 2, 3))]


@pytest.mark.parametrize(
    "addresses, says",
    [
        ({"servers": {2: "b:2"}}, "has node 2 at b:2 in [servers], and the cluster has it at 127.0.0.1:2, which counts"),
        ({"peers": {2: "b:2"}}, "has node 2 at b:2 in [peers], and the cluster has it at 127.0.0.1:2, which counts"),
        ({"peers": {4: "b:4"}}, "has node 4, which is no member of the cluster: `member add` makes it one"),
    ],
)  # fmt: skip
def test_differences_of_an_ini_file_are_said(addresses: dict[str, dict[int, str]], says: str) -> None:
    ((id, sentence),) = differences(profile(**addresses), members(1, 2, 3))
    assert id in (2, 4) and says in sentence
