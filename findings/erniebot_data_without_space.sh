#!/usr/bin/env bash
# erniebot 0.5.9 reads nothing, and raises nothing, where no space follows the colon of "data:".
#
# The standard of server-sent events makes that space optional. The library keeps lines that begin with "data: " and drops
# all others, so that an answer written as "data:{...}" is an empty iteration: the same as an answer without a word.
# Expected: the pieces in both forms. Seen with 0.5.9 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check erniebot==0.5.9 setuptools==75.8.0
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import json
import sys
import threading

import erniebot


def answer(path):
    space = "" if path.startswith("/bare") else " "
    pieces = [{"result": "a", "is_end": False}, {"result": "b", "is_end": True}]
    return "text/event-stream", b"".join(f"data:{space}{json.dumps(one)}\n\n".encode() for one in pieces)


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
for form in ("space", "bare"):
    config = {"api_type": "qianfan", "access_token": "t", "api_base_url": f"{url}/{form}"}
    ask = [{"role": "user", "content": "hi"}]
    pieces = erniebot.ChatCompletion.create(model="ernie-3.5", messages=ask, stream=True, _config_=config)
    seen[form] = [piece.get_result() for piece in pieces]
    print(form, seen[form])
sys.exit(0 if seen == {"space": ["a", "b"], "bare": []} else 1)
PROGRAM
