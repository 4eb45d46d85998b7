"""anthropic's Messages: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

import anthropic

ASK = [{"role": "user", "content": "Say it."}]
TOOL = {"name": "look_up", "input_schema": {"type": "object", "properties": {}}}


def client(url):
    return anthropic.Anthropic(api_key="k", base_url=url)


def stream(url):
    with client(url).messages.stream(model="m", max_tokens=9, messages=ASK) as said:
        return "".join(said.text_stream)


def tools(url):
    with client(url).messages.stream(model="m", max_tokens=9, messages=ASK, tools=[TOOL]) as said:
        return [block.input for block in said.get_final_message().content if block.type == "tool_use"]


def plain(url):
    return client(url).messages.create(model="m", max_tokens=9, messages=ASK).content[0].text


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
