"""ollama: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

import ollama

ASK = [{"role": "user", "content": "Say it."}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def client(url):
    return ollama.Client(host=url)


def stream(url):
    return "".join(part.message.content or "" for part in client(url).chat(model="m", messages=ASK, stream=True))


def tools(url):
    said = client(url).chat(model="m", messages=ASK, stream=True, tools=[TOOL])
    return [dict(call.function.arguments) for part in said for call in part.message.tool_calls or ()]


def plain(url):
    return client(url).chat(model="m", messages=ASK).message.content


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
