"""Warnings about limits from different sources that work together oddly, one sentence each.

They are not errors: between sources the shorter limit simply expires first. They tell the user who raises ``ttfb`` to
600 s which limit still kills the attempt after 300 s.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.policy.contradictions import BOUNDED_BY
from llmwatch.policy.limit_table import FROM_SENT
from llmwatch.policy.resolved import EffectiveLimit
from llmwatch.policy.values import shown

__all__ = ["advise"]


def advise(limits: Mapping[str, EffectiveLimit], *, first_attempt: bool = True) -> tuple[str, ...]:
    """The sentences about ``limits``; empty if there is nothing to report.

    A sentence names each explicit value that never takes effect because other limits expire before it. For the
    ``first_attempt`` another sentence reports a ``deadline`` without room for a second attempt: one not longer than
    ``connect`` plus the shortest limit that ends a silent attempt. An explicit value that cuts a default short is not
    reported: that is its purpose.
    """
    return (*_without_effect(limits), *(_second_attempt(limits) if first_attempt else ()))


def _without_effect(limits: Mapping[str, EffectiveLimit]) -> list[str]:
    # The single knob sets four limits, which may meet the same obstacle: one sentence covers them.
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
