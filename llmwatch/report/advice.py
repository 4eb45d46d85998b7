"""The limits that fit the calls of a log: for each group, and one value for each variable. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from llmwatch.policy import LIMIT_VARIABLES
from llmwatch.report.tuning import MEASURED, Group, Recommendation, least_calls, merged, recommend

__all__ = ["Advised", "Variable", "advise", "described", "variables"]


@dataclass(frozen=True, slots=True)
class Advised:
    """A group of calls, with a recommendation for each limit by its name."""

    group: Group
    made: dict[str, Recommendation]

    @property
    def arguments(self) -> str:
        """The recommended limits as arguments of ``Limits``; empty without any."""
        return ", ".join(f"{name}={one.seconds:g}" for name, one in self.made.items() if one.seconds is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable of the environment and the ``seconds`` to set.

    ``None``: it is left alone, for the reason ``why``.
    """

    limit: str
    name: str
    seconds: float | None = None
    why: str = ""

    @property
    def line(self) -> str:
        """An assignment for a shell, or the reason without one."""
        if self.seconds is None:
            return f"{self.name} is left alone: {self.why}"
        return f"{self.name}={self.seconds:g}"


def advise(found: Sequence[Group]) -> list[Advised]:
    """A recommendation for each group, of which small ones are merged."""
    return [Advised(group, {name: recommend(name, group.seen[name]) for name in MEASURED}) for group in merged(found)]


def described(one: Recommendation) -> str:
    """A recommendation with its reason, for a reader."""
    shown = "no recommendation" if one.seconds is None else f"{one.seconds:g} s"
    sure = ", so at most 1 in 1,000 healthy calls takes longer (95 % confidence)" if one.confident else ""
    since = ""
    if one.since is not None:
        moment = datetime.fromtimestamp(one.since).isoformat(" ", "seconds")
        since = f"; the times changed at {moment}, and only the calls since then count"
    return f"{one.limit}: {shown}: {one.reason}{sure}{since}"


def variables(advised: Sequence[Advised]) -> list[Variable]:
    """A value for each limit that is long enough for every group.

    It is no shorter than the limit in force where a group is too small for a recommendation.
    """
    return [_variable(name, advised) for name in MEASURED]


def _variable(limit: str, advised: Sequence[Advised]) -> Variable:
    name, lengths = LIMIT_VARIABLES[limit], []
    for one in advised:
        seconds = one.made[limit].seconds
        if seconds is not None:
            lengths.append(seconds)
            continue
        in_force = [observation.limit for observation in one.group.seen[limit]]
        lengths += [length for length in in_force if length is not None]
        if None in in_force:
            return Variable(limit=limit, name=name, why="a small group has no such limit")
    if all(one.made[limit].seconds is None for one in advised):
        return Variable(limit=limit, name=name, why=f"a bound takes {least_calls():,} calls of one model")
    return Variable(limit=limit, name=name, seconds=max(lengths))
