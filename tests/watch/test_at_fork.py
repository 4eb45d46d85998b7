"""What has to be put right in a forked child."""

from __future__ import annotations

import gc

import pytest

from llmwatch.watch import at_fork


class Member:
    """Counts how often it was told of a fork, and may fail at it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.told = 0
        self.error = error

    def after_fork(self) -> None:
        self.told += 1
        if self.error is not None:
            raise self.error


def test_every_member_is_told_once() -> None:
    """Whoever follows is told of each fork, however often it asked to be; one that fails keeps nobody else from it."""
    members = [Member(), Member(RuntimeError("broken")), Member()]
    for member in [*members, members[0]]:
        at_fork.follow(member)
    at_fork._after_fork_in_child()
    assert [member.told for member in members] == [1, 1, 1]
    at_fork._after_fork_in_child()
    assert [member.told for member in members] == [2, 2, 2]


def test_following_keeps_nobody_alive() -> None:
    """A member that is gone is forgotten."""
    before = len(at_fork._members)
    member = Member()
    at_fork.follow(member)
    assert len(at_fork._members) == before + 1
    del member
    gc.collect()
    assert len(at_fork._members) <= before


def test_a_member_may_invite_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Following while others are told disturbs nobody; and with no members nothing happens."""
    monkeypatch.setattr(at_fork, "_members", type(at_fork._members)())
    at_fork._after_fork_in_child()
    guest = Member()

    class Host(Member):
        def after_fork(self) -> None:
            super().after_fork()
            at_fork.follow(guest)

    hosts = [Host(), Host()]
    for host in hosts:
        at_fork.follow(host)
    at_fork._after_fork_in_child()
    assert [host.told for host in hosts] == [1, 1]
    assert guest in at_fork._members
