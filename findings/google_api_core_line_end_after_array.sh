#!/usr/bin/env bash
# google-api-core 2.33.0 refuses a line end behind the closing bracket of a streamed JSON array.
#
# A REST streaming response of Google's is one JSON array. RFC 8259 allows white space behind the closing bracket, and
# many servers and proxies end a document with a line end. The parser takes what comes after the bracket for the start
# of another array: the iteration raises ValueError after the last item, whose text has been delivered by then.
# Expected: the iteration ends. Seen with 2.33.0 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check google-api-core==2.33.0 requests==2.34.2 proto-plus==1.26.1
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import sys
import threading

import google.protobuf.struct_pb2
import requests
from google.api_core.rest_streaming import ResponseIterator


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        tail = {"/bracket": b"]", "/line-end": b"]\n"}[self.path]
        body = b'[{"text": "one"}\n,{"text": "two"}\n' + tail
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for path in ("/bracket", "/line-end"):
    items, error = [], None
    response = requests.get(f"http://127.0.0.1:{server.server_port}{path}", stream=True)
    try:
        for item in ResponseIterator(response, google.protobuf.struct_pb2.Struct):
            items.append(item["text"])
    except ValueError as raised:
        error = repr(raised)
    seen[path] = items, error
    print(path, items, error)
right = seen["/bracket"] == (["one", "two"], None) and seen["/line-end"][0] == ["one", "two"] and seen["/line-end"][1]
sys.exit(0 if right else 1)
PROGRAM
