"""A user's browser, as far as the hub can tell: cookies, forms with their tokens, the waiting page's event stream."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from .hub import Hub


@dataclass(slots=True)
class Started:
    """One start, all in wall seconds."""

    user: str
    clicked: float
    posted: float = 0.0
    """The POST was answered."""
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    answered: float = 0.0
    """The first 200 came through the proxy."""
    job_id: str = ""


class Visitor:
    """One user with one browser."""

    def __init__(self, hub: Hub, user: str) -> None:
        self.user = user
        self._hub = hub
        self._origin = hub.url
        self._token = ""

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            headers={"Accept": "text/html", "Origin": self._origin},
            connector=aiohttp.TCPConnector(ssl=False),
            timeout=aiohttp.ClientTimeout(total=120),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def _page(self, path: str) -> str:
        async with self._client.get(f"{self._origin}{path}") as answer:
            return await answer.text()

    async def _form_token(self, path: str) -> str:
        text = await self._page(path)
        found = re.search(r'name="_xsrf" value="([^"]+)"', text)
        if found is None:
            raise RuntimeError(f"{self.user}: no form at {path}: {text[-1500:]}")
        return found[1]

    async def open_login(self) -> None:
        """Have the login form open."""
        self._token = await self._form_token("/hub/login")

    async def send_login(self, password: str, user: str = "") -> int:
        """Send the login form; return the status."""
        form = {"_xsrf": self._token, "username": user or self.user, "password": password, "next": ""}
        url = f"{self._origin}/hub/login"
        async with self._client.post(url, data=form, allow_redirects=False) as answer:
            await answer.read()
            return answer.status

    async def log_in(self) -> None:
        """Log in with the right password."""
        await self.open_login()
        status = await self.send_login(self._hub.site.password(self.user))
        if status != 303:
            raise RuntimeError(f"{self.user}: login was answered with {status}")

    async def open_form(self, *, patience_s: float = 0.0) -> None:
        """Have the options form open, as everybody who clicks Start; there is none while the last server still stops."""
        ends = time.monotonic() + patience_s
        while True:
            try:
                self._token = await self._form_token("/hub/spawn")
            except RuntimeError:
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    async def open_home(self) -> None:
        """Have the control panel open, with its Stop button."""
        self._token = await self._form_token("/hub/home")

    async def start(self) -> Started:
        """Click Start and wait as the browser does, until the server's page answers 200."""
        done = Started(self.user, time.time())
        async with self._client.post(
            f"{self._origin}/hub/spawn", data={"_xsrf": self._token}, allow_redirects=False
        ) as answer:
            done.posted = time.time()
            if answer.status != 303:
                raise RuntimeError(f"{self.user}: start: {answer.status}: {(await answer.text())[:2000]}")
            pending = answer.headers["Location"]
        await self._page(pending)
        event: dict[str, Any] = {}
        async with self._client.get(f"{self._origin}/hub/spawn-pending/{self.user}/events") as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    done.events.append((time.time(), event))
                    if event["ready"] or event["failed"] or event["stopped"]:
                        break
        if not event.get("ready"):
            raise RuntimeError(f"{self.user}: no server: {event}")
        async with self._client.get(f"{self._origin}{event['url']}") as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{self.user}: {event['url']}: {answer.status}")
        done.answered = time.time()
        done.job_id = event["job_id"]
        return done

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the waiting page is told, as long as it is open."""
        url = f"{self._origin}/hub/spawn-pending/{self.user}/events"
        async with self._client.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    async def work(self, count: int) -> int:
        """Ask the running server so many times, on several connections; return how often."""

        async def ask(number: int) -> None:
            async with self._client.get(f"{self._origin}/user/{self.user}/api/status?{number}") as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"{self.user}: {answer.status}")

        for number in range(0, count, 4):
            await asyncio.gather(*(ask(number + n) for n in range(4)))
        return count

    async def open_websocket(self) -> None:
        """Open a websocket to the running server, say something, and close it."""
        url = f"{self._origin}/user/{self.user}/api/kernels/1/channels"
        async with self._client.ws_connect(url) as socket:
            for _ in range(3):
                await socket.send_str("x" * 100)
                if (await socket.receive_str()) != "x" * 100:
                    raise RuntimeError(f"{self.user}: the websocket says something else")

    async def log_out(self) -> None:
        """Log out, which stops the server too."""
        token = await self._form_token("/hub/logout")
        url = f"{self._origin}/hub/logout"
        async with self._client.post(url, data={"_xsrf": token}) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{self.user}: log out: {answer.status}")

    async def see(self, path: str, **headers: str) -> int:
        """Look at any page; return the status."""
        url = f"{self._origin}{path}"
        async with self._client.get(url, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer.status

    async def post_start(self) -> None:
        """Click Start and look away."""
        async with self._client.post(
            f"{self._origin}/hub/spawn", data={"_xsrf": self._token}, allow_redirects=False
        ) as answer:
            if answer.status != 303:
                raise RuntimeError(f"{self.user}: start: {answer.status}: {(await answer.text())[:2000]}")

    async def stop(self) -> float:
        """Click Stop; return when the hub showed that the job is gone. Log in before."""
        url = f"{self._origin}/hub/stop"
        async with self._client.post(url, data={"_xsrf": self._token}, allow_redirects=False) as answer:
            if answer.status != 303:
                raise RuntimeError(f"{self.user}: stop: {answer.status}: {(await answer.text())[:2000]}")
        async with self._client.get(f"{self._origin}/hub/spawn-pending/{self.user}/events") as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    if event["stopped"] or event["failed"]:
                        break
        return time.time()
