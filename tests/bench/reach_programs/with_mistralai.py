"""mistralai: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

try:
    from mistralai import Mistral
except ImportError:
    from mistralai.client import Mistral

ASK = [{"role": "user", "content": "Say it."}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def client(url):
    return Mistral(api_key="k", server_url=url)


def stream(url):
    with client(url).chat.stream(model="m", messages=ASK) as said:
        return "".join(choice.delta.content or "" for event in said for choice in event.data.choices)


def tools(url):
    with client(url).chat.stream(model="m", messages=ASK, tools=[TOOL]) as said:
        calls = [call for event in said for choice in event.data.choices for call in choice.delta.tool_calls or ()]
    return "".join(call.function.arguments or "" for call in calls)


def plain(url):
    return client(url).chat.complete(model="m", messages=ASK).choices[0].message.content


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
