"""Pacing: a wait that a provider names to one call holds other calls back too, without a refusal.

The first refusal holds back the calls with the same model and credential for that wait. If an attempt sent after the
hold is refused, a rate is learnt: what the provider accepted from one refusal to the end of the next one's wait, so
that no saved-up burst makes it too high. Each answer raises the rate: fast up to the former level, slowly beyond it.
Without a refusal there is no rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["Hold", "Pace", "release"]

SPREAD = 1.0
"""Seconds after the end of a wait over which the held calls are spread."""
_TOGETHER = 16
"""The most calls told one wait that go out exactly at its end. Those told later are spread."""
_CUT = 0.85
"""The part of the reached level that is left after a refusal."""
_SOON, _SLOWLY = 4.0, 0.02
"""Attempts a second that each answer adds to the rate, below the level (at most doubled) and above."""
_SAFE = 0.5
"""The part of the level up to which the rate rises while the last attempts of calls wait."""
_CALM = 60.0
"""Seconds without a refusal after which the level is forgotten, and a rate that holds nothing back."""
_LEAST = 1 / 30
"""The lowest rate, in attempts a second."""
_MOST = 1000.0
"""The highest rate that is kept, in attempts a second."""
_LATE = 0.05
"""Seconds by which an attempt may be late without delaying the next."""
_LAST = 1.5
"""Times the distance of others that the last attempt of a call keeps, at the rate or the lower level."""
_LONGEST = 30.0
"""The most seconds to which refusals in a row, with nothing accepted between them, lengthen a hold."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Calls are held until ``until``. All instants are on a monotonic clock.

    A call that was sent at ``sent_at`` was told so at ``since``. ``told`` counts the calls that were told. ``longer``:
    the hold is longer than that call's wait, and holds its last attempt too.
    """

    sent_at: float
    since: float
    until: float
    told: int = 1
    longer: bool = False


@dataclass(slots=True)
class _Account:
    """The state of one model and credential.

    ``since`` is the instant of the last refusal that taught something, ``began`` that of the one before. ``accepted``
    attempts were sent between them and not refused.
    """

    hold: Hold
    since: float
    began: float
    accepted: int = 0
    started: int = 0  # attempts sent since then and not refused
    answered: bool = False  # whether one of those is answered
    rate: float | None = None  # attempts a second
    level: float = float("inf")  # up to which the rate rises fast
    cut: float = float("inf")  # the level after the last refusal, if anything was accepted before it
    before: tuple[float | None, float, int] = (None, float("inf"), 0)  # rate, level and refusals before the last one
    earlier: tuple[float, int] = (0.0, 0)  # the last ``began`` and ``accepted`` with anything accepted
    latest: float = float("-inf")  # when the latest attempt was sent, without its lateness
    refusals: int = 0  # in a row, with nothing accepted between them
    longer: int = 0  # how often it was held for longer than a call was told

    @property
    def calm_at(self) -> float:
        """When the last refusal is long past."""
        return max(self.since, self.hold.until) + _CALM

    @property
    def gap(self) -> float:
        """Seconds from one attempt to the next."""
        rate = self.rate
        return 0.0 if rate is None else 1.0 / rate


class Pace:
    """The holds and rates of one origin, by model and credential, in seconds on a monotonic clock.

    Not thread-safe: its owner has the lock.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, _Account] = {}
        """The accounts that were told to wait recently."""

    def hold(self, key: str, wait: float, now: float, sent_at: float, calls: int, random: Callable[[], float]) -> float:
        """An attempt sent at ``sent_at`` was told to wait ``wait`` seconds, with ``calls`` in flight.

        A second hold never ends the first one earlier. Returns the seconds that its own call waits.
        """
        account = self.accounts.get(key)
        if account is None:
            # Accounts without a refusal for long are forgotten when a new one comes.
            self.accounts = {one: known for one, known in tuple(self.accounts.items()) if known.calm_at > now}
            self.accounts[key] = _Account(Hold(sent_at, now, now + wait), now, now)
            return wait
        told, until, longer = account.hold.told + 1, max(account.hold.until, now + wait), account.hold.longer
        if sent_at > account.since:
            self._refused(account, now)
            # A longer hold saves attempts that would be refused in vain.
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
        """The hold that is not over at ``now``, or ``None``."""
        account = None if key is None else self.accounts.get(key)
        return None if account is None or account.hold.until <= now else account.hold

    def ready_at(self, key: str | None, now: float, *, last: bool = False) -> float:
        """When the rate lets the next attempt out, ``now`` or earlier for at once; ``last``: its call's last."""
        account = None if key is None else self.accounts.get(key)
        rate = None if account is None else account.rate
        if account is None or rate is None:
            return now
        return account.latest + (_LAST / min(rate, account.level) if last else 1.0 / rate)

    def gap(self, key: str | None) -> float:
        """Seconds from one attempt to the next, 0 without a rate."""
        account = None if key is None else self.accounts.get(key)
        return 0.0 if account is None else account.gap

    def searches(self, key: str | None) -> bool:
        """Whether the level is unknown, so that the rate rises fast until a refusal."""
        account = None if key is None else self.accounts.get(key)
        return account is not None and account.rate is not None and account.level == float("inf")

    def refusals(self, key: str | None) -> int:
        """The number of refusals in a row with nothing accepted between them, the very first not counted."""
        account = None if key is None else self.accounts.get(key)
        return 0 if account is None else account.refusals

    def proven(self, key: str | None) -> bool:
        """Whether an attempt sent after the last refusal is answered."""
        account = None if key is None else self.accounts.get(key)
        return account is None or account.answered

    def start(self, key: str | None, now: float) -> None:
        """An attempt is sent."""
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
        """An attempt sent at ``sent_at`` succeeded. Raises the rate: above half its level only if ``grows``.

        Returns whether that ends a hold; the hold must have begun before the attempt was sent.
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
        """An attempt that was sent after the last refusal is refused."""
        # Calls that came more slowly than the rate allows have not reached it.
        open_for = now - max(account.since, min(account.hold.until, now))
        sent = account.started / max(open_for, account.gap, _LATE)
        account.cut = _CUT * min(account.rate or float("inf"), sent)
        account.before = (account.rate, account.level, account.refusals + account.hold.told)
        if account.accepted > 0:
            account.earlier = (account.began, account.accepted)
        account.began, account.accepted = account.since, account.started - 1
        account.since, account.started, account.answered = now, 0, False

    def _learn(self, account: _Account) -> None:
        """Set the accepted rate. If nothing was accepted, the earlier count covers the longer time."""
        rate, account.level, refusals = account.before
        if account.accepted > 0:
            began, accepted, account.refusals, account.longer = account.began, account.accepted, 0, 0
            if rate is not None:
                account.level = account.cut
        else:
            (began, accepted), account.refusals = account.earlier, refusals
        account.rate = max(_LEAST, min(account.level, accepted / (account.hold.until - began))) if accepted else None


def release(hold: Hold, random: Callable[[], float]) -> float:
    """When a call that waits for the end of ``hold`` is released."""
    return hold.until + random() * SPREAD
