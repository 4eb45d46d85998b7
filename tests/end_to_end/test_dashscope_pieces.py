"""DashScope's two ways of streaming, told apart by what the request asked for."""

from __future__ import annotations

import llmwatch
from llmwatch.faults import Script
from llmwatch.faults.steps import Chunk, End, Head
from tests.end_to_end.conftest import Connect, Serve
from tests.wire.providers import dashscope, dashscope_choice

PATH = "/api/v1/services/aigc/text-generation/generation"


def test_the_request_decides_between_pieces_and_restatements(serve: Serve, connect: Connect) -> None:
    """The same events are pieces to a request with ``incremental_output``.

    To a request without it they are restatements.
    """
    said = [dashscope_choice("ha"), dashscope_choice("haha"), dashscope_choice("", "stop")]
    events = [Chunk(dashscope(number, output)) for number, output in enumerate(said, 1)]
    script = Script.of("pieces", Head(200, [("Content-Type", "text/event-stream")], "chunked"), *events, End())
    server, client = serve(script), connect()
    seen = []
    for parameters in ({"incremental_output": True}, {}):
        body = {"model": "qwen-plus", "input": {"prompt": "laugh"}, "parameters": parameters}
        answered: llmwatch.Collected = client.collect("POST", server.url + PATH, json=body)
        seen.append(answered.text)
    assert seen == ["hahaha", "haha"]
    assert len(server.requests) == 2
