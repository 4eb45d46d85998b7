"""How long healthy calls take, and the shortest limits that spare them. Pure.

What is observed of an attempt that was sent: the seconds to its first byte (``ttfb``), to its first content
(``first_content``), and its longest silence after the first byte (``stale``). Answers with an error status, plain calls
and wrapped functions are left out.

The bound is an exact order statistic. Of ``n`` independent calls of one distribution let ``r`` be the largest number
with ``P(Binomial(n, 1/1000) <= r) <= 5 %``. Then, with 95 % confidence, at most 1 in 1,000 calls takes longer than the
``r + 1``-th longest of the ``n``. Nothing is assumed about the form of the distribution. Below 2,995 calls there is no
such ``r``, and no recommendation.

A call that its limit ended would have taken longer, and how long is not known: it counts as the longest of all. So
limits do not shrink with each night of survivors. If more than ``r`` calls were ended by their limit, or a limit ended
more than 1 in 1,000 of the calls under it, nothing below that limit is recommended. A call that ended early for another
reason (its caller left, the connection was lost) says nothing beyond that moment, and is left out unless all others
were faster.

The times of a file may have changed in the middle of it, with a new model behind the name or another region. Where two
parts of a file differ (Kolmogorov-Smirnov, and the share of times above the 99th percentile, both far beyond chance),
only the later part counts.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llmwatch.policy.limit_table import SINGLE
from llmwatch.records import AttemptRecord, CallRecord

__all__ = [
    "CONFIDENCE",
    "MEASURED",
    "SPARED",
    "Group",
    "Grouping",
    "Observation",
    "Recommendation",
    "Replay",
    "groups",
    "least_calls",
    "merged",
    "percentiles",
    "recommend",
    "replay",
]

SPARED = 0.999
"""Part of the healthy calls that a recommended limit spares."""

CONFIDENCE = 0.95

MEASURED = tuple(name for name in SINGLE if name != "progress")
"""The limits that are tuned, in the order in which a call meets them."""

SIZES = (4_096, 16_384, 65_536, 262_144)
"""Bounds of the classes of prompt sizes, in bytes."""

_LEAST_PART = 200
_KS_BEYOND_CHANCE = 2.6
_TAIL_BEYOND_CHANCE = 5.0
_TAIL = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one attempt shows for one limit.

    ``at``: wall time; ``seconds``: the time that was seen, a lower bound if ``censored``; ``killed_at``: the length of
    the limit if it ended the attempt; ``limit``: the length that was in force, ``None`` for off; ``cost``: seconds that
    the attempt took.
    """

    at: float
    seconds: float
    censored: bool = False
    killed_at: float | None = None
    limit: float | None = None
    cost: float = 0.0


@dataclass(slots=True, kw_only=True)
class Group:
    """The observations of calls of one kind, by limit.

    ``size`` is the index of the class of prompt sizes, ``None`` for all.
    ``origin`` is ``None`` for calls of one model at several origins. ``merged`` counts the groups that it was made of.
    """

    origin: str | None
    model: str | None
    size: int | None
    seen: dict[str, list[Observation]] = field(default_factory=lambda: {name: [] for name in MEASURED})
    merged: int = 1

    @property
    def calls(self) -> int:
        """Number of attempts."""
        return max(map(len, self.seen.values()))

    @property
    def name(self) -> str:
        """The group for a reader."""
        where = "every origin" if self.origin is None else self.origin
        return f"{where}, model {self.model or 'unknown'}, {size_name(self.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A limit for a group.

    ``seconds`` is ``None`` where there is none, for the ``reason``. ``confident``: whether the bound holds with
    :data:`CONFIDENCE`. ``calls`` it is based on, ``killed`` by the limit among them, ``since``: wall time of the change
    before which calls were left out.
    """

    limit: str
    seconds: float | None
    confident: bool
    reason: str
    calls: int
    killed: int
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What another limit would have done: ``healthy`` answered attempts ended, of ``answered``.

    ``ended`` of the attempts that did not answer would have ended earlier, by ``saved`` seconds in all.
    """

    healthy: int
    answered: int
    ended: int
    saved: float


def size_name(size: int | None) -> str:
    """The class of prompt sizes for a reader."""
    if size is None:
        return "prompts of every size"
    if size == len(SIZES):
        return f"prompts above {SIZES[-1] // 1024} KiB"
    return f"prompts up to {SIZES[size] // 1024} KiB"


def observed(attempt: AttemptRecord, record: CallRecord) -> dict[str, Observation]:
    """What an attempt shows, by limit."""
    times = attempt.timings
    plain = attempt.cause is None and not attempt.events
    if times.sent is None or times.end is None or (attempt.status or 0) >= 400 or record.entry_point == "wrap" or plain:
        return {}
    sent, found = times.sent, {}

    def note(name: str, seconds: float, *, censored: bool) -> None:
        killed = attempt.limit == name
        limit = record.limits.get(name, {}).get("value")
        found[name] = Observation(
            at=attempt.started_at,
            seconds=max(0.0, seconds),
            censored=censored,
            killed_at=(attempt.limit_seconds or seconds) if killed else None,
            limit=limit if isinstance(limit, (int, float)) else None,
            cost=attempt.elapsed,
        )

    for name, at in (("ttfb", times.first_byte), ("first_content", times.first_content)):
        if at is not None:
            note(name, at - sent, censored=False)
        elif attempt.cause is not None:
            note(name, times.end - sent, censored=True)
    if times.first_byte is not None:
        stalled = attempt.limit == "stale"
        gap = max(attempt.longest_gap or 0.0, (attempt.limit_seconds or 0.0) if stalled else 0.0)
        note("stale", gap, censored=attempt.cause is not None)
    return found


class Grouping:
    """Sorts the attempts of calls by origin, model and size of the prompt."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None, int], Group] = {}

    def add(self, record: CallRecord) -> None:
        """Add the attempts of one call."""
        size = bisect.bisect_left(SIZES, record.prompt_bytes or 0)
        for attempt in record.attempts:
            seen = observed(attempt, record)
            if not seen:
                continue
            key = attempt.origin, attempt.model, size
            if key not in self._found:
                self._found[key] = Group(origin=attempt.origin, model=attempt.model, size=size)
            for name, observation in seen.items():
                self._found[key].seen[name].append(observation)

    def groups(self) -> list[Group]:
        """The groups, the largest first."""
        return sorted(self._found.values(), key=lambda group: -group.calls)


def groups(records: Iterable[CallRecord]) -> list[Group]:
    """The attempts of ``records`` by origin, model and size of the prompt, the largest group first."""
    grouping = Grouping()
    for record in records:
        grouping.add(record)
    return grouping.groups()


def merged(given: Sequence[Group]) -> list[Group]:
    """Groups that are large enough for a bound, or as large as they can be.

    Small ones are merged with those of the same origin and model, then with those of the same model.
    """
    least = least_calls()
    made = _merge(given, least, lambda group: (group.origin, group.model))
    return sorted(_merge(made, least, lambda group: (None, group.model)), key=lambda group: -group.calls)


Key = tuple[str | None, str | None]


def _merge(given: Sequence[Group], least: int, key_of: Callable[[Group], Key]) -> list[Group]:
    by_key: dict[Key, list[Group]] = defaultdict(list)
    for group in given:
        by_key[key_of(group)].append(group)
    made = []
    for (origin, model), members in by_key.items():
        small = [group for group in members if group.calls < least]
        made += [group for group in members if group.calls >= least]
        if len(small) < 2:
            made += small
            continue
        one = Group(origin=origin, model=model, size=None, merged=sum(group.merged for group in small))
        for group in small:
            for name, observations in group.seen.items():
                one.seen[name] += observations
        made.append(one)
    return made


# -- the bound ------------------------------------------------------------------


def least_calls(spared: float = SPARED, confidence: float = CONFIDENCE) -> int:
    """The fewest calls for which there is a bound: 2,995 for 999 in 1,000 with 95 %."""
    return math.ceil(math.log(1 - confidence) / math.log(spared))


def longer_allowed(calls: int, spared: float = SPARED, confidence: float = CONFIDENCE) -> int | None:
    """How many of ``calls`` may be longer than the bound; ``None`` for too few calls."""
    chance, allowed = 0.0, None
    log_kept, log_lost = math.log(spared), math.log1p(-spared)
    for longer in range(calls):
        ways = math.lgamma(calls + 1) - math.lgamma(longer + 1) - math.lgamma(calls - longer + 1)
        chance += math.exp(ways + longer * log_lost + (calls - longer) * log_kept)
        if chance > 1 - confidence:
            break
        allowed = longer
    return allowed


def recommend(limit: str, observations: Sequence[Observation]) -> Recommendation:
    """The shortest length of ``limit`` that spares 999 in 1,000 calls like these, with 95 % confidence."""
    counted = _counted(observations)
    floor = _floor(counted)
    counted, since = _latest(counted)
    killed = [one for one in counted if one.censored]
    times = sorted(one.seconds for one in counted if not one.censored)
    number = len(counted)

    def made(seconds: float | None, reason: str, *, confident: bool = False) -> Recommendation:
        rounded = None if seconds is None else rounded_up(seconds)
        return Recommendation(
            limit=limit,
            seconds=rounded,
            confident=confident,
            reason=reason,
            calls=number,
            killed=len(killed),
            since=since,
        )

    allowed = longer_allowed(number)
    if allowed is None:
        return made(None, f"{number:,} calls are too few: a bound takes {least_calls():,}")
    if len(killed) > allowed:
        keep = max(floor, *(one.seconds for one in killed), times[-1] if times else 0.0)
        return made(
            keep,
            f"kept: {len(killed):,} of {number:,} calls were ended after that, and might have answered",
        )
    bound = times[number - allowed - 1]
    if floor > bound:
        return made(
            floor, f"kept: it ended more than 1 in 1,000 calls at {floor:g} s, and nothing below is known to be safe"
        )
    return made(bound, f"{allowed:,} of {number:,} calls took longer than {bound:.3f} s", confident=True)


def rounded_up(seconds: float) -> float:
    """``seconds`` as a person would set them, never less: tenths below 10 s, whole seconds above."""
    step = 10 if seconds < 10 else 1
    return max(0.1, math.ceil(round(seconds * step, 9)) / step)


def _counted(observations: Sequence[Observation]) -> list[Observation]:
    """In the order of time, without calls that ended early for another reason than the limit."""
    longest = max((one.seconds for one in observations if not one.censored), default=0.0)
    kept = []
    for one in sorted(observations, key=lambda one: one.at):
        if not one.censored or one.killed_at is not None or one.seconds > longest:
            kept.append(one)
    return kept


def _floor(counted: Sequence[Observation]) -> float:
    """The longest limit that ended more than 1 in 1,000 of the calls under it; 0 without one."""
    under: dict[float, int] = defaultdict(int)
    ended: dict[float, int] = defaultdict(int)
    for one in counted:
        length = one.killed_at if one.killed_at is not None else one.limit
        if length is not None:
            under[length] += 1
            ended[length] += one.killed_at is not None
    return max((length for length, number in ended.items() if number > (1 - SPARED) * under[length]), default=0.0)


# -- a change in the middle of a file ---------------------------------------------


def _latest(counted: list[Observation]) -> tuple[list[Observation], float | None]:
    """The calls since the last change of their times, and when it was."""
    since = None
    while (start := _change(counted)) is not None:
        counted = counted[start:]
        since = counted[0].at
    return counted, since


def _change(counted: Sequence[Observation]) -> int | None:
    """Where the times change, if they do: the cut with the largest difference before and after."""
    values = [math.inf if one.censored else one.seconds for one in counted]
    total = len(values)
    ordered = sorted(values)
    best, place = 0.0, None
    for part in range(1, 16):
        cut = total * part // 16
        if min(cut, total - cut) < _LEAST_PART:
            continue
        found = max(
            _distance(sorted(values[:cut]), sorted(values[cut:]), ordered) / _KS_BEYOND_CHANCE,
            _tail_distance(values[:cut], values[cut:], ordered) / _TAIL_BEYOND_CHANCE,
        )
        if found > best:
            best, place = found, cut
    return place if best > 1.0 else None


def _distance(before: Sequence[float], after: Sequence[float], ordered: Sequence[float]) -> float:
    """The scaled distance of Kolmogorov and Smirnov, looked at in 200 places."""
    step = max(1, len(ordered) // 200)
    most = max(
        abs(bisect.bisect_right(before, value) / len(before) - bisect.bisect_right(after, value) / len(after))
        for value in ordered[::step]
    )
    return most * math.sqrt(len(before) * len(after) / (len(before) + len(after)))


def _tail_distance(before: Sequence[float], after: Sequence[float], ordered: Sequence[float]) -> float:
    """How many standard deviations the shares above the 99th percentile are apart."""
    mark = ordered[int(len(ordered) * _TAIL)]
    counts = [sum(value > mark for value in part) for part in (before, after)]
    share = sum(counts) / len(ordered)
    spread = math.sqrt(share * (1 - share) * (1 / len(before) + 1 / len(after)))
    return abs(counts[0] / len(before) - counts[1] / len(after)) / spread if spread else 0.0


# -- other limits -----------------------------------------------------------------


def replay(observations: Sequence[Observation], seconds: float) -> Replay:
    """What a limit of ``seconds`` would have done to these attempts."""
    answered = [one for one in observations if not one.censored]
    silent = [one for one in observations if one.censored and one.seconds > seconds]
    return Replay(
        healthy=sum(one.seconds > seconds for one in answered),
        answered=len(answered),
        ended=len(silent),
        saved=sum(one.seconds - seconds for one in silent),
    )


def percentiles(observations: Sequence[Observation]) -> Mapping[str, float] | None:
    """The median, 95th and 99th percentile and the longest of the times seen, if any."""
    times = sorted(one.seconds for one in observations if not one.censored)
    if not times:
        return None
    marks = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {**{name: times[math.ceil(part * len(times)) - 1] for name, part in marks.items()}, "max": times[-1]}
