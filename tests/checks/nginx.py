"""A real nginx in front of a hub, set up well on one port and wrongly, in the ways that sites know, on others."""

from __future__ import annotations

import asyncio
import contextlib
import socket

NGINX = "/usr/sbin/nginx"

GOOD = """
    proxy_pass http://127.0.0.1:{hub};
    proxy_http_version 1.1;
    proxy_set_header Host              $http_host;
    proxy_set_header X-Forwarded-For   $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host  $http_host;
    proxy_set_header Upgrade           $http_upgrade;
    proxy_set_header Connection        $minihub_connection;
    proxy_buffering off;
    proxy_read_timeout 1d;
    proxy_send_timeout 1d;
"""


def without(*names):
    """The good lines but for those that name these."""
    return "\n".join(line for line in GOOD.splitlines() if not any(name in line for name in names))


FRONTS = {
    "good": GOOD,
    # What one types first.
    "plain": "proxy_pass http://127.0.0.1:{hub};",
    "http10": without("http_version"),
    "no_upgrade": without("Upgrade ", "Connection "),
    "upgrade_alone": without("Connection "),
    "wrong_proto": without("Forwarded-Proto") + "proxy_set_header X-Forwarded-Proto https;",
    "wrong_host": without("Host ") + "proxy_set_header Host hub.internal;",
    "no_address": without("Forwarded-For"),
    # Only both together hold events back: without buffering nginx flushes what it compresses.
    "held_back": without("buffering")
    + "proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types text/event-stream; gzip_min_length 0; gzip_proxied any;",
    "short_silence": without("read_timeout") + "proxy_read_timeout 1s;",
    "wrong_port": GOOD.replace("{hub}", "1"),
    "wrong_path": GOOD.replace("{hub};", "{hub}/elsewhere/;"),
    "redirect": "return 301 https://hub.example.org$request_uri;",
    "other_site": "return 200 '<h1>Welcome to nginx!</h1>';",
    "refuses": GOOD + "if ($http_upgrade) { return 403; }",
}


def free_ports(number):
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextlib.asynccontextmanager
async def nginx(folder, hub_port):
    """Name of a set-up -> its URL."""
    ports = dict(zip(FRONTS, free_ports(len(FRONTS)), strict=True))
    servers = "".join(
        f"server {{ listen 127.0.0.1:{ports[name]}; location / {{ {lines.replace('{hub}', str(hub_port))} }} }}\n"
        for name, lines in FRONTS.items()
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        "events { worker_connections 256; }\n"
        "http { access_log off; "
        + temporary
        + 'map $http_upgrade $minihub_connection { default upgrade; "" ""; }\n'
        + servers
        + "}\n"
    )
    process = await asyncio.create_subprocess_exec(
        NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-p", str(folder)
    )
    try:
        async with asyncio.timeout(15):
            while not await _listens(ports["good"]):
                assert process.returncode is None, (folder / "error.log").read_text()
                await asyncio.sleep(0.02)
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        process.terminate()
        await process.wait()


async def _listens(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
