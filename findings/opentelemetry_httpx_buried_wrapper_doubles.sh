#!/usr/bin/env bash
# opentelemetry-instrumentation-httpx 0.66b2 stays in place after uninstrument() beneath another wrapper, and doubles.
#
# uninstrument() takes its wrapper off HTTPTransport.handle_request only where that lies on top, and says nothing where
# it does not; the instrumentor then holds itself for uninstrumented. The wrapper goes on making spans, and a second
# instrument() puts another one on top: each request has two spans, for the rest of the process. Expected: a buried
# wrapper makes no spans after uninstrument(), or a warning. Seen with 0.66b2 and httpx 0.28.1 on CPython 3.11, on
# loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    httpx==0.28.1 opentelemetry-sdk==1.45.2 opentelemetry-instrumentation-httpx==0.66b2
"$folder/env/bin/python" - <<'PROGRAM'
import http.server
import sys
import threading

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
instrumentor = HTTPXClientInstrumentor()


def spans():
    """The number of spans of one request."""
    exporter.clear()
    with httpx.Client(trust_env=False) as client:
        client.get(f"http://127.0.0.1:{server.server_port}/")
    return len(exporter.get_finished_spans())


found = [spans()]
instrumentor.instrument(tracer_provider=provider)
found.append(spans())
beneath = httpx.HTTPTransport.handle_request
httpx.HTTPTransport.handle_request = lambda transport, request: beneath(transport, request)
instrumentor.uninstrument()
assert not instrumentor.is_instrumented_by_opentelemetry
found.append(spans())
instrumentor.instrument(tracer_provider=provider)
found.append(spans())
print("spans of a request before, instrumented, after uninstrument() and after the next instrument():", *found)
sys.exit(found != [0, 1, 1, 2])
PROGRAM
