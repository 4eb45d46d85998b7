"""cerebras-cloud-sdk: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

from cerebras.cloud.sdk import Cerebras

ASK = [{"role": "user", "content": "Say it."}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def client(url):
    return Cerebras(api_key="k", base_url=url)


def deltas(said):
    return [choice["delta"] for chunk in said for choice in chunk.to_dict()["choices"]]


def stream(url):
    said = client(url).chat.completions.create(model="m", messages=ASK, stream=True)
    return "".join(delta.get("content") or "" for delta in deltas(said))


def tools(url):
    said = client(url).chat.completions.create(model="m", messages=ASK, stream=True, tools=[TOOL])
    calls = [call for delta in deltas(said) for call in delta.get("tool_calls") or ()]
    return "".join(call["function"].get("arguments") or "" for call in calls)


def plain(url):
    return client(url).chat.completions.create(model="m", messages=ASK).choices[0].message.content


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
