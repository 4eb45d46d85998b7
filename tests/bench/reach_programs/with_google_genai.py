"""google-genai: a streamed answer, a streamed tool call and a plain answer."""

import json
import sys

from google import genai
from google.genai import types

TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="look_up", description="Looks up.")])


def client(url):
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url))


def stream(url):
    # The client closes its connections once nothing refers to it.
    models = (made := client(url)).models
    said = "".join(chunk.text or "" for chunk in models.generate_content_stream(model="m", contents="Say it."))
    made.close()
    return said


def tools(url):
    made = client(url)
    config = types.GenerateContentConfig(
        tools=[TOOL], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    said = list(made.models.generate_content_stream(model="m", contents="Say it.", config=config))
    made.close()
    return [call.args for chunk in said for call in chunk.function_calls or ()]


def plain(url):
    made = client(url)
    return made.models.generate_content(model="m", contents="Say it.").text


print(json.dumps({"stream": stream, "tools": tools, "plain": plain}[sys.argv[2]](sys.argv[1])))
