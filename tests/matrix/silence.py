"""The rows of silence: a server that says nothing, says it too late, or says nothing of an answer."""

from __future__ import annotations

from llmwatch import EmptyStream, StreamCut, WatchTimeout
from llmwatch.faults import Script
from llmwatch.faults.catalogue import TOOL_NAME, answer, tool_arguments
from llmwatch.faults.steps import paced
from tests.matrix.row import SOME, Case, Cell, Cells, Row, answered, cells, failed, handed
from tests.matrix.times import BEAT, LIMIT, LIVELY, LONG, SOON

__all__ = ["ROWS"]

_FUNCTION = {"type": "function", "function": {"name": TOOL_NAME, "parameters": {"type": "object"}}}
_MIB = 1 << 20
_SILENCE = {"ttfb": SOON}
_END_MARK = Script(
    name="end mark alone",
    description="an end mark and nothing else",
    play=lambda context: context.answer(paced(context.shape.terminal())),
)
_DOCUMENT = "the answer of a plain call is one document, which is handed on as it came"
_UNBOUNDED = (
    "a plain call has no limit on content; `total` and `max_body` bound it: tests/end_to_end/test_plain_calls.py"
)
_SLOW = "the SDK's reader of lines takes seconds for the line ends of a tenth of one; `httpx` has the same transport"
_LATE = failed(WatchTimeout, "deadline", limit="deadline")


def _recovered(limit: str) -> Cells:
    """The second request is answered; a plain call may be at work, and is not resent."""
    return cells(everywhere=answered(2), request=failed(WatchTimeout, "slow_but_alive", limit=limit))


def _exhausted(limit: str, *, plain: str = "") -> Cells:
    """Three requests, and the error of the last."""
    return cells(
        everywhere=failed(WatchTimeout, "attempts_exhausted", 3, limit=limit),
        request=failed(WatchTimeout, "slow_but_alive", limit=plain or limit),
    )


def _unsafe(reason: str) -> Cells:
    """One request: something may have run at the provider."""
    return cells(everywhere=failed(WatchTimeout, reason, limit="ttfb"))


def _reset(requests: int) -> Cells:
    """So many requests, each of which was reset."""
    return cells(
        everywhere=failed(StreamCut, "attempts_exhausted", requests),
        Session=failed(StreamCut, "attempts_exhausted", requests, foreign="ConnectionError"),
        # Over TLS OpenSSL 3 makes a plain end of a reset, for httpx alone as well.
        httpx=failed(StreamCut, "attempts_exhausted", requests, foreign="ReadError/RemoteProtocolError"),
    )


def _alive(limit: str) -> Cells:
    """One request: the provider is at work."""
    return cells(
        everywhere=failed(WatchTimeout, "slow_but_alive", limit=limit),
        request=failed(WatchTimeout, "slow_but_alive", limit="total"),
    )


def _stalled(
    limit: str,
    *,
    tokens: int,
    events: int | None = None,
    collect: Cell | None = None,
    plain: str | None = "total",
    sdk: str = "",
) -> Cells:
    """One request: what was handed out stays."""
    silent = failed(WatchTimeout, "slow_but_alive", limit=plain)
    delivered = failed(WatchTimeout, "output_delivered", limit=limit, tokens=tokens, events=events)
    return cells(
        handing=delivered,
        sdk=sdk or delivered,
        collect=collect or failed(WatchTimeout, "slow_but_alive", limit=limit),
        request=_UNBOUNDED if plain is None else _LATE if plain == "deadline" else silent,
    )


def _flooded(*, quiet: bool = False, sdk: str = "") -> Cells:
    """One request; 64 KiB of the flood are held back, and what comes after them is handed on.

    How much that is depends on time. Comments and line ends are no events.
    """
    nothing = failed(WatchTimeout, "slow_but_alive", limit="first_content")
    some = failed(WatchTimeout, "slow_but_alive|facts_unknown", limit="first_content", events=SOME)
    stream = nothing if quiet else some
    return cells(everywhere=some, collect=nothing, stream=stream, request=_UNBOUNDED, sdk=sdk or some)


ROWS = (
    Row(
        name="healthy",
        does="answers",
        observe="the answer, one request",
        cases=(
            Case(
                scripts=("healthy",),
                cells=cells(everywhere=answered()),
            ),
            Case(
                scripts=("healthy",),
                shape="openai-responses",
                cells=cells(everywhere=answered()),
            ),
            Case(
                scripts=("healthy",),
                shape="anthropic",
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="silent",
        does="accepts, reads the request, says nothing",
        observe="limit `ttfb`, one request an attempt, recovered by a second answer; "
        "not resent where a provider's tools may have run",
        cases=(
            Case(
                name="no tools",
                scripts=("silent", "healthy"),
                limits=_SILENCE,
                cells=_recovered("ttfb"),
            ),
            Case(
                name="the caller's tools",
                scripts=("silent", "healthy"),
                limits=_SILENCE,
                body={"tools": [_FUNCTION]},
                cells=_recovered("ttfb"),
            ),
            Case(
                name="a provider's search",
                scripts=("silent", "healthy"),
                shape="anthropic",
                limits=_SILENCE,
                body={"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
                cells=_recovered("ttfb"),
            ),
            Case(
                name="MCP",
                scripts=("silent", "healthy"),
                shape="openai-responses",
                limits={"ttfb": LIMIT},
                body={"input": "Say it.", "tools": [{"type": "mcp", "server_label": "files"}]},
                cells=_unsafe("provider_tools"),
            ),
            Case(
                name="unknown tools",
                scripts=("silent", "healthy"),
                limits={"ttfb": LIMIT},
                body={"tools": [_FUNCTION, {"type": "teleport"}]},
                cells=_unsafe("unknown_tools"),
            ),
        ),
    ),
    Row(
        name="silent-always",
        does="says nothing to any attempt",
        observe="the last attempt's error, `.retryable`, exactly 3 requests, all in the record",
        cases=(
            Case(
                scripts=("silent",),
                limits={"ttfb": LIMIT},
                cells=_exhausted("ttfb"),
            ),
        ),
    ),
    Row(
        name="reset-always",
        does="resets every attempt",
        observe="the last attempt's error, `.retryable`, exactly 3 requests, "
        "4 where the first used a pooled socket that reset",
        cases=(
            Case(
                scripts=("reset-before-response",),
                cells=_reset(3),
            ),
            Case(
                name="on a reused socket",
                scripts=("healthy", "reset-before-response"),
                warm=True,
                cells=_reset(4),
            ),
        ),
    ),
    Row(
        name="late-headers",
        does="headers after the `headers` limit",
        observe="limit `headers`, retryable",
        cases=(
            Case(
                scripts=(f"late-headers:after={LONG}", "healthy"),
                limits={"headers": SOON},
                cells=_recovered("headers"),
            ),
            Case(
                name="of every attempt",
                scripts=(f"late-headers:after={LONG}",),
                limits={"headers": LIMIT},
                cells=_exhausted("headers"),
            ),
        ),
    ),
    Row(
        name="comment-then-silent",
        does="one comment or half an event, then nothing",
        observe="`stale`; with `first_event` set, that limit",
        cases=(
            Case(
                scripts=("comment-then-silent", "healthy"),
                limits={"stale": SOON},
                cells=_recovered("stale"),
            ),
            Case(
                scripts=("comment-then-silent:what=half",),
                limits={"stale": LIMIT},
                cells=_exhausted("stale"),
            ),
            Case(
                name="first_event",
                scripts=("comment-then-silent",),
                limits={"first_event": LIMIT, "total": 2 * LIMIT},
                cells=_exhausted("first_event", plain="total"),
            ),
        ),
    ),
    Row(
        name="headers-then-silent",
        does="200 and headers, then nothing",
        observe="`ttfb` as well: headers do not stop the clock",
        cases=(
            Case(
                scripts=("headers-then-silent", "healthy"),
                limits=_SILENCE,
                cells=_recovered("ttfb"),
            ),
            Case(
                name="of every attempt",
                scripts=("headers-then-silent",),
                limits={"ttfb": LIMIT},
                cells=_exhausted("ttfb"),
            ),
        ),
    ),
    Row(
        name="keepalive-only",
        does="comments or `event: ping` for ever",
        observe="`first_content` expires; never `ttfb` or `stale`; not resent by default",
        cases=(
            Case(
                scripts=(f"keepalive-only:every={BEAT}", "healthy"),
                limits={"ttfb": LIVELY, "stale": LIVELY, "first_content": 2 * LIVELY, "total": 3 * LIVELY},
                cells=_alive("first_content"),
            ),
            Case(
                scripts=(f"keepalive-only:every={BEAT},kind=ping", "healthy"),
                shape="anthropic",
                limits={"first_content": SOON, "total": 3 * SOON},
                cells=_alive("first_content"),
            ),
            Case(
                name="slow_but_alive",
                scripts=(f"keepalive-only:every={BEAT}", "healthy"),
                limits={"first_content": SOON, "total": 3 * SOON},
                retry={"slow_but_alive": True},
                cells=cells(everywhere=answered(2)),
            ),
        ),
    ),
    Row(
        name="lifecycle-only",
        does="`response.created` or `message_start`, then pings",
        observe="`first_content`; lifecycle events are not delivered twice after a resend",
        cases=(
            Case(
                scripts=(f"lifecycle-only:every={BEAT}",),
                shape="anthropic",
                limits={"first_content": SOON, "total": 3 * SOON},
                cells=_alive("first_content"),
            ),
            Case(
                name="slow_but_alive",
                scripts=(f"lifecycle-only:every={BEAT}", "healthy"),
                shape="openai-responses",
                limits={"first_content": SOON, "total": 3 * SOON},
                retry={"slow_but_alive": True},
                cells=cells(everywhere=answered(2)),
            ),
        ),
    ),
    Row(
        name="stall-after-content",
        does="tokens, then nothing",
        observe="`stale`; delivered text in `.partial`; no resend; `CONTINUE`; `collect` resends once",
        cases=(
            Case(
                scripts=("stall-after-content:tokens=4", "healthy"),
                limits={"stale": SOON},
                cells=_stalled("stale", tokens=4, collect=answered(2), plain="stale"),
            ),
            Case(
                scripts=("stall-after-content:tokens=4", "healthy"),
                shape="openai-responses",
                limits={"stale": SOON},
                cells=_stalled("stale", tokens=4, collect=answered(2), plain="stale"),
            ),
            Case(
                scripts=("stall-after-content:tokens=4", "healthy"),
                shape="anthropic",
                limits={"stale": SOON},
                cells=_stalled("stale", tokens=4, collect=answered(2), plain="stale"),
            ),
        ),
    ),
    Row(
        name="pings-after-content",
        does="tokens, then keep-alives only",
        observe="`progress`",
        cases=(
            Case(
                scripts=(f"pings-after-content:every={BEAT}", "healthy"),
                limits={"stale": LIVELY, "progress": 2 * LIVELY, "total": 3 * LIVELY},
                cells=_stalled("progress", tokens=3),
            ),
        ),
    ),
    Row(
        name="reasoning-only",
        does="long runs of reasoning",
        observe="never killed",
        cases=(
            Case(
                scripts=(f"reasoning-only:count=110,every={2 * BEAT}",),
                limits=dict.fromkeys(("ttfb", "first_content", "stale", "progress"), LIVELY),
                kinds={"lifecycle": 2, "reasoning": 110, "text": 25, "usage": 1, "terminal": 1},
                collects={"reasoning": answer(110)},
                cells=cells(streaming=answered(events=139), sdk=answered(events=138), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="tool-arguments-only",
        does="long runs of a tool call's arguments",
        observe="never killed",
        cases=(
            Case(
                scripts=(f"tool-arguments-only:count=110,every={2 * BEAT}",),
                limits=dict.fromkeys(("ttfb", "first_content", "stale", "progress"), LIVELY),
                text="",
                kinds={"lifecycle": 1, "tool_input": 111, "tool_call": 1, "usage": 1, "terminal": 1},
                collects={"tool_calls": [(TOOL_NAME, tool_arguments(110))]},
                cells=cells(streaming=answered(events=115), sdk=answered(events=114), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="long-gap",
        does="a gap just under the limit",
        observe="survives; the longest gap is in the record",
        cases=(
            Case(
                scripts=(f"long-gap:gap={SOON}",),
                limits={"stale": LIVELY + SOON, "progress": LIVELY + SOON},
                longest_gap=SOON / 2,
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="drip",
        does="a byte now and then, for ever",
        observe="only `total` or `deadline` ends it",
        cases=(
            Case(
                scripts=(f"drip:every={BEAT},size=32",),
                limits={**dict.fromkeys(("ttfb", "first_content", "stale", "progress"), LIVELY), "total": 2 * LIVELY},
                cells=_stalled("total", tokens=SOME, events=SOME),
            ),
            Case(
                scripts=(f"drip:every={BEAT},size=32",),
                limits={"deadline": SOON},
                cells=_stalled("deadline", tokens=SOME, events=SOME, collect=_LATE, plain="deadline"),
            ),
        ),
    ),
    Row(
        name="linger-after-done",
        does="terminal event, body stays open",
        observe="success within `drain`",
        cases=(
            Case(
                scripts=("linger-after-done",),
                limits={"drain": LIMIT, "stale": SOON},
                cells=cells(everywhere=answered(), request=failed(WatchTimeout, "slow_but_alive", limit="stale")),
            ),
        ),
    ),
    Row(
        name="finish-without-done",
        does="`finish_reason`, no `[DONE]`, pings",
        observe="success after `finish`",
        cases=(
            Case(
                scripts=(f"finish-without-done:every={BEAT}",),
                limits={"finish": SOON, "total": 3 * SOON},
                cells=cells(
                    everywhere=answered(events=27), request=failed(WatchTimeout, "slow_but_alive", limit="total")
                ),
            ),
        ),
    ),
    Row(
        name="finish-then-more",
        does="a finish mark before or within the answer, seconds later more text or usage",
        observe="all of it delivered, in every entry point",
        cases=(
            Case(
                scripts=(f"finish-then-more:tokens=3,delay={2 * LIMIT}",),
                limits={"stale": SOON, "progress": SOON},
                cells=cells(streaming=answered(events=30), sdk=answered(events=29), request=answered()),
            ),
            Case(
                scripts=(f"finish-then-more:tokens=0,delay={2 * LIMIT}",),
                limits={"stale": SOON, "progress": SOON},
                cells=cells(streaming=answered(events=30), sdk=answered(events=29), request=answered()),
            ),
        ),
    ),
    Row(
        name="flood-comments",
        does="comments as fast as they can be read, for ever",
        observe="ended at `first_content`, after content at `progress`; `.elapsed` true; memory flat",
        cases=(
            Case(
                scripts=("flood-comments",),
                limits={"first_content": SOON},
                cells=_flooded(quiet=True),
            ),
            Case(
                scripts=("flood-comments:tokens=2",),
                limits={"progress": SOON},
                cells=_stalled("progress", tokens=2, events=SOME, plain=None),
            ),
        ),
    ),
    Row(
        name="flood-pings",
        does="pings as fast as they can be read, for ever",
        observe="as `flood-comments`",
        cases=(
            Case(
                scripts=("flood-pings",),
                limits={"first_content": SOON},
                cells=_flooded(),
            ),
            Case(
                scripts=("flood-pings:tokens=2",),
                limits={"progress": SOON},
                cells=_stalled("progress", tokens=2, events=SOME, plain=None),
            ),
        ),
    ),
    Row(
        name="flood-empty",
        does="deltas without content as fast as they can be read, for ever",
        observe="as `flood-comments`",
        cases=(
            Case(
                scripts=("flood-empty",),
                limits={"first_content": SOON},
                cells=_flooded(),
            ),
            Case(
                scripts=("flood-empty:tokens=2",),
                limits={"progress": SOON},
                cells=_stalled("progress", tokens=2, events=SOME, plain=None),
            ),
        ),
    ),
    Row(
        name="flood-cr",
        does="line ends as fast as they can be read, for ever",
        observe="as `flood-comments`",
        cases=(
            Case(
                scripts=("flood-cr",),
                limits={"first_content": SOON},
                cells=_flooded(quiet=True, sdk=_SLOW),
            ),
            Case(
                scripts=("flood-cr:tokens=2",),
                limits={"progress": SOON},
                cells=_stalled("progress", tokens=2, events=SOME, plain=None, sdk=_SLOW),
            ),
        ),
    ),
    Row(
        name="flood-content",
        does="content as fast as it can be read, for ever",
        observe="ended at `total`",
        cases=(
            Case(
                scripts=("flood-content",),
                limits={"total": 2 * LIVELY},
                cells=_stalled("total", tokens=SOME, events=SOME, plain=None),
            ),
        ),
    ),
    Row(
        name="usage-tail",
        does="`finish_reason`, then a usage event, then `[DONE]`",
        observe="usage delivered, success",
        cases=(
            Case(
                scripts=("usage-tail",),
                collects={"usage": (7, 25, 32)},
                cells=cells(streaming=answered(), request=_DOCUMENT),
            ),
        ),
    ),
    Row(
        name="lifecycle-then-terminal",
        does="no content at all; ended with both marks; with an end mark alone",
        observe="success that says it is empty (`EmptyStream` from `collect`); `EmptyStream`",
        cases=(
            Case(
                scripts=("lifecycle-then-terminal",),
                text="",
                cells=cells(
                    streaming=answered(events=4),
                    sdk=answered(events=3),
                    collect=failed(EmptyStream, "empty_final"),
                    request=_DOCUMENT,
                ),
            ),
            Case(
                scripts=(_END_MARK,),
                text="",
                cells=cells(
                    decoding=failed(EmptyStream, "attempts_exhausted", 3),
                    relays=handed(events=1, fault="EmptyStream"),
                    request=_DOCUMENT,
                ),
            ),
        ),
    ),
    Row(
        name="buffered",
        does="the whole body at once, late",
        observe="parsed whole",
        cases=(
            Case(
                scripts=(f"buffered:delay={2 * LIMIT}",),
                cells=cells(everywhere=answered()),
            ),
            Case(
                scripts=(f"buffered:delay={LIMIT},head=true",),
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="proxy-buffered",
        does="a proxy hands the body on late, in pieces of the size of its buffer",
        observe="the whole answer, one request; a wait for the next buffer is no stall",
        cases=(
            Case(
                scripts=(f"proxy-buffered:delay={LIMIT},size=2048",),
                limits={"ttfb": LIVELY + SOON, "stale": LIVELY + SOON, "first_content": 2 * LIVELY},
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="unframed",
        does="close-delimited body, no chunks",
        observe="events as they arrive",
        cases=(
            Case(
                scripts=("unframed",),
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="coalesced",
        does="one chunk with many events, events across chunks",
        observe="events as they arrive",
        cases=(
            Case(
                scripts=("coalesced",),
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="gzip",
        does="compressed",
        observe="prompt events",
        cases=(
            Case(
                scripts=("gzip",),
                cells=cells(everywhere=answered()),
            ),
            Case(
                scripts=("gzip:encoding=deflate",),
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
    Row(
        name="upload-stall",
        does="does not read a large request (a kernel takes the first megabytes)",
        observe="limit `send`",
        cases=(
            Case(
                scripts=("upload-stall",),
                limits={"send": SOON},
                retry={"max_attempts": 2},
                upload=8 * _MIB,
                cells=cells(
                    everywhere=failed(WatchTimeout, "attempts_exhausted", 2, limit="send"),
                    httpx=failed(WatchTimeout, "attempts_exhausted", 2, limit="send", foreign="WriteTimeout"),
                ),
            ),
        ),
    ),
    Row(
        name="slow-upload",
        does="reads a large request slowly but steadily",
        observe="not killed by `connect`",
        cases=(
            Case(
                scripts=(f"slow-upload:size=65536,every={BEAT}",),
                limits={"connect": SOON},
                upload=5 * _MIB,
                cells=cells(everywhere=answered()),
            ),
        ),
    ),
)
