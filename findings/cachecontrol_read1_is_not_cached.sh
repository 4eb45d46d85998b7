#!/usr/bin/env bash
# CacheControl 0.14.4: a body that is read whole by read1 is never cached, without a word.
#
# The adapter puts a file of its own between the response and its connection, which copies what goes through read and
# _safe_read. urllib3 2's HTTPResponse.read1 asks that file for read1, which it passes on to the file below, and nothing
# is copied. The body is read to its end, and the next request goes to the server again; read by read(), it is cached.
# Expected: cached in either way. Seen with 0.14.4, requests 2.34.2 and urllib3 2.8.0 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check CacheControl==0.14.4 requests==2.34.2 urllib3==2.8.0
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import sys
import threading

import requests
from cachecontrol import CacheControl


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
cached = {}
for method in ("read", "read1"):
    session = CacheControl(requests.Session())
    raw = session.get(f"http://127.0.0.1:{server.server_port}/", stream=True).raw
    body = b""
    while piece := getattr(raw, method)(1024):
        body += piece
    assert body == b"hello"
    cached[method] = session.get(f"http://127.0.0.1:{server.server_port}/").from_cache
print("from the cache:", cached)
sys.exit(0 if cached == {"read": True, "read1": False} else 1)
PROGRAM
