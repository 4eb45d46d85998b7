"""langchain-openai's ChatOpenAI: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

from langchain_openai import ChatOpenAI

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def client(url):
    return ChatOpenAI(model="m", api_key="k", base_url=url + "/v1")


def stream(url):
    return "".join(chunk.text for chunk in client(url).stream("Say it."))


def tools(url):
    chunks = list(client(url).bind_tools([TOOL]).stream("Say it."))
    return "".join(piece["args"] or "" for chunk in chunks for piece in chunk.tool_call_chunks)


def plain(url):
    return client(url).invoke("Say it.").text


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
