"""``llmwatch chat``: one question to a real endpoint, whose answer is streamed."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from llmwatch import CallRecord, Client, Limits, LLMWatchError, Stream
from llmwatch.cli import options
from llmwatch.cli.answer import Answer
from llmwatch.cli.endpoint import DIALECTS, Endpoint, read_key
from llmwatch.cli.exit_codes import ExitCode, code_of, command, describe, explain
from llmwatch.cli.terminal import Terminal
from llmwatch.cli.wait_display import Waiting

__all__ = ["chat"]

_NOTICE_EVERY = 0.1
"""Seconds between two notices of a wait."""


Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="The question; - reads it from standard input.")]
BaseUrl = Annotated[
    str,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="The URL of the provider, such as https://api.openai.com/v1; a full endpoint is used as it is.",
    ),
]
Model = Annotated[str, typer.Option("--model", metavar="NAME", help="The model to ask.")]
KeyVariable = Annotated[
    str | None,
    typer.Option("--api-key-env", metavar="VAR", help="The environment variable that holds the API key."),
]
Dialect = Annotated[
    str,
    typer.Option(
        "--dialect",
        metavar="NAME",
        help=f"The dialect of the provider: {', '.join(DIALECTS)}.",
        callback=lambda value: options.one_of(value, DIALECTS),
    ),
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", metavar="N", min=1, help="The longest answer, in tokens.")
]
System = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="Instructions that go before the question.")
]
Ttfb = Annotated[
    float | None,
    typer.Option(
        "--ttfb", metavar="SECONDS", callback=options.limit, help="Limit until the first byte of the answer; 0 off."
    ),
]
Stale = Annotated[
    float | None,
    typer.Option(
        "--stale", metavar="SECONDS", callback=options.limit, help="Limit on silence within the answer; 0 off."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object at the end (text, reasoning, record) and no stream.")
]


@command
def chat(
    prompt: Prompt,
    base_url: BaseUrl,
    model: Model,
    api_key_env: KeyVariable = None,
    dialect: Dialect = "auto",
    max_tokens: MaxTokens = None,
    system: System = None,
    ttfb: Ttfb = None,
    stale: Stale = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Ask an OpenAI-compatible or Anthropic endpoint, and stream the answer.

    The answer goes to standard output, everything else to standard error. A call to a silent provider is killed at the
    limit that the wait notice shows, and resent on a fresh connection if that is safe.
    """
    endpoint = Endpoint.of(base_url, dialect)
    key = read_key(api_key_env)
    terminal = Terminal()
    question = _read(prompt, terminal)
    given: dict[str, float] = {name: value for name, value in (("ttfb", ttfb), ("stale", stale)) if value is not None}
    calls: list[Stream] = []
    waiting = Waiting(terminal, lambda: calls[0].limits if calls else None)
    client = Client(limits=Limits(**given), dialect=endpoint.dialect, on_notice=waiting, notice_every=_NOTICE_EVERY)
    with client:
        stream = client.stream(
            "POST",
            endpoint.url,
            json=endpoint.body(model=model, prompt=question, system=_clean(system), max_tokens=max_tokens),
            headers=endpoint.headers,
            auth=endpoint.auth(key),
        )
        calls.append(stream)
        answer = Answer(terminal, aloud=not as_json)
        error = _listen(stream, answer, waiting, terminal)
    if as_json:
        terminal.document(_document(answer, stream.record, error))
    if error is not None:
        for line in explain(error):
            terminal.note(line)
        return code_of(error)
    if stream.record is not None and stream.record.empty:
        why = answer.reason_why_empty
        note = "llmwatch: the provider ended its answer in good order, and there was nothing in it."
        terminal.note(note if why is None else f"{note} {why}")
    return ExitCode.DONE


def _listen(stream: Stream, answer: Answer, waiting: Waiting, terminal: Terminal) -> LLMWatchError | None:
    try:
        with stream:
            for warning in stream.limits.warnings:
                terminal.note(f"note: {warning}")
            for event in stream:
                if event.text or event.reasoning:
                    waiting.clear()
                answer.add(event)
    except LLMWatchError as error:
        return error
    finally:
        waiting.clear()
        answer.end_line()
    return None


def _document(answer: Answer, record: CallRecord | None, error: LLMWatchError | None) -> dict[str, Any]:
    document: dict[str, Any] = {"text": answer.text, "reasoning": answer.reasoning}
    if error is not None:
        document["error"] = describe(error)
        record = record or error.record
    return {**document, "record": None if record is None else record.to_dict()}


def _read(prompt: str, terminal: Terminal) -> str:
    if prompt == "-":
        if sys.stdin.isatty():
            terminal.note("The question, ended by Ctrl-D on a line of its own:")
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    question = _clean(prompt)
    if not question or not question.strip():
        raise typer.BadParameter("the question is empty.", param_hint="PROMPT")
    return question


def _clean(text: str | None) -> str | None:
    # Bytes of an argument that are not text become lone surrogates, which no provider can read.
    return None if text is None else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
