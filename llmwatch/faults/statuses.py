"""Scripts that answer with an HTTP status other than 200."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch.faults.script import Context, Script
from llmwatch.faults.steps import Chunk, Hang, Repeat, Step
from llmwatch.faults.steps import reason as phrase

__all__ = ["SCRIPTS", "web_page"]

_HTML = "text/html; charset=utf-8"


def web_page(title: str, size: int) -> bytes:
    """An HTML page of about ``size`` bytes, like those of proxies and content delivery networks."""
    start = f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n"
    line, end = "<p>The web server did not return a complete response.</p>\n", "</body>\n</html>\n"
    lines = max(1, (size - len(start) - len(end)) // len(line))
    return (start + line * lines + end).encode()


def status(context: Context, *, status: int = 500, body: str = "", content_type: str = "") -> Iterator[Step]:
    """An HTTP status with ``body``, or with the error document of the shape."""
    yield from _error(context, status, body.encode() or context.error_document(status), content_type)


def bad_request(context: Context, *, status: int = 400) -> Iterator[Step]:
    yield from _error(context, status, context.error_document(status))


def retry_after(
    context: Context,
    *,
    status: int = 429,
    value: str = "1",
    header: str = "retry-after",
    date: str = "",
    should_retry: str = "",
) -> Iterator[Step]:
    """``date`` and ``should_retry`` add Date and x-should-retry; an empty ``value`` sends no ``header``."""
    given = ((header, value), ("date", date), ("x-should-retry", should_retry))
    headers = [(name, content) for name, content in given if content]
    yield from _error(context, status, context.error_document(status), headers=headers)


def html_52x(context: Context, *, status: int = 502, size: int = 4096, stall: bool = False) -> Iterator[Step]:
    """``stall=true`` never ends the page."""
    page = web_page(f"{status} {phrase(status)}", size)
    steps: list[Step] = [Chunk(page), Hang()] if stall else [Chunk(page)]
    yield from context.answer(steps, status=status, content_type=_HTML, ends=not stall)


def error_body_stall(context: Context, *, status: int = 500, every: float = 0.0) -> Iterator[Step]:
    """Half of a document, then a blank every ``every`` seconds, forever; with 0 nothing more."""
    document = context.error_document(status)
    start = Chunk(document[: len(document) // 2])
    rest: Step = Repeat([Chunk(b" ")], every=every) if every else Hang()
    yield from context.answer([start, rest], status=status, content_type="application/json", ends=False)


def redirect_302(context: Context, *, location: str = "") -> Iterator[Step]:
    yield from _redirect(context, 302, location)


def redirect_307(context: Context, *, location: str = "") -> Iterator[Step]:
    yield from _redirect(context, 307, location)


def redirect_loop(context: Context, *, status: int = 307) -> Iterator[Step]:
    yield from _redirect(context, status, context.url + context.request.path)


def _error(
    context: Context,
    status: int,
    body: bytes,
    content_type: str = "",
    headers: list[tuple[str, str]] | None = None,
) -> Iterator[Step]:
    yield from context.answer(
        [Chunk(body)],
        status=status,
        headers=headers or [],
        content_type=content_type or "application/json",
        framing="length",
    )


def _redirect(context: Context, status: int, location: str) -> Iterator[Step]:
    # The same path, so that the next answer has the same shape.
    target = location or f"{context.url}{context.request.path}?redirected={context.request.number}"
    headers = [("Location", target)]
    yield from context.answer([], status=status, headers=headers, content_type="text/plain", framing="length")


SCRIPTS = (
    Script(name="status", description="an HTTP status with an error document", play=status, phases=("headers",)),
    Script(
        name="bad-request",
        description="a status that no second try will change",
        play=bad_request,
        phases=("headers",),
    ),
    Script(
        name="retry-after",
        description="a status with a header that says when to come back",
        play=retry_after,
        phases=("headers",),
    ),
    Script(
        name="html-52x",
        description="a gateway's status with a page of HTML",
        play=html_52x,
        phases=("headers", "body"),
    ),
    Script(
        name="error-body-stall",
        description="a status with an error document that never ends",
        play=error_body_stall,
        phases=("body",),
    ),
    Script(name="redirect-302", description="redirects the POST with 302", play=redirect_302, phases=("headers",)),
    Script(name="redirect-307", description="redirects the POST with 307", play=redirect_307, phases=("headers",)),
    Script(name="redirect-loop", description="redirects to itself", play=redirect_loop, phases=("headers",)),
)
