"""The attributes of an answer of ``collect`` beside its text."""

from __future__ import annotations

from llmwatch import EmptyStream, Limits, MalformedEvent, Retry
from tests.end_to_end.calls import collect
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.rebuilt import DONE, PATHS, chunk, data, line, messages, named, rebuilt
from tests.end_to_end.times import LIMIT


def test_a_collected_answer_has_usage_reason_and_end(serve: Serve, connect: Connect) -> None:
    """A collected answer has tokens, the reason for its end, and the kind of its end.

    The reason is in llmwatch's words and in the provider's.
    """
    usage = data({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}})
    server = serve(
        rebuilt(chunk({"content": "a" * 100}), chunk({}, "stop"), usage, DONE),
        rebuilt(messages("whole", "max_tokens")),
        rebuilt(messages("whole", "end_turn"), named("ping"), end="open"),
    )
    client = connect(limits=Limits(finish=LIMIT))
    answer = collect(client, server.chat_url).value
    assert (answer.finish_reason, answer.provider_finish_reason, answer.cut, answer.end) == (
        "stop",
        "stop",
        False,
        "terminal",
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (5, 3, 8)
    assert answer.usage.provider == {"prompt_tokens": 5, "completion_tokens": 3}
    shown = f"<Collected '{'a' * 39}…', 100 characters, finish_reason='stop', end='terminal', 3 output tokens>"
    assert repr(answer) == shown
    answer = collect(client, server.messages_url).value
    assert (answer.finish_reason, answer.provider_finish_reason, answer.cut, answer.end) == (
        "length",
        "max_tokens",
        True,
        "eof",
    )
    assert answer.usage is None
    answer = collect(client, server.messages_url).value
    assert (answer.finish_reason, answer.cut, answer.end) == ("stop", False, "finish")


def test_the_error_of_an_empty_answer_has_the_providers_reason(serve: Serve, connect: Connect) -> None:
    """The error comes after one request, and says that resending the same one is not worthwhile."""
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "not that"}
    cases = {
        "gemini": (data({"promptFeedback": feedback}), "PROHIBITED_CONTENT (not that)"),
        "openai-chat": (chunk({"content": ""}) + chunk({}, "content_filter") + DONE, "content_filter"),
        "ndjson": (line(response="", done=False) + line(done=True, done_reason="length"), "length"),
    }
    for dialect, (body, reason) in cases.items():
        lines = dialect == "ndjson"
        server = serve(rebuilt(body, content_type="application/x-ndjson" if lines else "text/event-stream"))
        error = collect(connect(), server.url + PATHS[dialect]).failed(EmptyStream)
        assert f"a reason: {reason}." in str(error)
        assert not error.retryable
        assert len(server.requests) == 1


def test_a_reason_does_not_repeat_the_prompt(serve: Serve, connect: Connect) -> None:
    """A provider's words that quote the prompt come out without the prompt.

    This holds for an answer that is blocked and for a tool call that failed.
    """
    prompt = "the quick brown fox jumps over the lazy dog and runs away from all of them"
    blocked = {"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": f"not for: {prompt}"}}
    lost = {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": f"not for: {prompt}"}]}
    request = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    for body, kind in ((blocked, EmptyStream), (lost, MalformedEvent)):
        server = serve(rebuilt(data(body)))
        client = connect(retry=Retry(max_attempts=1))
        error = collect(client, server.url + PATHS["gemini"], json=request).failed(kind)
        assert "not for" in str(error)
        assert "lazy dog" not in str(error)


def test_a_picture_in_the_completed_response_alone_is_an_answer(serve: Serve, connect: Connect) -> None:
    """The picture is an answer after one request, whether the body ends cleanly or is cut behind it."""
    picture = {"type": "image_generation_call", "status": "completed", "result": "iVBOR"}
    body = named("response.completed", response={"status": "completed", "output": [picture]})
    for end in ("clean", "cut"):
        server = serve(rebuilt(body, end=end))
        answer = collect(connect(), server.responses_url).value
        assert (answer.text, answer.finish_reason, answer.end) == ("", "stop", "terminal")
        assert answer.events[-1].json()["response"]["output"] == [picture]
        assert len(server.requests) == 1
