"""botocore's bedrock-runtime: ConverseStream, a streamed tool call and Converse."""

import json
import sys

import botocore.session

ASK = [{"role": "user", "content": [{"text": "Say it."}]}]
TOOL = {"toolSpec": {"name": "look_up", "inputSchema": {"json": {"type": "object", "properties": {}}}}}


def client(url):
    session = botocore.session.get_session()
    return session.create_client(
        "bedrock-runtime", "us-east-1", endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s"
    )


def stream(url):
    said = client(url).converse_stream(modelId="m", messages=ASK)["stream"]
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in said if "contentBlockDelta" in event)


def tools(url):
    said = client(url).converse_stream(modelId="m", messages=ASK, toolConfig={"tools": [TOOL]})["stream"]
    deltas = [event["contentBlockDelta"]["delta"] for event in said if "contentBlockDelta" in event]
    return "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta)


def plain(url):
    return client(url).converse(modelId="m", messages=ASK)["output"]["message"]["content"][0]["text"]


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
