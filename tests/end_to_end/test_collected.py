"""What ``collect`` says of an answer beside its text."""

from __future__ import annotations

from llmwatch import Limits
from tests.end_to_end.calls import collect
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.rebuilt import DONE, chunk, data, messages, named, rebuilt
from tests.end_to_end.times import LIMIT


def test_usage_reason_and_end(serve: Serve, connect: Connect) -> None:
    """Tokens and reason in our words and the provider's, and which end it was."""
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
