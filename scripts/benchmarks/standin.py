#!/usr/bin/python3 -IS
"""A stand-in for `jupyter-lab`: answers what the hub's prober and proxy ask, and nothing else.

Standard library only; runs in the job, started by the launcher as `jupyter-lab ARGUMENTS`, or by a plain sbatch. Both
times it finds its settings beside the directory that JUPYTER_CONFIG_PATH names, as the launcher lays them out:
spec.json (token), tls/ (mutual TLS) and, from the launcher, the pipe `notify` and minihub_report.py, with which it reports
to the hub as our extension in Jupyter does. Without them it writes where it listens into the file `where`.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import sys
import threading
import time

HERE = os.path.dirname(os.environ["JUPYTER_CONFIG_PATH"].split(":")[0])
PIPE = os.path.join(HERE, "notify")


def load():
    """Return the settings, the base URL and the TLS context."""
    base = next(a.split("=", 1)[1] for a in sys.argv if a.startswith("--ServerApp.base_url="))
    with open(os.path.join(HERE, "spec.json"), encoding="utf-8") as file:
        spec = json.load(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls = os.path.join(HERE, "tls")
    context.load_cert_chain(os.path.join(tls, "certificate.pem"), os.path.join(tls, "key.pem"))
    context.load_verify_locations(os.path.join(tls, "client.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    return spec, base, context


def start_reporting(spec):
    """Tell the hub that the job runs, as minihub/launcher/inside.py does; None where there is no launcher."""
    if not os.path.exists(PIPE):
        return None
    report = {"__name__": "minihub_report"}
    with open(os.path.join(HERE, "minihub_report.py"), encoding="utf-8") as file:
        exec(compile(file.read(), file.name, "exec"), report)
    return report["start"](spec, PIPE)


def announce(port, reporter):
    """Say that connections are accepted; note the moment."""
    note = os.path.expanduser(f"~/.bench-{os.environ['SLURM_JOB_ID']}.listening")
    with open(note, "w", encoding="ascii") as file:
        file.write(repr(time.time()))
    if reporter:
        reporter.listening(port)
        return
    where = os.path.join(HERE, "where")
    with open(where + ".new", "w", encoding="ascii") as file:
        file.write(f"{os.environ['SLURMD_NODENAME']} {port}")
    os.rename(where + ".new", where)


def status_of(target, headers, base, token):
    """Answer as Jupyter does: `api` for everybody, the rest with the token."""
    path = target.split("?", 1)[0]
    if not path.startswith(base):
        return 404
    shown = headers.get("authorization", "").partition(" ")[2]
    if path == base + "api" or hmac.compare_digest(shown, token):
        return 200
    return 403


def echo(reader, secured, key):
    """A websocket that sends back what comes, in short messages (RFC 6455)."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = (
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )
    secured.sendall(head)
    while len(start := reader.read(2)) == 2:
        size = start[1] & 127
        mask, data = reader.read(4), reader.read(size)
        secured.sendall(bytes([start[0], size]) + bytes(byte ^ mask[n % 4] for n, byte in enumerate(data)))
        if start[0] & 15 == 8:
            return


def serve(connection, context, base, token):
    """One kept-alive connection."""
    try:
        connection.settimeout(10)
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.settimeout(None)
            secured.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with secured.makefile("rb") as reader:
                while True:
                    words = reader.readline().split()
                    if len(words) != 3:
                        return
                    headers = {}
                    while line := reader.readline().strip():
                        name, _, value = line.decode("latin-1").partition(":")
                        headers[name.lower()] = value.strip()
                    reader.read(int(headers.get("content-length", "0")))
                    status = status_of(words[1].decode("latin-1"), headers, base, token)
                    if status == 200 and headers.get("upgrade") == "websocket":
                        echo(reader, secured, headers["sec-websocket-key"])
                        return
                    body = b'{"version": "0"}'
                    head = "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    secured.sendall((head % (status, len(body))).encode() + body)
    except OSError:
        pass


def main():
    """Listen on a free port until killed."""
    spec, base, context = load()
    token = spec["token"]
    reporter = start_reporting(spec)
    listener = socket.create_server(("", 0), backlog=64)
    announce(listener.getsockname()[1], reporter)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, context, base, token), daemon=True).start()


if __name__ == "__main__":
    main()
