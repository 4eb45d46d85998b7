"""llm with a model of OpenAI's kind: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

from llm.default_plugins.openai_models import Chat


def look_up(city: str = "") -> str:
    """Looks up."""
    return city


def model(url, can_stream=True):
    made = Chat("m", model_name="m", api_base=url + "/v1", can_stream=can_stream, supports_tools=True)
    made.key = "k"
    return made


def stream(url):
    return "".join(model(url).prompt("Say it.", stream=True))


def tools(url):
    said = model(url).prompt("Say it.", stream=True, tools=[look_up])
    "".join(said)
    return [call.arguments for call in said.tool_calls()]


def plain(url):
    return model(url).prompt("Say it.", stream=False).text()


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
