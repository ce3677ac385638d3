"""`minihub verify`: a user's whole way without a browser: log in, start, run a notebook cell, log out, see all gone.

Speaks plain HTTP and WebSocket to a hub as a browser would; knows nothing of its inside.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp

from minihub.errors import HubError

CELL = "print(6 * 7)"
_PATIENCE_S = 480
_HUB_START_S = 30
_CELL_S = 60


class VerifyFailed(HubError):
    """A step of the way did not work; says which."""


async def verify(
    url: str, user: str, password: str, *, insecure: bool = False, say: Callable[[str], None] = print
) -> None:
    """Go the whole way once; `insecure` takes any certificate.

    Raises:
        VerifyFailed: With the step that failed and what was answered.
    """
    base = url.rstrip("/")
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of 127.0.0.1 too
    headers = {"Accept": "text/html", "Origin": _origin(base)}
    connector = aiohttp.TCPConnector(ssl=not insecure)
    async with aiohttp.ClientSession(cookie_jar=jar, headers=headers, connector=connector) as client:
        visit = _Visit(client, base, user, say)
        await visit.wait_for_hub()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await visit.log_in(password)
                await visit.start()
                await visit.run_cell()
        finally:
            # Whatever happened: nothing stays behind.
            await visit.log_out()
        say("all is well")


def _origin(base: str) -> str:
    match = re.match(r"https?://[^/]+", base)
    if match is None:
        raise VerifyFailed(f"{base!r} is not an http(s) URL.")
    return match[0]


class _Visit:
    """One user's way through the hub."""

    def __init__(
        self, client: aiohttp.ClientSession, base: str, user: str, say: Callable[[str], None]
    ) -> None:
        self._client = client
        self._base = base
        self._user = quote(user, safe="")
        self._name = user
        self._say = say
        self._logged_in = False

    async def wait_for_hub(self) -> None:
        """A hub that was started a moment ago may not listen yet."""
        for _ in range(int(_HUB_START_S / 0.2)):
            try:
                async with self._client.get(f"{self._base}/hub/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientSSLError as error:
                raise VerifyFailed(
                    f"The certificate of {self._base} is not trusted (--insecure takes it).", str(error)
                ) from error
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.2)
        raise VerifyFailed(f"No hub answers at {self._base}.")

    async def _form_token(self, page: str) -> str:
        async with self._client.get(f"{self._base}/hub/{page}") as answer:
            text = await answer.text()
        token = re.search(r'name="_xsrf" value="([^"]+)"', text)
        if token is None:
            raise VerifyFailed(
                f"The {page} form was not shown: {_words(text)}", "Does a server run already? Stop it first."
            )
        return token[1]

    async def log_in(self, password: str) -> None:
        token = await self._form_token("login")
        form = {"_xsrf": token, "username": self._name, "password": password, "next": ""}
        async with self._client.post(f"{self._base}/hub/login", data=form, allow_redirects=False) as answer:
            if answer.status != 303:
                raise VerifyFailed(f"Login was refused ({answer.status}): {_words(await answer.text())}")
        self._logged_in = True
        self._say(f"logged in as {self._name}")

    async def start(self) -> None:
        token = await self._form_token("spawn")
        # Whatever the site's defaults are.
        async with self._client.post(
            f"{self._base}/hub/spawn", data={"_xsrf": token}, allow_redirects=False
        ) as answer:
            if answer.status != 303:
                raise VerifyFailed(f"The start was refused ({answer.status}): {_words(await answer.text())}")
        await self._wait_until_ready()

    async def _wait_until_ready(self) -> None:
        events = f"{self._base}/hub/api/users/{self._user}/server/progress"
        async with self._client.get(events, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for line in answer.content:
                if not line.startswith(b"data:"):
                    continue
                event = json.loads(line[5:])
                self._say(f"  {event['progress']:3d} % {event['message']}")
                if event.get("ready"):
                    return
                if event.get("failed"):
                    raise VerifyFailed(
                        f"{event['message']} {event.get('reason') or ''}", event.get("advice") or ""
                    )
        raise VerifyFailed("The hub ended the events before the server was ready.")

    async def run_cell(self) -> None:
        server = f"{self._base}/user/{self._user}/api/kernels"
        async with self._client.post(server, json={"name": "python3"}) as answer:
            if answer.status != 201:
                raise VerifyFailed(
                    f"No kernel could be started ({answer.status}): {_words(await answer.text())}"
                )
            kernel = (await answer.json())["id"]
        async with (
            asyncio.timeout(_CELL_S),
            self._client.ws_connect(f"{server}/{kernel}/channels", max_msg_size=0) as socket,
        ):
            await socket.send_str(json.dumps(_execute(CELL)))
            async for message in socket:
                data: dict[str, Any] = json.loads(message.data)
                if data["msg_type"] == "stream":
                    if data["content"]["text"].strip() != "42":
                        raise VerifyFailed(f"The cell printed {data['content']['text']!r}.")
                    self._say(f"ran {CELL}: 42")
                    return
        raise VerifyFailed("The kernel's connection ended before the cell had printed anything.")

    async def log_out(self) -> None:
        if not self._logged_in:
            return
        click = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        async with self._client.get(f"{self._base}/user/{self._user}/logout", headers=click) as answer:
            page = await answer.text()
        gone = re.search(r'data-poll-gone="([^"]+)"', page)
        if answer.status != 200:
            raise VerifyFailed(f"Log Out was answered with {answer.status}: {_words(page)}")
        if gone is not None:
            await self._wait_until_gone(gone[1].replace("&amp;", "&"))
        async with self._client.get(f"{self._base}/hub/home", allow_redirects=False) as answer:
            if answer.status == 200:
                raise VerifyFailed("The login session is still valid after Log Out.")
        self._say("logged out; the server is gone")

    async def _wait_until_gone(self, path: str) -> None:
        for _ in range(300):
            async with self._client.get(f"{_origin(self._base)}{path}") as answer:
                if (await answer.json()).get("gone"):
                    return
            await asyncio.sleep(0.2)
        raise VerifyFailed("The job was still there a minute after Log Out.")


def _execute(code: str) -> dict[str, Any]:
    """An execute_request. Source: Jupyter messaging protocol 5.3."""
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "version": "5.3"}
    return {
        "header": {**header, "session": uuid.uuid4().hex},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False},
        "channel": "shell",
    }


def _words(page: str) -> str:
    """A page's text, short, for an error message."""
    main = re.search(r"(?s)<main.*?</main>", page)
    text = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", main[0] if main else page)
    return " ".join(text.split())[:500]
