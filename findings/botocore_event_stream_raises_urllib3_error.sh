#!/usr/bin/env bash
# botocore 1.44.8 lets urllib3's time-out through where an event stream falls silent, and raises its own elsewhere.
#
# A read time-out while a request is sent, or while a StreamingBody is read, is botocore.exceptions.ReadTimeoutError. In the
# middle of an event stream (converse_stream) it is urllib3.exceptions.ReadTimeoutError, which is not a BotoCoreError and no
# base of botocore's class either, so that "except botocore.exceptions.ReadTimeoutError" misses it. Expected: botocore's own
# class in both places. Seen with 1.44.8 and urllib3 2.8.0 on CPython 3.11, on loopback.
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

import botocore.exceptions
import botocore.session
import urllib3
from botocore.config import Config

over = threading.Event()


def frame(kind, value):
    pairs = ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event"))
    headers = b"".join(bytes([len(k)]) + k.encode() + struct.pack(">BH", 7, len(v)) + v.encode() for k, v in pairs)
    payload = json.dumps(value).encode()
    start = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start += struct.pack(">I", zlib.crc32(start)) + headers + payload
    return start + struct.pack(">I", zlib.crc32(start))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        events = self.path.endswith("/converse-stream")
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream" if events else "application/json")
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.wfile.write(frame("messageStart", {"role": "assistant"}) if events else b"{")
        self.wfile.flush()
        over.wait()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
config = Config(read_timeout=0.5)
client = botocore.session.Session().create_client("bedrock-runtime", endpoint_url=url, config=config, **keys)
ask = [{"role": "user", "content": [{"text": "hi"}]}]


def raised(call):
    try:
        call()
    except Exception as error:
        return type(error)


streamed = raised(lambda: list(client.converse_stream(modelId="m", messages=ask)["stream"]))
whole = raised(lambda: client.invoke_model(modelId="m", body="{}")["body"].read())
over.set()
print("event stream:", streamed, "body:", whole)
same = streamed is urllib3.exceptions.ReadTimeoutError and whole is botocore.exceptions.ReadTimeoutError
sys.exit(0 if same and not issubclass(whole, streamed) else 1)
PROGRAM
