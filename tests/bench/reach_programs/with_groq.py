"""groq: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

import groq

ASK = [{"role": "user", "content": "Say it."}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def client(url):
    return groq.Groq(api_key="k", base_url=url)


def stream(url):
    said = client(url).chat.completions.create(model="m", messages=ASK, stream=True)
    return "".join(choice.delta.content or "" for chunk in said for choice in chunk.choices)


def tools(url):
    said = client(url).chat.completions.create(model="m", messages=ASK, stream=True, tools=[TOOL])
    calls = [call for chunk in said for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    return "".join(call.function.arguments or "" for call in calls)


def plain(url):
    return client(url).chat.completions.create(model="m", messages=ASK).choices[0].message.content


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
