"""Every case of the matrix, at every entry point, plain and over TLS."""

from __future__ import annotations

import pytest

from llmwatch import Decision, Usage, WatchTimeout, errors
from llmwatch.faults.catalogue import ANSWER
from llmwatch.faults.script import tokens_of
from llmwatch.faults.shapes.choice import SHAPES
from llmwatch.watch import machine
from tests.matrix.entry_points import Seen
from tests.matrix.row import ALL, SOME, Case, Cell
from tests.matrix.rows import ROWS
from tests.matrix.running import Played, Trust, play
from tests.matrix.times import LIMIT

CASES = {f"{row.name} {number}": (row.name, case) for row in ROWS for number, case in enumerate(row.cases, 1)}

FOREIGN = {
    "Session": {
        "WatchTimeout": "ReadTimeout",
        "ConnectFailed": "ConnectionError",
        "StreamCut": "ChunkedEncodingError",
        "StreamTruncated": "ChunkedEncodingError",
    },
    "httpx": {
        "WatchTimeout": "ReadTimeout",
        "ConnectFailed": "ConnectError",
        "StreamCut": "RemoteProtocolError",
        "StreamTruncated": "RemoteProtocolError",
    },
    "sdk": {"WatchTimeout": "APITimeoutError", "ProviderError": "APIError"},
}
"""The class that a program names in its ``except``, where the cell names no other.

An SDK's is ``APIConnectionError`` for everything else.
"""

LIBRARIES = {"Session": ("requests",), "httpx": ("httpx",), "sdk": ("openai", "anthropic")}

DECISIONS = {
    "attempts_exhausted": Decision.STOP,
    "deadline": Decision.STOP,
    "empty_final": Decision.STOP,
    "event_too_large": Decision.STOP,
    "facts_unknown": Decision.CONFIRM,
    "http_status_final": Decision.STOP,
    "not_a_stream_final": Decision.STOP,
    "output_delivered": Decision.CONTINUE,
    "partial_resend_used": Decision.STOP,
    "provider_tools": Decision.CONFIRM,
    "redirected": Decision.STOP,
    "retry_after_too_long": Decision.STOP,
    "slow_but_alive": Decision.STOP,
    "stream_error_final": Decision.STOP,
    "tls_failed": Decision.STOP,
    "tool_call_delivered": Decision.CONFIRM,
    "tool_input_delivered": Decision.CONTINUE,
    "unknown_host": Decision.STOP,
    "unknown_tools": Decision.CONFIRM,
}
"""What each reason makes the program do."""

FINAL = frozenset(
    {
        "empty_final",
        "event_too_large",
        "http_status_final",
        "not_a_stream_final",
        "redirected",
        "stream_error_final",
        "tls_failed",
        "unknown_host",
    }
)
"""The reasons of failures that no resend could overcome."""


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_in_every_entry_point_as_its_row_says(
    name: str, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Class, limit, requests, text and events are exactly those of the row.

    Every cell that differs is named.
    """
    _, case = CASES[name]
    # The bound of an error body that does not end.
    monkeypatch.setattr(machine, "ERROR_BODY", 5 * LIMIT)
    wrong = {}
    for played in play(case, trust, monkeypatch):
        try:
            _check(case, played)
        except AssertionError as error:
            wrong[f"{played.entry_point}, {played.transport}"] = str(error)
    assert not wrong, "\n".join(f"{where}: {what}" for where, what in wrong.items())


def _check(case: Case, played: Played) -> None:
    cell, seen = case.cells[played.entry_point], played.seen
    assert isinstance(cell, Cell)
    assert len(played.requests) == cell.requests, f"{len(played.requests)} requests, {seen}"
    assert {one.method for one in played.requests} <= {"POST"}, "a POST became another method"
    if cell.error is None:
        assert seen.error is None, f"raised {seen.error!r}"
    else:
        _check_error(case, cell, played)
    _check_text(case, cell, seen)
    assert cell.events == SOME or seen.events == _events(case, played.entry_point, cell), f"{seen.events} events"
    assert seen.status == (cell.status or seen.status), f"status {seen.status}"
    _check_record(case, cell, played)
    if case.kinds and seen.kinds:
        assert seen.kinds == case.kinds, f"kinds {dict(seen.kinds)}"
    if case.names and seen.names:
        assert seen.names == case.names, f"names {dict(seen.names)}"
    if seen.answer is not None:
        for name, expected in case.collects.items():
            found = getattr(seen.answer, name)
            assert _plain(found) == expected, f"collected {name}: {found}"


def _check_error(case: Case, cell: Cell, played: Played) -> None:
    error, raised = played.seen.ours, played.seen.error
    assert error is not None, f"raised {raised!r}"
    # A library's class and llmwatch's are combined in one, which is no class of the tree.
    kinds = [kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind]
    assert kinds[0] is cell.error, f"raised {raised!r}"
    if played.entry_point in FOREIGN:
        usual = FOREIGN[played.entry_point].get(kinds[0].__name__, "APIConnectionError")
        plain, _, over_tls = (cell.foreign or usual).partition("/")
        theirs = [kind.__name__ for kind in type(raised).__mro__ if kind.__module__.split(".")[0] in _library(played)]
        assert theirs[0] == (over_tls if over_tls and played.transport == "TLS" else plain), f"is a {theirs[0]}"
    recovery = error.recovery
    assert recovery is not None
    assert recovery.reason in cell.reasons, f"reason {recovery.reason}"
    assert recovery.decision is DECISIONS[recovery.reason]
    for name, expected in cell.attributes.items():
        assert getattr(error, name) == expected, f"{name} is {getattr(error, name)!r}"
    if isinstance(error, WatchTimeout):
        assert (error.limit, error.limit_seconds) == (cell.limit, case.limits[error.limit]), f"limit {error.limit}"
        assert error.elapsed - error.paused >= error.limit_seconds
    final = recovery.reason in FINAL or (isinstance(error, WatchTimeout) and error.limit == "deadline")
    assert error.retryable is not final, f"retryable is {error.retryable}"
    if played.entry_point != "collect":
        assert error.partial == played.seen.text, f"partial {error.partial[:99]!r}"


def _check_text(case: Case, cell: Cell, seen: Seen) -> None:
    said = ANSWER if case.said is None else case.said
    if cell.tokens == SOME:
        assert (said * (1 + len(seen.text) // len(said))).startswith(seen.text), f"text {seen.text[:99]!r}"
        assert seen.text
    else:
        whole = said if case.text is None else case.text
        expected = whole if cell.tokens == ALL else "".join(tokens_of(said)[: cell.tokens])
        assert seen.text == expected, f"text {seen.text[:99]!r}"


def _check_record(case: Case, cell: Cell, played: Played) -> None:
    # A redirect that an SDK follows is a call of its own.
    record = played.seen.records[-1]
    assert played.entry_point == "sdk" or len(played.seen.records) == 1, f"{len(played.seen.records)} records"
    attempts = cell.requests if cell.attempts is None else cell.attempts
    assert len(record.attempts) == attempts or len(played.seen.records) > 1, f"{len(record.attempts)} attempts"
    last = record.attempts[-1]
    fault = cell.error.__name__ if cell.error is not None else cell.fault
    assert last.error == fault or record.outcome == "done", f"the record names {last.error}"
    if cell.error is None and fault is None:
        assert record.outcome == ("recovered" if len(record.attempts) > 1 else "done")
    if cell.limit is not None:
        assert (last.limit, last.close_reason) == (cell.limit, f"{cell.limit}_kill")
    if case.longest_gap and played.entry_point != "request":
        assert last.longest_gap is not None
        assert last.longest_gap >= case.longest_gap


def _events(case: Case, entry_point: str, cell: Cell) -> int:
    """How many events the tokens make."""
    if cell.events is not None:
        return cell.events
    if entry_point == "request":
        return 1 if cell.error is None else 0
    if not cell.tokens:
        return 0
    shape = SHAPES[case.shape]()
    words = tokens_of(ANSWER if case.said is None else case.said)
    blocks = [
        *shape.opening(),
        *(block for word in words[: cell.tokens if cell.tokens > 0 else None] for block in shape.text(word)),
    ]
    if cell.tokens == ALL:
        blocks += [*shape.finish(), *shape.usage(), *shape.terminal()]
        # The SDK keeps the end mark to itself.
        return len(blocks) - (entry_point == "sdk" and case.shape == "openai-chat")
    return len(blocks)


def _library(played: Played) -> tuple[str, ...]:
    return LIBRARIES[played.entry_point]


def _plain(found: object) -> object:
    """Tool calls as pairs of name and arguments, usage as the three counts; anything else as it is."""
    if isinstance(found, (list, tuple)):
        return [(call.name, call.arguments) for call in found]
    if isinstance(found, Usage):
        return found.input_tokens, found.output_tokens, found.total_tokens
    return found
