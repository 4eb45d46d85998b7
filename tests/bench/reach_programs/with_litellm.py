"""litellm's completion: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

import litellm

ASK = [{"role": "user", "content": "Say it."}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def ask(url, **options):
    return litellm.completion(model="openai/m", api_base=url + "/v1", api_key="k", messages=ASK, **options)


def stream(url):
    return "".join(choice.delta.content or "" for chunk in ask(url, stream=True) for choice in chunk.choices)


def tools(url):
    said = ask(url, stream=True, tools=[TOOL])
    calls = [call for chunk in said for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    return "".join(call.function.arguments or "" for call in calls)


def plain(url):
    return ask(url).choices[0].message.content


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
