#!/usr/bin/env bash
# sseclient 0.0.27: the framing of a chunked body is read as text of the stream, and an event across two chunks loses data.
#
# SSEClient reads response.raw._fp.fp, which is below http.client's handling of chunks. The lines with the sizes of chunks
# are taken for fields that are not known. Where a chunk ends in the middle of a line, as it may anywhere, the rest of the
# line is taken for one more of them: "data: hel" and "lo" in two chunks give "hel", without an error.
# Expected: "hello". Seen with 0.0.27 and requests 2.34.2 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check sseclient==0.0.27 requests==2.34.2
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import sys
import threading

import sseclient


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b"data: hel", b"lo\n\n", b"data: world\n\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
source = sseclient.SSEClient(f"http://127.0.0.1:{server.server_port}/")
events = [next(source).data, next(source).data]
print(events, "and no error")
sys.exit(0 if events == ["hel", "world"] else 1)
PROGRAM
