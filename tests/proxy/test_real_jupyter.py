"""A real JupyterLab, run by an ordinary uid, behind the real proxy: what people do there all day."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import aiohttp
import pytest

from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy.prober import Prober
from minihub.proxy.question import get
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Route, Secrets
from tests.proxy.kit import COOKIE, make_tls

pytestmark = pytest.mark.real

UID = 54321
MB = 1024 * 1024
START_TIMEOUT_S = 90

CONFIG = """
c.IdentityProvider.token = c.PasswordIdentityProvider.token = {token!r}
c.ServerApp.base_url = "/user/alice/"
c.ServerApp.allow_remote_access = True
c.ServerApp.trust_xheaders = True
c.ServerApp.open_browser = False
c.ServerApp.port_retries = 0
c.LabApp.news_url = None
"""


class Jupyter:
    """One real server in a directory of its own."""

    def __init__(self, token, **config):
        self.home = Path(tempfile.mkdtemp(prefix="mhj-"))
        (self.home / "config").mkdir()
        (self.home / "runtime").mkdir(mode=0o700)
        text = CONFIG.format(token=token) + "".join(f"c.ServerApp.{k} = {v!r}\n" for k, v in config.items())
        (self.home / "config" / "jupyter_server_config.py").write_text(text)
        self.process = None

    async def __aenter__(self):
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, UID, UID)
        env = {
            "HOME": str(self.home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "USER": "alice", "LANG": "C.UTF-8",
            "JUPYTER_CONFIG_PATH": str(self.home / "config"), "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
        }  # fmt: skip
        self.log = (self.home / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab"], user=UID, group=UID, extra_groups=(), cwd=self.home, env=env,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_):
        self.process.terminate()
        try:
            await asyncio.to_thread(self.process.wait, 20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)
        self.log.close()
        shutil.rmtree(self.home)

    async def port(self):
        """The port it has really taken."""
        for _ in range(START_TIMEOUT_S * 10):
            assert self.process.poll() is None, (self.home / "log").read_text()
            for path in (self.home / "runtime").glob("jpserver-*.json"):
                text = path.read_text()
                if text:
                    return json.loads(text)["port"]
            await asyncio.sleep(0.1)
        raise AssertionError((self.home / "log").read_text())


async def verify(hub, route):
    """As the supervisor does: again while it is not there yet."""
    prober = Prober(hub.pools, base_path="/", verify_proof=lambda *_: False)
    for _ in range(START_TIMEOUT_S * 10):
        try:
            await prober.verify(route)
        except UpstreamUnsafe:
            raise
        except UpstreamError:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("never ready")


async def receive_until(ws, wanted):
    """The first message for which `wanted` says yes."""
    async with asyncio.timeout(60):
        while True:
            message = await ws.receive()
            assert message.type is aiohttp.WSMsgType.TEXT, message
            if wanted(decoded := json.loads(message.data)):
                return decoded


async def run_cell(hub, browser):
    async with browser.post(hub.url("api/kernels"), headers=hub.login, json={"name": "python3"}) as answer:
        assert answer.status == 201, await answer.text()
        kernel = (await answer.json())["id"]
    # Without v1.kernel.websocket.jupyter.org offered, Jupyter speaks its JSON form.
    async with browser.ws_connect(hub.url(f"api/kernels/{kernel}/channels"), headers=hub.login) as ws:
        header = {
            "msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex,
            "date": "2026-11-22T00:00:00Z", "version": "5.3",
        }  # fmt: skip
        content = {
            "code": "import os; print('uid', os.getuid(), 6 * 7)", "silent": False, "store_history": True,
            "user_expressions": {}, "allow_stdin": False, "stop_on_error": True,
        }  # fmt: skip
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        await ws.send_str(json.dumps(message))
        texts, kinds = [], set()

        def complete(m):
            """Reply and output come over different channels, in any order."""
            kinds.add(m["msg_type"])
            texts.append(m["content"].get("text", ""))
            return kinds >= {"stream", "execute_reply"}

        await receive_until(ws, complete)
        assert f"uid {UID} 42\n" in texts
    protocol = "v1.kernel.websocket.jupyter.org"
    url = hub.url(f"api/kernels/{kernel}/channels")
    async with browser.ws_connect(url, headers=hub.login, protocols=[protocol]) as ws:
        assert ws.protocol == protocol
    async with browser.delete(hub.url(f"api/kernels/{kernel}"), headers=hub.login) as answer:
        assert answer.status == 204


async def use_terminal(hub, browser):
    async with browser.post(hub.url("api/terminals"), headers=hub.login) as answer:
        assert answer.status == 200, await answer.text()
        name = (await answer.json())["name"]
    async with browser.ws_connect(hub.url(f"terminals/websocket/{name}"), headers=hub.login) as ws:
        await receive_until(ws, lambda m: m[0] == "setup")
        await ws.send_str(json.dumps(["stdin", "echo $((41+1))-`id -u`\r"]))
        seen = ""

        def shown(message):
            nonlocal seen
            seen += message[1] if message[0] == "stdout" else ""
            return f"42-{UID}" in seen

        await receive_until(ws, shown)
    async with browser.delete(hub.url(f"api/terminals/{name}"), headers=hub.login) as answer:
        assert answer.status == 204


async def exchange_files(hub, browser, home):
    block = secrets.token_bytes(MB)
    text = block.hex()
    body = io.BytesIO(json.dumps({"type": "file", "format": "text", "content": text}).encode())
    async with browser.put(hub.url("api/contents/a%20b.txt"), headers=hub.login, data=body) as answer:
        assert answer.status == 201, await answer.text()
    assert (home / "a b.txt").read_text() == text
    (home / "big").write_bytes(block * 40)
    digest, size = hashlib.sha256(), 0
    async with browser.get(hub.url("files/big?download=1"), headers=hub.login) as answer:
        assert answer.status == 200
        async for chunk in answer.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
    assert size == 40 * MB
    assert digest.digest() == hashlib.sha256(block * 40).digest()


async def look_around(hub, browser):
    async with browser.get(hub.url("lab"), headers=hub.login) as answer:
        assert answer.status == 200
        assert "/user/alice/static/lab" in await answer.text()
        cookies = answer.headers.getall("Set-Cookie", [])
        assert all("Path=/user/alice/" in cookie for cookie in cookies)
    async with browser.get(hub.url(""), headers=hub.login, allow_redirects=False) as answer:
        assert answer.headers["Location"].startswith("/user/alice/lab")
    async with browser.head(hub.url("api/contents"), headers=hub.login) as answer:
        assert answer.status in (200, 405)
    evil = {"Cookie": f"{COOKIE}=alice-cookie", "Origin": "https://evil.example"}
    async with browser.post(hub.url("api/terminals"), headers=evil) as answer:
        assert answer.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await browser.ws_connect(hub.url("api/events/subscribe"), headers=evil)
    async with browser.ws_connect(hub.url("api/events/subscribe"), headers=hub.login):
        pass


async def test_a_day_with_mutual_tls(hub, browser):
    """Jupyter's own TLS, with the hub's certificate as the only client it lets in."""
    tls = make_tls()
    jupyter = Jupyter(
        tls.secrets.token, ip="127.0.0.1", port=0, certfile="server.crt", keyfile="server.key", client_ca="client.crt"
    )  # fmt: skip
    parts = (tls.server.certificate, tls.server.key, tls.server.client)
    for name, text in zip(("server.crt", "server.key", "client.crt"), parts, strict=True):
        (jupyter.home / name).write_text(text)
    async with jupyter:
        endpoint = Endpoint(host="127.0.0.1", port=await jupyter.port())
        await verify(hub, Route("alice", "a1", endpoint, tls.secrets))
        hub.route_to(endpoint, secrets=tls.secrets)
        await look_around(hub, browser)
        await run_cell(hub, browser)
        await use_terminal(hub, browser)
        await exchange_files(hub, browser, jupyter.home)
        # Another attempt's pair does not get in, not even to what is public.
        stranger = Route("eve", "e1", endpoint, make_tls().secrets)
        with pytest.raises(UpstreamUnsafe):
            await get(hub.pools.get(stranger), "/user/alice/api", timeout_s=5)


async def test_a_unix_socket_and_an_end(hub, browser):
    """The local kind: a socket owned by the user; then the server dies under an open page."""
    jupyter = Jupyter("upstream-token", sock="socket")
    path = jupyter.home / "socket"
    async with jupyter:
        route = Route("alice", "a1", Endpoint(path=str(path), uid=UID), Secrets("upstream-token", "r"))
        await verify(hub, route)
        with pytest.raises(UpstreamUnsafe):
            await verify(
                hub, Route("bob", "b1", Endpoint(path=str(path), uid=0), Secrets("upstream-token", "r"))
            )
        hub.servers.routes["alice"] = route
        await run_cell(hub, browser)
        ws = await browser.ws_connect(hub.url("api/events/subscribe"), headers=hub.login)
        jupyter.process.kill()
        message = await asyncio.wait_for(ws.receive(), 10)
        assert message.type is aiohttp.WSMsgType.CLOSED, "no close frame: Lab connects again"
        await ws.close()
        async with browser.get(hub.url("api/status"), headers=hub.login) as answer:
            assert answer.status == 503


async def test_a_server_without_protection_is_never_routed_to(hub):
    """The user's own settings switched authentication off: seen before anything is sent there."""
    jupyter = Jupyter("", sock="socket", allow_unauthenticated_access=True)
    path = jupyter.home / "socket"
    async with jupyter:
        route = Route("alice", "a1", Endpoint(path=str(path), uid=UID), Secrets("upstream-token", "r"))
        with pytest.raises(UpstreamUnsafe, match="without a token"):
            await verify(hub, route)
