"""What is odd about limits that come from different sources, in a sentence each.

Nothing here is an error: between sources the shorter limit simply expires first. But who raised ``ttfb`` to 600 s
and is still killed after 300 s wants to be told why.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.policy.contradictions import BOUNDED_BY
from llmwatch.policy.limit_table import FROM_SENT
from llmwatch.policy.resolved import EffectiveLimit
from llmwatch.policy.values import shown

__all__ = ["advise"]


def advise(limits: Mapping[str, EffectiveLimit], *, first_attempt: bool = True) -> tuple[str, ...]:
    """The sentences about ``limits``, none if there is nothing to say.

    Told is which explicit value never takes effect because others expire before it, and when ``deadline`` leaves no
    room for a second attempt: it is not longer than connecting plus the shortest limit that ends a silent attempt. That
    one is about the ``first_attempt`` alone. Not told is that an explicit value cuts a default short, which is what it
    was set for.
    """
    return (*_without_effect(limits), *(_second_attempt(limits) if first_attempt else ()))


def _without_effect(limits: Mapping[str, EffectiveLimit]) -> list[str]:
    # By the single knob four limits can meet the same obstacle: one sentence for all of them.
    groups: dict[tuple[float, str, tuple[str, ...]], list[str]] = {}
    for name, outers in BOUNDED_BY.items():
        limit = limits[name]
        if limit.value is None or not limit.explicit:
            continue
        first = tuple(outer for outer in outers if _shorter(limits[outer], limit))
        if first:
            groups.setdefault((limit.value, limit.source, first), []).append(name)
    sentences = []
    for (value, source, first), names in groups.items():
        never = "never expires" if len(names) == 1 else "never expire"
        before = "expires" if len(first) == 1 else "expire"
        obstacles = _listed([_described(limits[outer]) for outer in first])
        sentences.append(
            f"{_listed(names)} {shown(value)} ({source}) {never}: {obstacles} {before} first;"
            f" raise {_listed(list(first))} as well."
        )
    return sentences


def _shorter(outer: EffectiveLimit, inner: EffectiveLimit) -> bool:
    return outer.value is not None and inner.value is not None and inner.value > outer.value


def _second_attempt(limits: Mapping[str, EffectiveLimit]) -> list[str]:
    deadline = limits["deadline"]
    if deadline.value is None:
        return []
    start = f"deadline {shown(deadline.value)} ({deadline.source}) leaves no room for a second attempt: "
    waits = [(limit.value, name) for name in FROM_SENT if (limit := limits[name]).value is not None]
    if not waits:
        return [f"{start}no other limit ends an attempt in which the provider is silent; set ttfb."]
    wait, name = min(waits)
    connect = limits["connect"].value or 0.0
    if deadline.value > connect + wait:
        return []
    path = f"connect {shown(connect)} and then {_described(limits[name])}" if connect else _described(limits[name])
    return [
        f"{start}a silent provider is given up after {path};"
        f" lower {name}, or raise deadline above {shown(connect + wait)}."
    ]


def _described(limit: EffectiveLimit) -> str:
    assert limit.value is not None
    return f"{limit.name} {shown(limit.value)} ({limit.source})"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
