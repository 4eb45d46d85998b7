#!/usr/bin/env bash
# huggingface_hub 2.4.0: a stream ends with an error when nothing but the stream refers to its client any more.
#
# InferenceClient(...).text_generation(..., stream=True) gives an iterator. It does not hold the client, so that the client
# is collected before the first token is asked for, its exit stack closes the response, and the iteration raises
# httpx2.StreamClosed. With the client in a variable the same program prints the tokens. Expected: the iterator keeps what
# it reads from, as it does in 0.36.2. Seen with 2.4.0 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import json
import sys
import threading

from huggingface_hub import InferenceClient

TOKENS = [{"token": {"id": n, "text": t, "logprob": 0, "special": False}} for n, t in enumerate(("a", "b"))]


def answer(path):
    body = b"".join(b"data:" + json.dumps({"index": 1, "details": None, **one}).encode() + b"\n\n" for one in TOKENS)
    return "text/event-stream", body


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
client = InferenceClient(url, token="t")
kept = list(client.text_generation("hi", stream=True))
try:
    chained = list(InferenceClient(url, token="t").text_generation("hi", stream=True))
except Exception as error:
    chained = type(error).__name__
print("client in a variable:", kept)
print("client in no variable:", chained)
sys.exit(0 if (kept, chained) == (["a", "b"], "StreamClosed") else 1)
PROGRAM
