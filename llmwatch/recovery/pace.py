"""Pacing: when a provider names a wait to one call, the others need not be refused to learn of it.

The first refusal holds the calls with the same model and credential back for as long. A refusal of an attempt that went
out behind that teaches a rate: what the provider has accepted from one refusal to the end of the next one's wait, which
no burst that was saved up makes larger than it can go on with. Each answer raises the rate: soon up to the former
level, slowly from there on. Without a refusal there is no rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["Hold", "Pace", "release"]

SPREAD = 1.0
"""Seconds over which the calls that were held are spread behind the end of the wait."""
_TOGETHER = 16
"""So many calls that were told the same wait themselves go out at the end of it, to the instant. Those that were told
it after them are spread behind it as well.
"""
_CUT = 0.85
"""What a refusal leaves of the level that calls came up to."""
_SOON, _SLOWLY = 4.0, 0.02
"""By how many a second each answer raises the rate, below that level (at most doubling it) and above it."""
_SAFE = 0.5
"""The part of that level up to which the rate rises while the last attempts of calls wait."""
_CALM = 60.0
"""Seconds without a refusal after which there is no such level, and no rate either that holds nobody back."""
_LEAST = 1 / 30
"""The lowest rate, in attempts a second."""
_MOST = 1000.0
"""A rate above which none is kept."""
_LATE = 0.05
"""Seconds by which an attempt may go out late and the next one is still in time."""
_LAST = 1.5
"""How many times the distance of others the last attempt of a call keeps, below the level."""
_LONGEST = 30.0
"""Seconds up to which a hold is lengthened where one refusal follows another and nothing is accepted between them."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Calls are held until ``until``, as a call was told at ``since`` that went out at ``sent_at``; all on a monotonic
    clock. ``told`` is how many were. ``longer``: it is longer than that call's wait, and holds its last attempt too.
    """

    sent_at: float
    since: float
    until: float
    told: int = 1
    longer: bool = False


@dataclass(slots=True)
class _Account:
    """What is known of one model and credential. ``since`` is the instant of the last refusal that was news, and
    ``began`` that of the one before; ``accepted`` attempts went out between them and were not refused.
    """

    hold: Hold
    since: float
    began: float
    accepted: int = 0
    started: int = 0  # since then, and not refused
    answered: bool = False  # one of those is
    rate: float | None = None  # attempts a second
    level: float = float("inf")  # up to which the rate rises soon
    cut: float = float("inf")  # the level after the last refusal, if anything was accepted before it
    before: tuple[float | None, float, int] = (None, float("inf"), 0)  # rate, level and refusals otherwise
    earlier: tuple[float, int] = (0.0, 0)  # when it began and what was accepted the last time that anything was
    latest: float = float("-inf")  # when the latest went out, as if none had been late
    refusals: int = 0  # in a row, with nothing accepted between them
    longer: int = 0  # how often it was held for longer than a call was told

    @property
    def calm_at(self) -> float:
        """When nothing was refused for long."""
        return max(self.since, self.hold.until) + _CALM

    @property
    def gap(self) -> float:
        """Seconds from one attempt to the next."""
        rate = self.rate
        return 0.0 if rate is None else 1.0 / rate


class Pace:
    """The holds and rates of one origin, by model and credential. Seconds on a monotonic clock. Not for use from
    several threads: its owner has the lock.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, _Account] = {}
        """Those that were told to wait of late."""

    def hold(self, key: str, wait: float, now: float, sent_at: float, calls: int, random: Callable[[], float]) -> float:
        """The refusal of an attempt that went out at ``sent_at`` has named a wait of ``wait`` seconds, while there are
        ``calls`` in flight. A hold never ends earlier by another. Returns the seconds that its own call waits.
        """
        account = self.accounts.get(key)
        if account is None:
            # Those that nobody was refused with for long are forgotten when another comes.
            self.accounts = {one: known for one, known in tuple(self.accounts.items()) if known.calm_at > now}
            self.accounts[key] = _Account(Hold(sent_at, now, now + wait), now, now)
            return wait
        told, until, longer = account.hold.told + 1, max(account.hold.until, now + wait), account.hold.longer
        if sent_at > account.since:
            self._refused(account, now)
            # Of the attempts that could be refused in vain some are kept for later.
            account.longer += account.before[2] > calls > 1 and account.accepted <= 0
            more = min(2.0 ** min(account.longer, 10), _LONGEST) if account.longer else 0.0
            told, until, longer = 1, max(until, now + more), more > wait
        elif sent_at > account.began:
            account.accepted -= 1
        account.hold = Hold(max(sent_at, account.hold.sent_at), now, until, told, longer)
        if account.began < account.since:
            self._learn(account)
        return wait if told <= _TOGETHER else wait + random() * SPREAD

    def held(self, key: str | None, now: float) -> Hold | None:
        """The hold that is on at ``now``, which may be yet to come."""
        account = None if key is None else self.accounts.get(key)
        return None if account is None or account.hold.until <= now else account.hold

    def ready_at(self, key: str | None, now: float, *, last: bool = False) -> float:
        """From when on the rate lets the next attempt out: ``now`` or earlier if it does at once. ``last``: it is the
        last of its call, which is to be accepted.
        """
        account = None if key is None else self.accounts.get(key)
        rate = None if account is None else account.rate
        if account is None or rate is None:
            return now
        return account.latest + (_LAST / min(rate, account.level) if last else 1.0 / rate)

    def gap(self, key: str | None) -> float:
        """Seconds from one attempt to the next, 0 where there is no rate."""
        account = None if key is None else self.accounts.get(key)
        return 0.0 if account is None else account.gap

    def searches(self, key: str | None) -> bool:
        """Whether the rate rises soon for as long as nothing is refused: nobody knows what level it comes to."""
        account = None if key is None else self.accounts.get(key)
        return account is not None and account.rate is not None and account.level == float("inf")

    def refusals(self, key: str | None) -> int:
        """How many in a row have come with nothing accepted between them, the first of all not counted."""
        account = None if key is None else self.accounts.get(key)
        return 0 if account is None else account.refusals

    def proven(self, key: str | None) -> bool:
        """Whether an attempt that went out behind the last refusal is answered."""
        account = None if key is None else self.accounts.get(key)
        return account is None or account.answered

    def start(self, key: str | None, now: float) -> None:
        """An attempt goes out."""
        account = None if key is None else self.accounts.get(key)
        if account is None:
            return
        slot = account.latest + account.gap
        if now > account.calm_at and now > slot + SPREAD:
            self.accounts.pop(str(key), None)
            return
        account.started += 1
        account.latest = slot if account.rate is not None and now <= slot + _LATE else now

    def success(self, key: str | None, sent_at: float, now: float, *, grows: bool = True) -> bool:
        """An attempt that went out at ``sent_at`` is answered well. Ends a hold that began before; whether one did. It
        raises the rate, and not above half its level unless it ``grows``.
        """
        account = None if key is None else self.accounts.get(key)
        if account is None or sent_at < account.since:
            return False
        account.answered, account.refusals, account.longer = True, 0, 0
        self._raise(account, now, grows)
        if sent_at < account.hold.since or account.hold.until <= now:
            return False
        account.hold = replace(account.hold, until=now)
        return True

    def _raise(self, account: _Account, now: float, grows: bool) -> None:
        rate = account.rate
        if rate is None:
            return
        if now > account.calm_at:
            account.level = float("inf")
        level = account.level if grows else account.level * _SAFE
        if rate < level:
            rate = min(level, rate + min(rate, _SOON))
        elif grows:
            rate += _SLOWLY
        account.rate = None if rate > _MOST else rate

    def _refused(self, account: _Account, now: float) -> None:
        """An attempt that went out behind the last refusal is refused."""
        # Who has sent less than the rate allows has not come up to it.
        open_for = now - max(account.since, min(account.hold.until, now))
        sent = account.started / max(open_for, account.gap, _LATE)
        account.cut = _CUT * min(account.rate or float("inf"), sent)
        account.before = (account.rate, account.level, account.refusals + account.hold.told)
        if account.accepted > 0:
            account.earlier = (account.began, account.accepted)
        account.began, account.accepted = account.since, account.started - 1
        account.since, account.started, account.answered = now, 0, False

    def _learn(self, account: _Account) -> None:
        """What the provider accepts. As long as that is nothing, what it has accepted before lasts that much longer."""
        rate, account.level, refusals = account.before
        if account.accepted > 0:
            began, accepted, account.refusals, account.longer = account.began, account.accepted, 0, 0
            if rate is not None:
                account.level = account.cut
        else:
            (began, accepted), account.refusals = account.earlier, refusals
        account.rate = max(_LEAST, min(account.level, accepted / (account.hold.until - began))) if accepted else None


def release(hold: Hold, random: Callable[[], float]) -> float:
    """When one of the calls that wait for the end of ``hold`` goes out."""
    return hold.until + random() * SPREAD
