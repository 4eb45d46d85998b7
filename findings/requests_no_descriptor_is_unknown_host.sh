#!/usr/bin/env bash
# requests 2.34.2 with urllib3 2.7.0: in a process that has no descriptor left, a host that exists is said not to exist.
#
# getaddrinfo of glibc opens the files and sockets of a look-up. Where it gets no descriptor for them it answers that the
# name is not known (EAI_NONAME, "Name or service not known"), which no retry would mend, and not that it could not look.
# So requests raises ConnectionError over NameResolutionError for "localhost", with a server listening there; the address
# 127.0.0.1 in its place says "Too many open files".
# Expected: EMFILE for both. Seen with CPython 3.11 and glibc 2.36, on loopback.
# This script exits 0 while that is so, and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check requests==2.34.2 urllib3==2.7.0
"$folder/env/bin/python" - <<'PROGRAM'
import os
import resource
import socket
import sys

import requests

listening = socket.create_server(("127.0.0.1", 0))
port = listening.getsockname()[1]
session = requests.Session()
session.trust_env = False
said = {}
for host in ("localhost", "127.0.0.1"):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    try:
        session.get(f"http://{host}:{port}/", timeout=5)
        said[host] = "an answer"
    except requests.ConnectionError as error:
        said[host] = str(error.args[0].reason)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{host}: {said[host]}")
same = "Name or service not known" in said["localhost"] and "Too many open files" in said["127.0.0.1"]
sys.exit(0 if same else 1)
PROGRAM
