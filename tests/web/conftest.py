"""A client for the hub's pages, made of fakes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.web.fakes import World, make_app, make_world


class Browser:
    """A logged-in (or not) browser: follows nothing by itself, so that tests see each step."""

    def __init__(self, client: TestClient, world: World) -> None:
        self.client = client
        self.world = world
        self.headers = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "en"}

    def log_in(self, user: str = "ada") -> Browser:
        self.client.session.cookie_jar.update_cookies({"minihub-login": self.world.log_in(user)})
        return self

    async def get(self, path: str, **headers: str) -> ClientResponse:
        return await self.client.get(path, headers={**self.headers, **headers}, allow_redirects=False)

    async def post(self, path: str, data: dict[str, Any] | None = None, **headers: str) -> ClientResponse:
        own = {"Origin": str(self.client.make_url("/")).rstrip("/")}
        return await self.client.post(
            path, data=data or {}, headers={**self.headers, **own, **headers}, allow_redirects=False
        )

    async def send(self, path: str, user: str = "ada", **data: Any) -> ClientResponse:
        """POST a form with its token."""
        return await self.post(path, {"_xsrf": self.world.xsrf(user), **data})


@pytest.fixture
def make_browser(aiohttp_client: Any) -> Callable[..., Awaitable[Browser]]:
    async def make(raw: dict[str, Any] | None = None, **more: Any) -> Browser:
        world = make_world(raw, **more)
        return Browser(await aiohttp_client(make_app(world), cookies=None), world)

    return make


@pytest.fixture
async def browser(make_browser: Callable[..., Awaitable[Browser]]) -> Browser:
    return await make_browser()
