"""A second, naive account of the limits, against which the state machine is checked.

It keeps no anchors: it remembers everything that was seen and works out each limit from that history when asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmwatch.watch.machine import ERROR_BODY, GRACE
from llmwatch.watch.states import READ_DRIVEN, Seen
from tests.watch.walking import IMPLIED


@dataclass
class Story:
    """The observations of an attempt, in active seconds, and the expiries that follow from them."""

    limits: dict[str, float | None]
    deadline_at: float | None
    reached: dict[Seen, float] = field(
        default_factory=dict
    )  # each observation, implied ones too, and when it was first
    bytes: list[float] = field(default_factory=list)
    contents: list[float] = field(default_factory=list)
    finishes: list[float] = field(default_factory=list)
    finishing: bool = False
    ending: float | None = None  # when an end mark came alone
    returned: float | None = None  # when content last came after a finish
    graces: dict[str, float] = field(default_factory=dict)
    dropped: bool = False  # the connection, at the end of error_body or drain

    @property
    def refused(self) -> bool:
        return Seen.REFUSED in self.reached

    @property
    def settled(self) -> bool:
        """Whether whatever expires makes a success."""
        return self.finishing or self.ending is not None

    @property
    def ended(self) -> bool:
        return Seen.TERMINAL in self.reached

    def see(self, what: Seen, active: float) -> None:
        """Add an observation."""
        if self.ended or (self.refused and what is not Seen.BYTE):
            return
        if what is Seen.REFUSED and Seen.EVENT in self.reached:
            return
        for one in IMPLIED[what] if what not in self.reached else ():
            self.reached.setdefault(one, active)
        if self.ending is not None:
            return
        if what is Seen.END:
            self.ending, self.finishing = active, False
            return
        if what is Seen.BYTE:
            self.bytes.append(active)
            self.graces.pop("stale", None)
        if what is Seen.CONTENT:
            self.contents.append(active)
            self.graces.pop("progress", None)
            if self.finishing:
                self.finishing, self.returned = False, active
                self.graces.pop("stale", None)
        if what is Seen.FINISH:
            self.finishing = True
            self.finishes.append(active)
            self.graces.pop("finish", None)
            if self.limits.get("finish") is not None:
                self.graces.pop("stale", None)
                self.graces.pop("progress", None)

    def anchors(self) -> dict[str, float]:
        """Since when each running limit counts, limits that are off included."""
        reached, found = self.reached, {}

        def waits(limit: str, since: Seen, *until: Seen) -> None:
            if since in reached and not any(one in reached for one in until):
                found[limit] = reached[since]

        if self.ended:
            return {} if self.dropped else {"drain": reached[Seen.TERMINAL]}
        if self.ending is not None:
            return {"drain": self.ending, "total": reached[Seen.SENT]}
        if self.finishing:
            found = {"finish": self.finishes[-1], "total": reached[Seen.SENT]}
            return found if self.limits.get("finish") is not None else {**found, **self.silences()}
        waits("connect", Seen.BEGUN, Seen.CONNECTED)
        waits("send", Seen.CONNECTED, Seen.SENT)
        waits("headers", Seen.SENT, Seen.HEADERS)
        waits("ttfb", Seen.SENT, Seen.BYTE, Seen.REFUSED)
        waits("first_event", Seen.SENT, Seen.EVENT, Seen.REFUSED)
        waits("first_content", Seen.SENT, Seen.CONTENT, Seen.FINISH, Seen.REFUSED)
        waits("total", Seen.SENT)
        if self.refused:
            return {} if self.dropped else {**found, "error_body": reached[Seen.REFUSED]}
        return {**found, **self.silences()}

    def silences(self) -> dict[str, float]:
        """Since when there was no byte and no content."""
        found = {}
        if Seen.BYTE in self.reached:
            found["stale"] = max([*self.bytes[-1:], self.reached[Seen.BYTE], self.returned or 0.0])
        if self.contents:
            found["progress"] = self.contents[-1]
        return found

    def expiries(self, held_total: float, *, held: bool, over: bool) -> dict[str, float]:
        """When each limit that is on expires, on the real clock. ``over``: there is a verdict."""
        found = {}
        if not held and (self.ended or not over):
            limits = {**self.limits, "error_body": ERROR_BODY, "drain": self.limits.get("drain") or 0.0}
            for limit, anchor in self.anchors().items():
                seconds = limits.get(limit)
                if seconds is not None:
                    found[limit] = self.graces.get(limit, anchor + seconds) + held_total
        if self.deadline_at is not None and not over and not self.dropped:
            found["deadline"] = self.deadline_at
        return found

    def excuse(self, limit: str, active: float) -> None:
        """A grace for a limit on reading."""
        assert limit in READ_DRIVEN
        assert limit not in self.graces
        self.graces[limit] = active + GRACE
