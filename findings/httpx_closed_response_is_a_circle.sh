#!/usr/bin/env bash
# httpx 0.28.1 keeps each response, with its whole body, until a garbage collection; httpx2 2.16.2 frees it at once.
#
# A response that was read and closed by its client refers to its stream, and that stream (BoundSyncStream) back to the
# response. So the last reference of the program frees nothing: body, request and stream wait for Python's collector. A
# process that turns the collector off, as some servers do, grows by every body. Expected: freed with the last reference,
# as in httpx2. Seen with httpx 0.28.1 and httpx2 2.16.2 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1 httpx2==2.16.2
"$folder/env/bin/python" - <<'PROGRAM'
import gc
import http.server
import sys
import threading
import weakref

import httpx
import httpx2

BODY = b"x" * 100_000


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"


def kept(library, number=20):
    """How many of some responses are left when the program has dropped them, and after a collection."""
    with library.Client(trust_env=False) as client:
        gc.collect()
        gc.disable()
        try:
            seen = []
            for _ in range(number):
                response = client.get(url)
                assert response.content == BODY and response.is_closed
                seen.append(weakref.ref(response))
                del response
            before = sum(one() is not None for one in seen)
        finally:
            gc.enable()
        gc.collect()
        return before, sum(one() is not None for one in seen)


found = {library.__name__: kept(library) for library in (httpx, httpx2)}
for library in (httpx, httpx2):
    before, after = found[library.__name__]
    print(f"{library.__name__} {library.__version__}: {before} of 20 dropped responses are kept, {after} after a collection")
sys.exit(found != {"httpx": (20, 0), "httpx2": (0, 0)})
PROGRAM
