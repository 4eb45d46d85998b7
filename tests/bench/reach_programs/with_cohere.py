"""cohere's second client: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

import cohere

ASK = [{"role": "user", "content": "Say it."}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def client(url):
    return cohere.ClientV2(api_key="k", base_url=url)


def stream(url):
    said = client(url).chat_stream(model="m", messages=ASK)
    return "".join(event.delta.message.content.text or "" for event in said if event.type == "content-delta")


def tools(url):
    said = client(url).chat_stream(model="m", messages=ASK, tools=[TOOL])
    return "".join(
        event.delta.message.tool_calls.function.arguments for event in said if event.type == "tool-call-delta"
    )


def plain(url):
    return client(url).chat(model="m", messages=ASK).message.content[0].text


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
