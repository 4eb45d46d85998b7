#!/usr/bin/env bash
# cohere 7.3.1: a line of the first version's stream that cannot be read is dropped without a word.
#
# Client.chat_stream wraps the reading of each line in "except Exception: pass". A body that ends in the middle of a line,
# or has a damaged one among good ones, gives the events of the other lines and no error, no warning. (ClientV2 warns.)
# Expected: an error, as for any answer that is not JSON. Seen with 7.3.1 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check cohere==7.3.1
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import json
import sys
import threading

import cohere


def line(text):
    return json.dumps({"event_type": "text-generation", "is_finished": False, "text": text}).encode() + b"\n"


def answer(path):
    return "application/stream+json", line("a") + line("b")[:20] + b"\n" + line("c")[:-9]


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
events = list(cohere.Client(api_key="k", base_url=url).chat_stream(message="hi"))
print([event.text for event in events], "and no error")
sys.exit(0 if [event.text for event in events] == ["a"] else 1)
PROGRAM
