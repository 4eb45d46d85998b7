#!/usr/bin/env bash
# snowflake.core 1.14.0 refuses a stream whose content type has a parameter.
#
# The client of Cortex' event streams compares the header with "text/event-stream" letter by letter: with
# "text/event-stream; charset=utf-8", which many proxies write, events() raises ValueError: Unknown Content-Type. (JSON is
# compared by its beginning.) Expected: the parameter is ignored, as media types are defined.
# Seen with 1.14.0 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check snowflake.core==1.14.0
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import sys
import threading

import urllib3
from snowflake.core.rest import SSEClient


def answer(path):
    return path[1:].replace("%20", " "), b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'


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
seen = {}
for kind in ("text/event-stream", "text/event-stream;%20charset=utf-8"):
    response = urllib3.request("POST", f"{url}/{kind}", preload_content=False)
    try:
        seen[kind] = [event.data for event in SSEClient(response).events()]
    except ValueError as error:
        seen[kind] = str(error)
    print(kind, seen[kind])
bare, more = seen.values()
sys.exit(0 if len(bare) == 1 and isinstance(bare, list) and str(more).startswith("Unknown Content-Type") else 1)
PROGRAM
