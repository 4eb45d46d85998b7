"""The rows of cuts and wrong content: connections that end too early, and answers that are none."""

from __future__ import annotations

from typing import Any

from llmwatch import (
    ConnectFailed,
    EmptyStream,
    EventTooLarge,
    MalformedEvent,
    NotAStream,
    ProviderError,
    StreamCut,
    StreamTruncated,
    WatchTimeout,
)
from llmwatch.faults.catalogue import BAD_UTF8_ANSWER, TOOL_NAME, tool_arguments
from tests.matrix.row import ALL, SOME, Case, Cells, Row, answered, cells, failed, handed
from tests.matrix.times import BEAT, LIMIT, LIVELY, SOON

__all__ = ["ROWS"]

_ONLY_TLS = {"plain": "there is no close_notify and no certificate without TLS"}
_DOCUMENT = "the answer of a plain call is one document, which is handed on as it came"
_NO_SDK = "the SDK of these frames is botocore: tests/hooks/test_botocore_sessions.py"
_STRICT = "the openai SDK itself raises `UnicodeDecodeError`, with llmwatch and without"
_FOLLOWS = "the openai SDK follows redirects itself, as a browser does, with llmwatch and without"
_NAMES = {
    "message_start": 1,
    "content_block_start": 1,
    "content_block_delta": 2,
    "content_block_stop": 1,
    "message_delta": 1,
    "message_stop": 1,
}
_RESET = "ReadError/RemoteProtocolError"
"""Over TLS OpenSSL 3 makes a plain end of a reset, for httpx alone as well."""
_ENDLESS = failed(WatchTimeout, "facts_unknown", limit="total", events=SOME)
_STATUSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    413: "APIStatusError",
    422: "UnprocessableEntityError",
}


def _refused(status: int, reason: str, requests: int = 1, *, sdk: str, **attributes: Any) -> Cells:
    """An error, or a response with this status where a library hands that out."""
    said = {"status": status, **attributes}
    return cells(
        everywhere=failed(ProviderError, reason, requests, **said),
        request=handed(events=1, status=status, requests=requests, fault="ProviderError"),
        relays=handed(events=0, status=status, requests=requests, fault="ProviderError"),
        sdk=failed(ProviderError, reason, requests, foreign=sdk, **said),
    )


ROWS = (
    Row(
        name="eof-without-terminal",
        does="clean end after some content",
        observe="`StreamTruncated` with the partial text",
        cases=(
            Case(
                scripts=("eof-without-terminal:tokens=4",),
                cells=cells(
                    handing=failed(StreamTruncated, "output_delivered", tokens=4),
                    collect=failed(StreamTruncated, "partial_resend_used", 2),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                name="before content",
                scripts=("eof-without-terminal:tokens=0",),
                cells=cells(streaming=failed(StreamTruncated, "attempts_exhausted", 3), request=_DOCUMENT),
            ),
            Case(
                scripts=("eof-without-terminal:tokens=4,framing=close",),
                shape="anthropic",
                cells=cells(
                    handing=failed(StreamTruncated, "output_delivered", tokens=4),
                    collect=failed(StreamTruncated, "partial_resend_used", 2),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("eof-without-terminal:tokens=4,framing=length", "healthy"),
                shape="openai-responses",
                cells=cells(
                    handing=failed(StreamTruncated, "output_delivered", tokens=4),
                    collect=answered(2),
                    request=_DOCUMENT,
                ),
            ),
        ),
    ),
    Row(
        name="cut-chunk",
        does="the connection ends inside a chunk",
        observe="`StreamCut`, one class for all",
        cases=(
            Case(
                scripts=("cut-chunk",),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3),
                    collect=failed(StreamCut, "partial_resend_used", 2),
                    request=failed(StreamCut, "attempts_exhausted", 3),
                ),
            ),
        ),
    ),
    Row(
        name="missing-last-chunk",
        does="the connection ends between chunks",
        observe="`StreamCut`, one class for all",
        cases=(
            Case(
                scripts=("missing-last-chunk",),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3),
                    collect=failed(StreamCut, "partial_resend_used", 2),
                    request=failed(StreamCut, "attempts_exhausted", 3),
                ),
            ),
        ),
    ),
    Row(
        name="short-length",
        does="the connection ends before the Content-Length is reached",
        observe="`StreamCut`, one class for all",
        cases=(
            Case(
                scripts=("short-length",),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3),
                    collect=failed(StreamCut, "partial_resend_used", 2),
                    request=failed(StreamCut, "attempts_exhausted", 3),
                ),
            ),
        ),
    ),
    Row(
        name="gzip-cut",
        does="a compressed answer that ends before its compression does",
        observe="a cut is an error",
        cases=(
            Case(
                scripts=("gzip-cut",),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3),
                    collect=failed(StreamCut, "partial_resend_used", 2),
                    request=failed(StreamCut, "attempts_exhausted", 3),
                ),
            ),
        ),
    ),
    Row(
        name="reset-mid-stream",
        does="RST after content",
        observe="`StreamCut`, no resend; before content: resent",
        cases=(
            Case(
                scripts=(f"reset-mid-stream:after={SOON}",),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3),
                    collect=failed(StreamCut, "partial_resend_used", 2),
                    request=failed(StreamCut, "attempts_exhausted", 3),
                    httpx=failed(StreamCut, "output_delivered", tokens=3, foreign=_RESET),
                ),
            ),
            Case(
                name="before content",
                scripts=("reset-mid-stream:tokens=0", "healthy"),
                cells=cells(everywhere=answered(2)),
            ),
        ),
    ),
    Row(
        name="reset-before-response",
        does="RST or FIN on a reused idle socket; on a fresh one; a minute after the request",
        observe="one free resend on a fresh connection; an ordinary retry decision; no free resend",
        cases=(
            Case(
                name="a reused socket",
                scripts=("healthy", "reset-before-response", "healthy"),
                retry={"max_attempts": 1},
                warm=True,
                cells=cells(everywhere=answered(2)),
            ),
            Case(
                name="a reused socket",
                scripts=("healthy", "fin-before-response", "healthy"),
                retry={"max_attempts": 1},
                warm=True,
                cells=cells(everywhere=answered(2)),
            ),
            Case(
                name="a fresh one",
                scripts=("reset-before-response", "healthy"),
                cells=cells(everywhere=answered(2)),
            ),
            Case(
                name="a fresh one, the last attempt",
                scripts=("fin-before-response",),
                retry={"max_attempts": 1},
                cells=cells(
                    everywhere=failed(StreamCut, "attempts_exhausted"),
                    Session=failed(StreamCut, "attempts_exhausted", foreign="ConnectionError"),
                ),
            ),
        ),
        tests=(
            "tests/end_to_end/test_pooled_sockets.py::test_a_late_reset_of_a_pooled_connection_gets_no_free_resend",
        ),
    ),
    Row(
        name="refused-then-up",
        does="refuses the connection, then is up",
        observe="recovered",
        cases=(
            Case(
                scripts=("healthy",),
                server="up later",
                cells=cells(everywhere=answered(attempts=2)),
            ),
            Case(
                name="refused for good",
                scripts=("healthy",),
                server="refuses",
                cells=cells(everywhere=failed(ConnectFailed, "attempts_exhausted", 0, attempts=3, cause="refused")),
            ),
        ),
    ),
    Row(
        name="unknown-host",
        does="no name server knows the host",
        observe="`ConnectFailed` with its cause, once",
        cases=(
            Case(
                scripts=("healthy",),
                server="unknown host",
                cells=cells(everywhere=failed(ConnectFailed, "unknown_host", 0, attempts=1, cause="dns")),
            ),
        ),
    ),
    Row(
        name="bad-certificate",
        does="a certificate of an unknown authority",
        observe="`ConnectFailed` with its cause, once",
        cases=(
            Case(
                scripts=("healthy",),
                server="not trusted",
                transports=_ONLY_TLS,
                cells=cells(
                    everywhere=failed(ConnectFailed, "tls_failed", 0, attempts=1, cause="tls"),
                    Session=failed(ConnectFailed, "tls_failed", 0, attempts=1, cause="tls", foreign="SSLError"),
                ),
            ),
        ),
    ),
    Row(
        name="tls-cut",
        does="FIN without close_notify, framed",
        observe="never a success without a terminal event",
        cases=(
            Case(
                scripts=("tls-cut:tokens=4", "healthy"),
                transports=_ONLY_TLS,
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=4), collect=answered(2), request=answered(2)
                ),
            ),
        ),
    ),
    Row(
        name="tls-cut-unframed",
        does="FIN without close_notify, in a body that ends with its connection",
        observe="never a success without a terminal event",
        cases=(
            Case(
                scripts=("tls-cut-unframed:tokens=4", "healthy"),
                transports=_ONLY_TLS,
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=4), collect=answered(2), request=answered(2)
                ),
            ),
        ),
    ),
    Row(
        name="proxy-cut",
        does="a proxy gives up on a provider that has fallen silent: no last chunk, a RST, a clean end, or a 504",
        observe="`StreamCut`, `StreamTruncated`; no resend after content; a 504 is resent",
        cases=(
            Case(
                scripts=(f"proxy-cut:after={LIMIT}", "healthy"),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3), collect=answered(2), request=answered(2)
                ),
            ),
            Case(
                scripts=(f"proxy-cut:after={SOON},how=reset", "healthy"),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3),
                    collect=answered(2),
                    request=answered(2),
                    httpx=failed(StreamCut, "output_delivered", tokens=3, foreign=_RESET),
                ),
            ),
            Case(
                scripts=(f"proxy-cut:after={LIMIT},how=end", "healthy"),
                cells=cells(
                    handing=failed(StreamTruncated, "output_delivered", tokens=3),
                    collect=answered(2),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=(f"proxy-cut:after={LIMIT},tokens=0", "healthy"),
                cells=cells(everywhere=answered(2)),
            ),
        ),
    ),
    Row(
        name="malformed-event",
        does="one event with broken JSON among good ones",
        observe="`MalformedEvent`, never skipped; resent only where nothing was delivered",
        cases=(
            Case(
                scripts=("malformed-event", "healthy"),
                cells=cells(
                    handing=failed(MalformedEvent, "output_delivered", tokens=3),
                    collect=answered(2),
                    relays=handed(events=30, tokens=ALL, fault="MalformedEvent"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                name="before content",
                scripts=("malformed-event:tokens=0", "healthy"),
                cells=cells(
                    decoding=answered(2),
                    relays=handed(events=30, tokens=ALL, fault="MalformedEvent"),
                    request=_DOCUMENT,
                ),
            ),
        ),
    ),
    Row(
        name="error-event",
        does="200, then an in-stream error (OpenAI, Anthropic shapes)",
        observe="`ProviderError` with type and code",
        cases=(
            Case(
                scripts=("error-event",),
                cells=cells(
                    decoding=failed(ProviderError, "attempts_exhausted", 3, type="overloaded_error", code="overloaded"),
                    relays=handed(events=2, fault="ProviderError"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("error-event:tokens=2",),
                cells=cells(
                    handing=failed(
                        ProviderError, "output_delivered", tokens=2, type="overloaded_error", code="overloaded"
                    ),
                    collect=failed(ProviderError, "partial_resend_used", 2, type="overloaded_error", code="overloaded"),
                    relays=handed(events=4, tokens=2, fault="ProviderError"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("error-event", "healthy"),
                shape="anthropic",
                cells=cells(decoding=answered(2), relays=handed(events=2, fault="ProviderError"), request=_DOCUMENT),
            ),
            Case(
                scripts=("error-event:tokens=2",),
                shape="anthropic",
                cells=cells(
                    handing=failed(ProviderError, "output_delivered", tokens=2, type="overloaded_error"),
                    sdk=failed(ProviderError, "output_delivered", tokens=2, foreign="APIStatusError"),
                    collect=failed(ProviderError, "partial_resend_used", 2),
                    relays=handed(events=5, tokens=2, fault="ProviderError"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                name="final",
                scripts=("error-event:kind=invalid_request_error,code=",),
                shape="anthropic",
                cells=cells(
                    decoding=failed(ProviderError, "stream_error_final"),
                    sdk=failed(ProviderError, "stream_error_final", foreign="APIStatusError"),
                    relays=handed(events=2, fault="ProviderError"),
                    request=_DOCUMENT,
                ),
            ),
        ),
    ),
    Row(
        name="error-field",
        does="an `error:` field in mid-stream, then `[DONE]`",
        observe="`ProviderError` with the provider's words, never a success",
        cases=(
            Case(
                scripts=("error-field",),
                cells=cells(
                    handing=failed(ProviderError, "output_delivered", tokens=3),
                    collect=failed(ProviderError, "partial_resend_used", 2),
                    relays=handed(events=5, tokens=3, fault="ProviderError"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                name="before content",
                scripts=("error-field:tokens=0", "healthy"),
                cells=cells(decoding=answered(2), relays=handed(events=2, fault="ProviderError"), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="error-line",
        does="a bare JSON error in mid-stream, then `[DONE]`",
        observe="`ProviderError` with the provider's words, never a success",
        cases=(
            Case(
                scripts=("error-line",),
                cells=cells(
                    handing=failed(ProviderError, "output_delivered", tokens=3),
                    collect=failed(ProviderError, "partial_resend_used", 2),
                    relays=handed(events=5, tokens=3, fault="ProviderError"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                name="before content",
                scripts=("error-line:tokens=0", "healthy"),
                cells=cells(decoding=answered(2), relays=handed(events=2, fault="ProviderError"), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="restated-whole",
        does="the whole message again after its deltas",
        observe="text, reasoning and calls once",
        cases=(
            Case(
                scripts=("restated-whole",),
                cells=cells(streaming=answered(events=30), sdk=answered(events=29), request=answered()),
            ),
            Case(
                scripts=("restated-whole",),
                shape="openai-responses",
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="done-then-cut",
        does="`[DONE]` without a finish mark, then no last chunk",
        observe="`StreamCut` or `StreamTruncated` in every entry point",
        cases=(
            Case(
                scripts=("done-then-cut",),
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=3, events=5),
                    sdk=failed(StreamCut, "output_delivered", tokens=3, events=4),
                    collect=failed(StreamCut, "partial_resend_used", 2),
                    request=failed(StreamCut, "attempts_exhausted", 3),
                ),
            ),
        ),
    ),
    Row(
        name="unknown-wire",
        does="a healthy body that no dialect reads, on a model's path",
        observe="relays hand it through at once, one request; `Client`: `NotAStream`, not resent",
        cases=(
            Case(
                scripts=("unknown-wire",),
                cells=cells(
                    decoding=failed(NotAStream, "not_a_stream_final"),
                    sdk=handed(events=25, status=None),
                    relays=handed(events=25),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("unknown-wire:what=lines",),
                cells=cells(
                    decoding=failed(NotAStream, "not_a_stream_final"),
                    relays=handed(events=0, fault="NotAStream"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("unknown-wire:what=text",),
                cells=cells(
                    decoding=failed(NotAStream, "not_a_stream_final"),
                    relays=handed(events=0, fault="NotAStream"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("unknown-wire:what=sound",),
                cells=cells(
                    decoding=failed(NotAStream, "not_a_stream_final"),
                    relays=handed(events=0, fault="NotAStream"),
                    request=_DOCUMENT,
                ),
            ),
        ),
    ),
    Row(
        name="call-without-arguments",
        does="a tool call closed by the provider with empty arguments",
        observe="a whole call with `{}`",
        cases=(
            Case(
                scripts=("call-without-arguments",),
                shape="anthropic",
                text="",
                collects={"tool_calls": [(TOOL_NAME, "{}")]},
                cells=cells(streaming=answered(events=5), request=_DOCUMENT),
            ),
            Case(
                scripts=("call-without-arguments",),
                text="",
                collects={"tool_calls": [(TOOL_NAME, "{}")]},
                cells=cells(streaming=answered(events=5), sdk=answered(events=4), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="aws-frames",
        does="a whole AWS event stream",
        observe="read",
        cases=(
            Case(
                scripts=("aws-frames",),
                shape="bedrock",
                cells=cells(streaming=answered(), sdk=_NO_SDK, request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="aws-cut",
        does="an AWS event stream that ends inside a frame",
        observe="`StreamCut`; `StreamTruncated` where the body ends in good order",
        cases=(
            Case(
                scripts=("aws-cut",),
                shape="bedrock",
                cells=cells(
                    handing=failed(StreamCut, "output_delivered", tokens=2),
                    collect=failed(StreamCut, "partial_resend_used", 2),
                    request=failed(StreamCut, "attempts_exhausted", 3),
                    sdk=_NO_SDK,
                ),
            ),
            Case(
                scripts=("aws-cut:clean=yes",),
                shape="bedrock",
                cells=cells(
                    handing=failed(StreamTruncated, "output_delivered", tokens=2),
                    collect=failed(StreamTruncated, "partial_resend_used", 2),
                    request=_DOCUMENT,
                    sdk=_NO_SDK,
                ),
            ),
        ),
    ),
    Row(
        name="aws-exception",
        does="an AWS event stream with an exception frame",
        observe="`ProviderError`",
        cases=(
            Case(
                scripts=("aws-exception:tokens=2",),
                shape="bedrock",
                cells=cells(
                    handing=failed(ProviderError, "output_delivered", tokens=2, type="throttlingException"),
                    collect=failed(ProviderError, "partial_resend_used", 2, type="throttlingException"),
                    relays=handed(events=4, tokens=2, fault="ProviderError"),
                    sdk=_NO_SDK,
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("aws-exception", "aws-frames"),
                shape="bedrock",
                cells=cells(
                    decoding=answered(2), relays=handed(events=2, fault="ProviderError"), sdk=_NO_SDK, request=_DOCUMENT
                ),
            ),
        ),
    ),
    Row(
        name="json-instead",
        does="200 with JSON",
        observe="`Client`: `ProviderError` or `NotAStream`, never an empty success; relays hand it through; "
        "an answer is not asked for again, an error that may pass is",
        cases=(
            Case(
                name="an error",
                scripts=("json-instead",),
                cells=cells(
                    decoding=failed(ProviderError, "attempts_exhausted", 3),
                    relays=handed(events=0, fault="ProviderError"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                name="an answer",
                scripts=("json-instead:what=answer",),
                cells=cells(
                    decoding=failed(NotAStream, "not_a_stream_final"),
                    relays=handed(events=0, fault="NotAStream"),
                    request=answered(),
                ),
            ),
        ),
    ),
    Row(
        name="html-instead",
        does="200 with HTML",
        observe="`Client`: `NotAStream`, never an empty success; relays hand it through",
        cases=(
            Case(
                scripts=("html-instead",),
                cells=cells(
                    decoding=failed(NotAStream, "attempts_exhausted", 3),
                    relays=handed(events=0, fault="NotAStream"),
                    request=_DOCUMENT,
                ),
            ),
        ),
    ),
    Row(
        name="html-52x",
        does="502, 520, 524 with pages of HTML",
        observe="short message, retryable; body capped and timed",
        cases=tuple(
            Case(
                scripts=(f"html-52x:status={status}",),
                cells=_refused(status, "attempts_exhausted", 3, sdk="InternalServerError"),
            )
            for status in (502, 520, 524)
        ),
    ),
    Row(
        name="error-body-stall",
        does="500 and an error body that never ends",
        observe="bounded, still `ProviderError` 500",
        cases=(
            Case(
                scripts=("error-body-stall",),
                retry={"max_attempts": 1},
                cells=_refused(500, "attempts_exhausted", sdk="InternalServerError"),
            ),
        ),
    ),
    Row(
        name="retry-after",
        does="seconds, fractions, ms, date, zero, negative, nonsense, a day",
        observe="the wait that the header names; over the cap: fail with the value",
        cases=(
            Case(
                scripts=("retry-after:value=0", "healthy"),
                cells=cells(everywhere=answered(2)),
            ),
            Case(
                scripts=("retry-after:value=100,header=retry-after-ms", "healthy"),
                cells=cells(everywhere=answered(2)),
            ),
            Case(
                scripts=("retry-after:value=86400", "healthy"),
                cells=_refused(429, "retry_after_too_long", sdk="RateLimitError", retry_after=86400.0),
            ),
        ),
        tests=(
            "tests/end_to_end/test_statuses.py::test_the_wait_is_the_one_that_the_header_names",
            "tests/end_to_end/test_statuses.py::test_an_invalid_retry_after_leaves_the_back_off",
        ),
    ),
    Row(
        name="empty-stream",
        does="200, no event",
        observe="`EmptyStream`, retryable",
        cases=(
            Case(
                scripts=("empty-stream",),
                cells=cells(
                    decoding=failed(EmptyStream, "attempts_exhausted", 3),
                    relays=handed(events=0, fault="EmptyStream"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("empty-stream:comment=true", "healthy"),
                cells=cells(decoding=answered(2), relays=handed(events=0, fault="EmptyStream"), request=_DOCUMENT),
            ),
        ),
    ),
    *(
        Row(
            name=name,
            does=does,
            observe="the same events",
            cases=(
                Case(
                    scripts=(name,),
                    said=text,
                    cells=cells(streaming=answered(), request=_DOCUMENT),
                ),
                # Its events have two lines.
                Case(
                    scripts=(name,),
                    said="naïve 語",
                    shape="anthropic",
                    names=_NAMES,
                    cells=cells(streaming=answered(), request=_DOCUMENT),
                ),
            ),
        )
        for name, does, text in (
            ("newlines-cr", "lines end in CR", None),
            ("newlines-lf", "lines end in LF", None),
            ("newlines-crlf", "lines end in CRLF", None),
            ("newlines-mixed", "lines end in CR, LF and CRLF", None),
            ("newlines-split", "lines end in CRLF, split at every byte", "naïve 語"),
            ("bom", "a byte order mark", None),
            ("utf8-split", "characters split across writes", None),
        )
    ),
    Row(
        name="bad-utf8",
        does="a byte that is no UTF-8",
        observe="the same events, with U+FFFD in its place",
        cases=(
            Case(
                scripts=("bad-utf8",),
                text=BAD_UTF8_ANSWER,
                cells=cells(streaming=answered(events=30), sdk=_STRICT, request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="giant-event",
        does="2 MiB event",
        observe="delivered",
        cases=(
            Case(
                scripts=("giant-event",),
                text="x" * (2 << 20),
                cells=cells(streaming=answered(events=5), sdk=answered(events=4), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="endless-event",
        does="an event without end",
        observe="`EventTooLarge`; relays hand it through",
        cases=(
            Case(
                scripts=("endless-event",),
                max_event=1 << 18,
                limits={"total": LIVELY},
                cells=cells(
                    decoding=failed(EventTooLarge, "event_too_large"),
                    relays=_ENDLESS,
                    sdk=_ENDLESS,
                    request=failed(WatchTimeout, "slow_but_alive", limit="total"),
                ),
            ),
        ),
    ),
    Row(
        name="endless-content",
        does="content for ever",
        observe="ends at `total`; the socket is closed",
        cases=(
            Case(
                scripts=(f"endless-content:every={BEAT}",),
                limits={"total": SOON},
                cells=cells(
                    handing=failed(WatchTimeout, "output_delivered", limit="total", tokens=SOME, events=SOME),
                    collect=failed(WatchTimeout, "slow_but_alive", limit="total"),
                    request=failed(WatchTimeout, "slow_but_alive", limit="total"),
                ),
            ),
        ),
    ),
    Row(
        name="redirect-302",
        does="redirects a POST",
        observe="clear error, never a GET",
        cases=(
            Case(
                scripts=("redirect-302", "healthy"),
                cells=cells(
                    decoding=failed(ProviderError, "redirected", status=302),
                    request=handed(events=1, status=302),
                    relays=handed(events=0, status=302),
                    sdk=_FOLLOWS,
                ),
            ),
        ),
    ),
    Row(
        name="redirect-307",
        does="redirects a POST with 307",
        observe="followed to the same origin, as a POST",
        cases=(
            Case(
                scripts=("redirect-307", "healthy"),
                cells=cells(
                    decoding=answered(2, attempts=1),
                    request=answered(2, attempts=1),
                    relays=handed(events=0, status=307),
                ),
            ),
        ),
    ),
    Row(
        name="redirect-loop",
        does="redirects to itself",
        observe="clear error, never a GET",
        cases=(
            Case(
                scripts=("redirect-loop",),
                cells=cells(
                    decoding=failed(ProviderError, "redirected", 6, attempts=1, status=307),
                    request=handed(events=1, requests=6, attempts=1, status=307),
                    relays=handed(events=0, status=307),
                    sdk=_FOLLOWS,
                ),
            ),
        ),
    ),
    Row(
        name="tool-call-cut",
        does="a tool call's arguments cut, or none at all",
        observe="never returned as a tool call; `stream`: no resend, `CONTINUE`; "
        "`collect`: one resend, the fragment discarded",
        cases=(
            Case(
                scripts=("tool-call-cut", "tool-arguments-only:every=0"),
                shape="anthropic",
                text="",
                collects={"tool_calls": [(TOOL_NAME, tool_arguments(20))]},
                cells=cells(
                    handing=failed(StreamTruncated, "tool_input_delivered", events=4),
                    collect=answered(2, events=25),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("tool-call-cut:what=none", "tool-arguments-only:every=0"),
                text="",
                collects={"tool_calls": [(TOOL_NAME, tool_arguments(20))]},
                cells=cells(
                    handing=failed(StreamTruncated, "tool_input_delivered", events=2),
                    collect=answered(2, events=25),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("tool-call-cut:cut=terminal",),
                text="",
                collects={"tool_calls": []},
                cells=cells(streaming=answered(events=7), sdk=answered(events=6), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="tool-call-complete-then-cut",
        does="a whole tool call, then a cut",
        observe="`stream`: delivered, no resend, `CONFIRM`; `collect`: not returned unless the answer ended",
        cases=(
            Case(
                scripts=("tool-call-complete-then-cut:cut=eof",),
                shape="anthropic",
                text="",
                cells=cells(
                    handing=failed(StreamTruncated, "tool_call_delivered", events=7),
                    collect=failed(StreamTruncated, "partial_resend_used", 2),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=("tool-call-complete-then-cut:cut=eof,shows=call",),
                text="",
                cells=cells(
                    handing=failed(StreamTruncated, "tool_call_delivered", events=7),
                    collect=failed(StreamTruncated, "partial_resend_used", 2),
                    request=_DOCUMENT,
                ),
            ),
        ),
    ),
    Row(
        name="late-terminal",
        does="terminal event at the moment of the kill",
        observe="success if it was read before the expiry",
        apart="the moment of the kill is the subject",
        tests=(
            "tests/end_to_end/test_endings.py::test_a_terminal_event_read_before_the_expiry_wins",
            "tests/end_to_end/test_endings.py::test_a_terminal_event_that_races_the_kill_gives_success_or_time_out",
        ),
    ),
    Row(
        name="bad-request",
        does="400 401 403 404 413 422",
        observe="never resent",
        cases=tuple(
            Case(
                scripts=(f"bad-request:status={status}", "healthy"),
                cells=_refused(status, "http_status_final", sdk=sdk),
            )
            for status, sdk in _STATUSES.items()
        ),
    ),
)
