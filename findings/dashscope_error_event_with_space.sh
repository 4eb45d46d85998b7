#!/usr/bin/env bash
# dashscope 2.0.2 loses an error event's words, and raises TypeError, where a space follows the colon of "event:".
#
# The standard of server-sent events says that one space after the colon is no part of the value. The library strips it
# for what it stores, but compares the unstripped text with "error". "event: error" is then read as a result of status
# 200 without output, and the reading of that output raises TypeError: argument after ** must be a mapping.
# "event:error" gives status 400 and the provider's words. DashScope itself writes no space; a proxy that parses events
# and writes them again may. Expected: the same in both forms. (A guess before the run: the error passes as a success.)
# Seen with 2.0.2 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check dashscope==2.0.2
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import sys
import threading

import dashscope

ERROR = '{"code":"DataInspectionFailed","message":"Output data may contain inappropriate content.","request_id":"q"}'


def answer(path):
    space = " " if path.startswith("/space") else ""
    return "text/event-stream", f"id:1\nevent:{space}error\n:HTTP_STATUS/400\ndata:{ERROR}\n\n".encode()


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
for form in ("bare", "space"):
    dashscope.base_http_api_url = f"{url}/{form}"
    ask = [{"role": "user", "content": "hi"}]
    try:
        piece = next(iter(dashscope.Generation.call("qwen-plus", api_key="k", messages=ask, stream=True)))
        seen[form] = int(piece.status_code), piece.code
    except TypeError as error:
        seen[form] = "TypeError"
        print(error)
    print(form, seen[form])
sys.exit(0 if seen == {"bare": (400, "DataInspectionFailed"), "space": "TypeError"} else 1)
PROGRAM
