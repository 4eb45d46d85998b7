"""The verdict on an agent: what a fault server saw of it, against the rules for resending."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmwatch.faults import Observation, Request
from llmwatch.testing.sent_answer import SentAnswer, sent_answer

__all__ = ["Finding", "Rule", "Verdict", "judge"]

Rule = Literal["retried", "safe", "waited", "whole"]

_EARLY = 0.01
"""Seconds by which a resend may come early: timers are that coarse."""
_LONGEST_WAIT = 120.0
"""Seconds; a program may give up where a provider asks it to wait longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A breach of one rule, by the answer to ``request`` (its number). ``message``: what happened."""

    rule: Rule
    request: int
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verdict:
    """The verdict on a program after a fault server's faults. True if there are no ``findings``.

    * ``retried``: each call whose first failure a resend could overcome, safely, was sent again at least once. Not a
      breach: to give up where a provider asks for more than 120 s, or was at work when the program left it (it sent
      pings or a part of an answer, or the call does not stream).
    * ``safe``: nothing was sent again that gets the same refusal, that may have run a tool at the provider, whose text
      the user has seen (``hands_on``), or of which two answers in a row had begun.
    * ``waited``: each resend came no earlier than ``Retry-After`` asked.
    * ``whole``: the program did not return as if all was well when the last answer was cut, an error, or none.

    ``answer`` is what the program returned, ``error`` what it raised; ``requests`` is the number that came.

    A request is sent again if another with the same method, path and body follows. One that follows a whole answer is a
    new call, and an outright new body is one too: a verdict is about one call, or some that differ.
    """

    findings: tuple[Finding, ...] = ()
    requests: int = 0
    answer: object = None
    error: Exception | None = field(default=None, compare=False)

    @property
    def retried(self) -> bool:
        return self._kept("retried")

    @property
    def safe(self) -> bool:
        return self._kept("safe")

    @property
    def waited(self) -> bool:
        return self._kept("waited")

    @property
    def whole(self) -> bool:
        return self._kept("whole")

    def _kept(self, rule: Rule) -> bool:
        return not any(finding.rule == rule for finding in self.findings)

    def __bool__(self) -> bool:
        return not self.findings

    def __repr__(self) -> str:
        said = "".join(f"\n* {finding.rule}: {finding.message}" for finding in self.findings)
        return f"<Verdict on {self.requests} requests: {'nothing to object' if self else 'not sound'}{said}>"


def judge(observations: Sequence[Observation], *, succeeded: bool, hands_on: bool) -> tuple[Finding, ...]:
    """The findings about the ``answered`` observations of a server, by the number of the request.

    ``succeeded``: the program returned as if all was well.
    """
    answered = sorted(
        (seen for seen in observations if seen.what == "answered" and seen.request is not None), key=_number
    )
    calls: dict[tuple[str, str, str], list[Observation]] = {}
    for number, seen in enumerate(answered):
        request = _request(seen)
        if not request.complete:
            # Its body did not come: the next request with its path is taken for the same call.
            later = (_request(other) for other in answered[number + 1 :])
            request = next((other for other in later if other.path == request.path), request)
        calls.setdefault(_call(request), []).append(seen)
    findings: list[Finding] = []
    for attempts in calls.values():
        findings += _findings(attempts, hands_on=hands_on)
    if succeeded and answered:
        last = sent_answer(answered[-1], hands_on=hands_on)
        if not last.whole and not any(_outlasts(seen, answered[-1], hands_on=hands_on) for seen in answered[:-1]):
            message = f"the program returned as if all was well, and its last request got {last.what}"
            findings.append(Finding(rule="whole", request=_number(answered[-1]), message=message))
    return tuple(sorted(findings, key=lambda finding: finding.request))


def _outlasts(seen: Observation, last: Observation, *, hands_on: bool) -> bool:
    """Whether an answer is whole and was still under way when the last request came.

    The program may use either.
    """
    came, ended = _request(last).at, seen.at
    return came is not None and ended is not None and ended >= came and sent_answer(seen, hands_on=hands_on).whole


def _findings(attempts: list[Observation], *, hands_on: bool) -> list[Finding]:
    """The findings about the attempts of one call."""
    findings: list[Finding] = []
    begun = 0
    for seen, following in zip(attempts, [*attempts[1:], None], strict=True):
        answer = sent_answer(seen, hands_on=hands_on)
        if answer.whole or answer.redirects:
            continue
        begun += answer.content
        if following is not None:
            findings += _resent(seen, answer, following, begun)
        elif seen is attempts[0] and _is_due(answer):
            message = f"request {_number(seen)} got {answer.what}, and was not sent again"
            findings.append(Finding(rule="retried", request=_number(seen), message=message))
    return findings


def _is_due(answer: SentAnswer) -> bool:
    """Whether a call must be sent again after its first answer."""
    if answer.left_at_work or answer.content:
        return False
    return answer.could_work and answer.safe and (answer.retry_after or 0.0) <= _LONGEST_WAIT


def _resent(seen: Observation, answer: SentAnswer, following: Observation, begun: int) -> list[Finding]:
    findings: list[Finding] = []
    number = _number(seen)
    again = f"request {number} was sent again as request {_number(following)}"
    unsafe = None
    if not answer.could_work and not (answer.unauthorized and _credentials_differ(seen, following)):
        unsafe = f"{answer.what} is the answer to the same request again"
    elif answer.could_work and not answer.safe:
        unsafe = f"after {answer.what}: {answer.advice}"
    elif answer.content and begun > 1:
        unsafe = f"after {answer.what} for the second time: each costs the prompt and what was said"
    if unsafe is not None:
        findings.append(Finding(rule="safe", request=number, message=f"{again}, {unsafe}"))
    arrived, asked = _request(following).at, answer.retry_after
    if asked is not None and arrived is not None and seen.began is not None:
        waited = arrived - seen.began
        if waited < asked - _EARLY:
            message = f"{again} after {waited:.3g} s, and its answer asked for a wait of {asked:.3g} s"
            findings.append(Finding(rule="waited", request=number, message=message))
    return findings


def _credentials_differ(seen: Observation, following: Observation) -> bool:
    names = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    return any(_request(seen).header(name) != _request(following).header(name) for name in names)


def _request(seen: Observation) -> Request:
    assert seen.request is not None
    return seen.request


def _number(seen: Observation) -> int:
    return _request(seen).number


def _call(request: Request) -> tuple[str, str, str]:
    """What the attempts of one call have in common."""
    try:
        body = json.dumps(request.json(), sort_keys=True)
    except (ValueError, RecursionError):
        body = request.body.hex()
    return request.method, request.path, body
