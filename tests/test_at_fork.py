"""The steps in a forked child."""

from __future__ import annotations

import gc
import pathlib

import pytest

from llmwatch import at_fork


class Member:
    """Counts how often it was told of a fork, and may fail at it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.told = 0
        self.error = error

    def after_fork(self) -> None:
        self.told += 1
        if self.error is not None:
            raise self.error


def test_every_member_is_called_once_per_fork() -> None:
    """A member is called once however often it registered; one that raises does not stop the others."""
    members = [Member(), Member(RuntimeError("broken")), Member()]
    for member in [*members, members[0]]:
        at_fork.follow(member)
    at_fork._after_fork_in_child()
    assert [member.told for member in members] == [1, 1, 1]
    at_fork._after_fork_in_child()
    assert [member.told for member in members] == [2, 2, 2]


def test_registering_keeps_no_member_alive() -> None:
    """A member that is gone is dropped."""
    before = len(at_fork._members)
    member = Member()
    at_fork.follow(member)
    assert len(at_fork._members) == before + 1
    del member
    gc.collect()
    assert len(at_fork._members) <= before


def test_a_member_may_register_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registering during the calls changes nothing; with no members nothing happens."""
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


def test_locks_are_new_before_anything_else_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members and functions find new locks.

    The functions come last, and one that fails keeps none from its turn.
    """
    monkeypatch.setattr(at_fork, "_members", type(at_fork._members)())
    monkeypatch.setattr(at_fork, "_functions", [])
    monkeypatch.setattr(at_fork, "_renewals", [])
    module: dict[str, object] = {"lock": "old"}
    seen: list[tuple[str, object]] = []

    class Looking(Member):
        def after_fork(self) -> None:
            seen.append(("member", module["lock"]))

    @at_fork.in_child
    def broken() -> None:
        seen.append(("broken", module["lock"]))
        raise RuntimeError("broken")

    @at_fork.in_child
    def after() -> None:
        seen.append(("function", module["lock"]))

    looking = Looking()
    at_fork.follow(looking)
    at_fork.renew_in_child(module, "lock", lambda: "new")
    at_fork._after_fork_in_child()
    assert seen == [("member", "new"), ("broken", "new"), ("function", "new")]


def test_only_at_fork_registers_with_the_interpreter() -> None:
    """No module of the package but ``at_fork`` registers functions for a forked child."""
    root = pathlib.Path(at_fork.__file__).parent
    assert [path.name for path in root.rglob("*.py") if "register_at_fork(" in path.read_text()] == ["at_fork.py"]


def test_a_renewal_that_fails_keeps_no_other_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names behind a value that cannot be made are renewed, and what comes after the renewals runs."""
    monkeypatch.setattr(at_fork, "_members", type(at_fork._members)())
    monkeypatch.setattr(at_fork, "_functions", [])
    monkeypatch.setattr(at_fork, "_renewals", [])
    module: dict[str, object] = {"first": "old", "second": "old"}
    ran: list[str] = []

    def fail() -> object:
        raise MemoryError

    at_fork.renew_in_child(module, "first", fail)
    at_fork.renew_in_child(module, "second", lambda: "new")
    at_fork.in_child(lambda: ran.append("function"))
    at_fork._after_fork_in_child()
    assert module == {"first": "old", "second": "new"}
    assert ran == ["function"]
