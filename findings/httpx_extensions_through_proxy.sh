#!/usr/bin/env bash
# httpx 0.28.1: through a proxy the extension target changes the CONNECT, and the extension sni_hostname is dropped.
#
# A request over https through a proxy with extensions={"target": b"/t"} makes httpcore 1.0.9 send "CONNECT /t HTTP/1.1":
# the proxy is asked for a path in place of the server, and answers with an error. With
# extensions={"sni_hostname": "other.test"} the server in the tunnel is asked for the URL's name all the same, and
# verified for it. Without a proxy both work as documented.
# Expected: CONNECT names the server, the request inside the tunnel has the target, TLS asks for the name that was given.
# httpx2 2.16.2 does so. Seen with 0.28.1 on CPython 3.11, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1 httpx2==2.16.2 trustme==1.2.1
"$folder/env/bin/python" - <<'PROGRAM'
import socket
import ssl
import sys
import threading

import httpx
import httpx2
import trustme

authority = trustme.CA()
seen = []


def head(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise OSError("closed")
        data += more
    return data.split(b"\r\n", 1)[0].decode()


def serve(handle):
    listener = socket.create_server(("127.0.0.1", 0))

    def one(sock):
        try:
            with sock:
                handle(sock)
        except OSError:
            pass

    def accept():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def answer(sock):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "other.test").configure_cert(context)
    context.sni_callback = lambda tls, name, used: seen.append(f"TLS asks for {name}")
    with context.wrap_socket(sock, server_side=True) as tls:
        seen.append(head(tls))
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def tunnel(sock):
    line = head(sock)
    seen.append(line)
    if line != f"CONNECT localhost:{server} HTTP/1.1":
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return
    with socket.create_connection(("127.0.0.1", server)) as there:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        back = threading.Thread(target=copy, args=(there, sock))
        back.start()
        copy(sock, there)
        back.join()


server = serve(answer)
proxy = serve(tunnel)
outcomes = {}
for library in (httpx, httpx2):
    for name, value in (("target", b"/t"), ("sni_hostname", "other.test")):
        seen.clear()
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with library.Client(proxy=f"http://127.0.0.1:{proxy}", verify=context, trust_env=False) as client:
            try:
                end = client.get(f"https://localhost:{server}/a", extensions={name: value}).status_code
            except library.HTTPError as error:
                end = f"{type(error).__name__}: {error}"
        outcomes[library.__name__, name] = (end, [line.replace(str(server), "PORT") for line in seen])
        print(library.__name__, library.__version__, name, *outcomes[library.__name__, name])
as_described = (
    outcomes["httpx", "target"] == ("ProxyError: 400 Bad Request", ["CONNECT /t HTTP/1.1"])
    and "TLS asks for localhost" in outcomes["httpx", "sni_hostname"][1]
    and "GET /t HTTP/1.1" in outcomes["httpx2", "target"][1]
    and "TLS asks for other.test" in outcomes["httpx2", "sni_hostname"][1]
)
sys.exit(0 if as_described else 1)
PROGRAM
