"""smolagents' OpenAIModel: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

from smolagents import OpenAIModel, tool
from smolagents.models import ChatMessage, MessageRole

ASK = [ChatMessage(role=MessageRole.USER, content="Say it.")]


@tool
def look_up(city: str) -> str:
    """Looks up.

    Args:
        city: Where.
    """
    return city


def client(url):
    return OpenAIModel(model_id="m", api_base=url + "/v1", api_key="k")


def stream(url):
    return "".join(delta.content or "" for delta in client(url).generate_stream(ASK))


def tools(url):
    said = client(url).generate_stream(ASK, tools_to_call_from=[look_up])
    return "".join(call.function.arguments or "" for delta in said for call in delta.tool_calls or ())


def plain(url):
    return client(url).generate(ASK).content


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
