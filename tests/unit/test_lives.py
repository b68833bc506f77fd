"""lives.py: older copies of a disk, and clones of it."""

from __future__ import annotations

import pytest
from raftkv.errors import ProtocolError
from raftkv.node.lives import check_life, life_of
from raftkv.storage.identity import MAX_TOKENS, Identity, Life

from tests.unit.hellos import hello_of


def started(*tokens: int, starts: int = 0) -> object:
    return hello_of(2, starts=starts or len(tokens), tokens=tokens)


def test_a_later_life_is_believed() -> None:
    for later in (started(5), started(5, 6), started(5, 6, 7)):
        check_life(later, Life(1, 5))  # type: ignore[arg-type]
        check_life(later, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "copy",
    [started(5), started(5, 7), started(5, 7, 8)],
    ids=["not started since", "started once: another token", "started more often"],
)
def test_an_older_copy_is_refused(copy: object) -> None:
    """Its second start was met, with the token 6."""
    with pytest.raises(
        ProtocolError, match="node 2 runs on an older copy of its data folder, or on one that"
    ):
        check_life(copy, Life(2, 6))  # type: ignore[arg-type]


def test_of_two_servers_on_copies_the_one_that_started_later_is_believed() -> None:
    first, clone = started(5), started(5, 6)
    check_life(clone, life_of(first))  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        check_life(first, life_of(clone))  # type: ignore[arg-type]


def test_a_life_too_old_for_the_list_cannot_be_told() -> None:
    identity = Identity("c", 2, 20)
    for token in range(1, MAX_TOKENS + 3):
        identity = identity.started(token)
    now = hello_of(2, starts=identity.starts, tokens=identity.tokens)
    check_life(now, Life(2, 99))
    check_life(now, Life(3, 3))
    with pytest.raises(ProtocolError):
        check_life(now, Life(3, 99))


@pytest.mark.parametrize("tokens, starts", [((), 0), ((), 1), ((1, 2), 1)])
def test_a_list_that_cannot_be_right_is_refused(tokens: tuple[int, ...], starts: int) -> None:
    with pytest.raises(ProtocolError):
        check_life(hello_of(2, starts=starts, tokens=tokens), None)
