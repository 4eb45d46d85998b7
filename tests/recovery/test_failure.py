"""Errors are classified by class and attributes."""

from __future__ import annotations

import ast
import pathlib

import llmwatch
from llmwatch import errors
from llmwatch.records import CAUSES
from llmwatch.recovery import Failure, FailureKind, Reason, failure_of
from llmwatch.recovery.failure import FailureKind as Kind
from tests.rows import each

CASES = [
    (
        errors.WatchTimeout("m", limit="ttfb", limit_seconds=1.0, phase="waiting", elapsed=1.0),
        Kind.WATCHDOG,
        "watchdog_timeout",
        "ttfb_kill",
    ),
    (errors.ConnectFailed("m", cause="refused"), Kind.CONNECT_REFUSED, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="reset"), Kind.CONNECT_RESET, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="unreachable"), Kind.CONNECT_UNREACHABLE, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="descriptors"), Kind.DESCRIPTORS, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="dns"), Kind.DNS, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="dns_temporary"), Kind.DNS_TEMPORARY, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="tls"), Kind.TLS_CONNECT, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="proxy"), Kind.PROXY, "connect_failed", "failed"),
    (errors.ConnectFailed("m", cause="moon"), Kind.UNKNOWN, "unknown", "failed"),
    (errors.StreamCut("m"), Kind.CUT, "transport_disconnect", "failed"),
    (errors.StreamCut("m", retryable=False), Kind.NOT_HTTP, "provider_error", "failed"),
    (errors.StreamTruncated("m"), Kind.TRUNCATED, "truncated", "failed"),
    (errors.EmptyStream("m"), Kind.EMPTY, "truncated", "failed"),
    (errors.NotAStream("m"), Kind.NOT_A_STREAM, "provider_error", "failed"),
    (errors.MalformedEvent("m"), Kind.MALFORMED, "provider_error", "failed"),
    (errors.EventTooLarge("m"), Kind.TOO_LARGE, "provider_error", "failed"),
    (errors.BodyTooLarge("m"), Kind.BODY_TOO_LARGE, "provider_error", "failed"),
    (errors.ProviderError("m", status=503), Kind.HTTP_STATUS, "provider_error", "failed"),
    (errors.ProviderError("m", status=200), Kind.STREAM_ERROR, "provider_error", "failed"),
    (errors.ProviderError("m"), Kind.STREAM_ERROR, "provider_error", "failed"),
    (errors.ProviderError("m", status=302), Kind.REDIRECT, "provider_error", "failed"),
    (errors.CircuitOpen("m", retry_after=7.0), Kind.CIRCUIT_OPEN, "setup_failure", "failed"),
    (errors.TooManyOrphans("m"), Kind.ORPHANS, "setup_failure", "failed"),
    (errors.TooManyThreads("m"), Kind.THREADS, "setup_failure", "failed"),
    (errors.RefreshFailed("m", retryable=True), Kind.REFRESH_TRANSIENT, "setup_failure", "failed"),
    (errors.RefreshFailed("m"), Kind.REFRESH_REJECTED, "setup_failure", "failed"),
    (errors.Cancelled("m", by="user"), Kind.CANCELLED_USER, "user_cancel", "user_cancel"),
    (errors.Cancelled("m", by="lifecycle"), Kind.CANCELLED_LIFECYCLE, "lifecycle_close", "lifecycle_close"),
    (errors.ConfigError("m"), Kind.SETUP, "setup_failure", "failed"),
    (errors.LLMWatchError("m"), Kind.UNKNOWN, "unknown", "failed"),
    (TimeoutError("ttfb"), Kind.UNKNOWN, "unknown", "failed"),
    (ConnectionResetError(104, "reset"), Kind.UNKNOWN, "unknown", "failed"),
    (KeyboardInterrupt(), Kind.UNKNOWN, "unknown", "failed"),
]


@each(("error", "kind", "cause", "close"), CASES, ids=lambda case: str(getattr(case, "args", case)))
def test_each_error_has_its_kind_cause_and_close_reason(
    error: BaseException, kind: FailureKind, cause: str, close: str
) -> None:
    """Class and attributes decide; errors of other libraries are unknown, with any name."""
    failure = failure_of(error)
    assert failure.kind is kind
    assert failure.cause == cause
    assert failure.close_reason == close


def test_every_error_of_the_tree_is_a_case() -> None:
    """A class that is added to the tree must be added here."""
    covered = {type(error) for error, *_ in CASES}
    assert {getattr(errors, name) for name in errors.__all__} <= covered


def test_the_text_of_an_error_does_not_classify_it() -> None:
    """Two errors that differ only in their text are the same failure."""
    said = errors.StreamCut("Connection reset by peer [Errno 104], HTTP 429, timed out")
    assert failure_of(said) == failure_of(errors.StreamCut(""))


def test_a_provider_error_keeps_what_counts() -> None:
    """Status, the provider's words, and its wishes about a resend come along."""
    error = errors.ProviderError(
        "m", status=429, code="rate_limit_exceeded", type="requests", retry_after=2.5, should_retry=True
    )
    assert failure_of(error) == Failure(
        kind=FailureKind.HTTP_STATUS,
        status=429,
        should_retry=True,
        retry_after=2.5,
        error_type="requests",
        code="rate_limit_exceeded",
        retryable=False,
    )


class TestTheTable:
    """The table of failures is whole, and nothing in it or beside it is unused."""

    def test_every_error_has_a_kind_and_every_kind_an_error(self) -> None:
        """Each class of the tree has a row, and each kind is what one of its errors is classified as."""
        assert {kind.value.error for kind in Kind} == {getattr(errors, name) for name in errors.__all__}
        assert {failure_of(error).kind for error, *_ in CASES} == set(Kind)

    def test_every_cause_is_in_the_closed_list(self) -> None:
        """Records know the causes of the table, and no others.

        So it is with the causes of failed connections.
        """
        assert {kind.value.cause for kind in Kind} == set(CAUSES)
        variants = {kind.value.variant for kind in Kind if kind.value.error is errors.ConnectFailed}
        assert variants == set(errors.CONNECT_CAUSES)

    @each("kind", Kind)
    def test_the_answer_of_a_class_is_the_answer_of_its_row(self, kind: FailureKind) -> None:
        """The ``retryable`` of a class holds for each of its kinds that has one answer, or is open."""
        row = kind.value
        cls = row.error
        if cls in (
            errors.ConnectFailed,
            errors.RefreshFailed,
            errors.ProviderError,
            errors.StreamCut,
            errors.WatchTimeout,
        ):
            # These say it of each error.
            return
        if row.why_retryable is not None and row.why_final is not None:
            assert row.retryable is cls.retryable
        elif row.why_retryable is not None or row.why_final is not None:
            assert (row.why_retryable is not None) is cls.retryable

    def test_every_reason_is_given_by_a_row_or_rule(self) -> None:
        """A reason that no row and no rule gives would be a dead text."""
        given = {
            node.attr
            for path in pathlib.Path(llmwatch.__path__[0]).rglob("*.py")
            if path.name != "reason.py"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
        }
        assert given == {reason.name for reason in Reason}

    def test_the_words_of_the_table_stand_nowhere_else(self) -> None:
        """A cause of the table stands in records, where the list is closed, and in its row.

        (Three causes are words of other lists, too, and a provider has a word of its own that is one of ours.)
        """
        words = set(CAUSES) - {"unknown", "truncated", "provider_error"}
        found = {
            (str(path.relative_to(llmwatch.__path__[0])), node.value)
            for path in pathlib.Path(llmwatch.__path__[0]).rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and node.value in words
        }
        assert {path for path, _ in found} <= {"records/attempt.py", "recovery/failure.py", "wire/reasons.py"}
