#!/usr/bin/env bash
# botocore 1.44.8 ends an event stream that was cut inside a frame as if it were whole.
#
# A frame of application/vnd.amazon.eventstream says how long it is. Where the body ends in good order in the middle of one
# (a proxy that lost its upstream and closed the response properly), the iteration simply stops: the half frame is dropped,
# and nothing tells the answer from a whole one but that messageStop is missing. Expected: an error, as for a body that is
# shorter than its Content-Length. Seen with 1.44.8 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check botocore==1.44.8
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import json
import struct
import sys
import threading
import zlib

import botocore.session


def frame(kind, value):
    pairs = ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event"))
    headers = b"".join(bytes([len(k)]) + k.encode() + struct.pack(">BH", 7, len(v)) + v.encode() for k, v in pairs)
    payload = json.dumps(value).encode()
    start = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start += struct.pack(">I", zlib.crc32(start)) + headers + payload
    return start + struct.pack(">I", zlib.crc32(start))


def answer(path):
    frames = [frame("messageStart", {"role": "assistant"})]
    frames += [frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in ("a", "b")]
    return "application/vnd.amazon.eventstream", b"".join(frames)[:-7]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind, body = answer(self.path)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
client = botocore.session.Session().create_client("bedrock-runtime", endpoint_url=url, **keys)
ask = [{"role": "user", "content": [{"text": "hi"}]}]
events = list(client.converse_stream(modelId="m", messages=ask)["stream"])
texts = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
print("texts:", texts, "and no error")
sys.exit(0 if texts == ["a"] and len(events) == 2 else 1)
PROGRAM
