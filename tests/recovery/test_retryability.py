"""Could a resend work?"""

from __future__ import annotations

import pytest

from llmwatch.errors import ConnectFailed, EmptyStream, NotAStream, ProviderError, StreamCut, WatchTimeout
from llmwatch.policy import NAMES
from llmwatch.recovery import Facts, Failure, FailureKind, Reason, could_work, failure_of
from llmwatch.recovery.retryability import FINAL_STATUSES, RETRYABLE_STATUSES
from tests.recovery.making import ALIVE, SENT
from tests.rows import each

NEVER = [400, 401, 403, 404, 413, 422]
AGAIN = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 527, 529]


def status(number: int, asked: bool | None = None) -> tuple[bool, Reason]:
    """The answer for an HTTP status."""
    return could_work(failure_of(ProviderError("m", status=number, should_retry=asked)), SENT)


def stream_error(**words: str | None) -> tuple[bool, Reason]:
    """The answer for an error inside a stream."""
    return could_work(failure_of(ProviderError("m", status=200, **words)), SENT)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [*NAMES, "error_body", "something_new"])
def test_every_limit_but_the_deadline_is_retryable(limit: str) -> None:
    """Every limit that ran out is worth another try, but the one of the whole call."""
    possible, reason = could_work(
        failure_of(WatchTimeout("m", limit=limit, limit_seconds=1.0, phase="waiting", elapsed=1.0)), SENT
    )
    assert possible is (limit != "deadline")
    assert (reason is Reason.DEADLINE) is (limit == "deadline")


@pytest.mark.parametrize(
    ("limit", "facts", "reason"),
    [
        ("first_content", SENT, Reason.SILENCE),
        ("first_content", ALIVE, Reason.SLOW_BUT_ALIVE),
        ("total", SENT, Reason.SILENCE),
        ("total", ALIVE, Reason.SLOW_BUT_ALIVE),
        ("progress", ALIVE, Reason.SLOW_BUT_ALIVE),
        ("stale", ALIVE, Reason.SILENCE),
        ("first_event", ALIVE, Reason.SILENCE),
        ("ttfb", SENT, Reason.SILENCE),
    ],
)
def test_silence_is_told_from_slowness(limit: str, facts: Facts, reason: Reason) -> None:
    """first_content that runs out without a single byte is silence, with bytes it is slowness."""
    assert could_work(Failure(kind=FailureKind.WATCHDOG, limit=limit), facts) == (True, reason)


def test_the_tables_are_the_documented_ones() -> None:
    """The statuses, number by number."""
    assert sorted(RETRYABLE_STATUSES) == AGAIN
    assert sorted(FINAL_STATUSES) == NEVER


@each("number", range(400, 600))
def test_only_the_listed_statuses_are_retryable(number: int) -> None:
    """Only the listed statuses are retryable by themselves.

    x-should-retry decides for every other but the six that never change.
    """
    assert status(number)[0] is (number in AGAIN)
    assert status(number, True)[0] is (number not in NEVER)
    assert status(number, False)[0] is False


def test_a_conflict_only_if_asked() -> None:
    """409 is resent if the provider says so, and only then."""
    assert status(409) == (False, Reason.HTTP_STATUS_FINAL)
    assert status(409, True) == (True, Reason.PROVIDER_ASKED)
    assert status(503, False) == (False, Reason.PROVIDER_FORBADE)


@pytest.mark.parametrize(
    ("error", "possible", "reason"),
    [
        (ConnectFailed("m", cause="refused"), True, Reason.NOT_CONNECTED),
        (ConnectFailed("m", cause="reset"), True, Reason.NOT_CONNECTED),
        (ConnectFailed("m", cause="unreachable"), True, Reason.NOT_CONNECTED),
        (ConnectFailed("m", cause="dns_temporary"), True, Reason.NOT_CONNECTED),
        (ConnectFailed("m", cause="dns"), False, Reason.UNKNOWN_HOST),
        (ConnectFailed("m", cause="tls"), False, Reason.TLS_FAILED),
        (ConnectFailed("m", cause="proxy"), False, Reason.PROXY_FAILED),
        (ConnectFailed("m", cause="refused", retryable=False), False, Reason.CONNECT_FINAL),
        (ConnectFailed("m", cause="tls", retryable=True), True, Reason.NOT_CONNECTED),
        (EmptyStream("m"), True, Reason.EMPTY),
        (EmptyStream("m", retryable=False), False, Reason.EMPTY_FINAL),
        (NotAStream("m"), True, Reason.NOT_A_STREAM),
        (NotAStream("m", retryable=False), False, Reason.NOT_A_STREAM_FINAL),
        (StreamCut("m", retryable=False), False, Reason.NOT_HTTP),
    ],
)
def test_retryable_of_the_error_goes_first(error: Exception, possible: bool, reason: Reason) -> None:
    """A transport that saw more than the cause decides.

    Examples are a stand-in's refusal and a handshake that broke off.
    """
    assert could_work(failure_of(error), SENT) == (possible, reason)


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.value.error is ConnectFailed])
def test_a_failure_without_an_error_goes_by_its_kind(kind: FailureKind) -> None:
    """A bare failure has the answer that its error would have by default."""
    error = ConnectFailed("m", cause=str(kind.value.variant))
    assert failure_of(error).kind is kind
    assert could_work(Failure(kind=kind), SENT) == could_work(failure_of(error), SENT)


@pytest.mark.parametrize(
    "words",
    [
        {"type": "server_error"},
        {"type": "overloaded_error"},
        {"type": "api_error"},
        {"type": "rate_limit_error"},
        {"type": "timeout_error"},
        {"code": "rate_limit_exceeded"},
        {"code": "server_error"},
        {"type": "UNAVAILABLE", "code": "503"},
        {"type": "RESOURCE_EXHAUSTED", "code": "429"},
        {"type": "InternalServerError"},
        {"type": "ThrottlingException"},
        {"code": "502"},
        {"type": "tokens", "code": "rate_limit_exceeded"},
    ],
)
def test_errors_of_overload_and_rate_limits_are_retryable(words: dict[str, str]) -> None:
    """Overload, rate limits and the provider's own failures, in each provider's words."""
    assert stream_error(**words) == (True, Reason.STREAM_ERROR)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"type": "invalid_request_error"},
        {"type": "authentication_error"},
        {"type": "permission_error"},
        {"type": "insufficient_quota", "code": "insufficient_quota"},
        {"type": "server_error", "code": "insufficient_quota"},
        {"type": "rate_limit_error", "code": "billing_hard_limit_reached"},
        {"type": "INVALID_ARGUMENT", "code": "400"},
        {"code": "400"},
        {"type": "a_kind_of_its_own"},
        {"code": "content_filter"},
        {"type": "error"},
    ],
)
def test_refusals_and_unknown_errors_in_a_stream_are_final(words: dict[str, str]) -> None:
    """A refusal of this request is final, and so is what is not known."""
    assert stream_error(**words) == (False, Reason.STREAM_ERROR_FINAL)


def test_a_loss_is_named_by_what_was_received() -> None:
    """The same error is a loss before the response or a cut stream, as the facts say."""
    assert could_work(Failure(kind=FailureKind.CUT), SENT) == (True, Reason.LOST_BEFORE_RESPONSE)
    assert could_work(Failure(kind=FailureKind.CUT), ALIVE) == (True, Reason.STREAM_CUT)


@pytest.mark.parametrize(
    ("kind", "possible"),
    [
        (FailureKind.TRUNCATED, True),
        (FailureKind.NOT_A_STREAM, True),
        (FailureKind.MALFORMED, True),
        (FailureKind.REFRESH_TRANSIENT, True),
        (FailureKind.CIRCUIT_OPEN, True),
        (FailureKind.ORPHANS, True),
        (FailureKind.THREADS, True),
        (FailureKind.TOO_LARGE, False),
        (FailureKind.BODY_TOO_LARGE, False),
        (FailureKind.REDIRECT, False),
        (FailureKind.SETUP, False),
        (FailureKind.REFRESH_REJECTED, False),
        (FailureKind.CANCELLED_USER, False),
        (FailureKind.CANCELLED_LIFECYCLE, False),
        (FailureKind.UNKNOWN, False),
    ],
)
def test_every_other_kind_has_one_answer(kind: FailureKind, possible: bool) -> None:
    """Every other kind has a fixed answer."""
    assert could_work(Failure(kind=kind), SENT)[0] is possible
