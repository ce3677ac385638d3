"""A program that talks to the REST API of a hub made of fakes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from minihub.servers.model import State
from tests.web.api.conformity import problems
from tests.web.conftest import Browser
from tests.web.fakes import World, make_attempt


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any


class Program:
    """Sends requests with one token (or none) and reads JSON."""

    def __init__(self, browser: Browser, token: str) -> None:
        self.browser = browser
        self.token = token

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        own = {"Authorization": f"token {self.token}"} if self.token else {}
        if body is not None:
            own["Content-Type"] = "application/json"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.browser.client.request(
            method, f"/hub/api{path}", data=data, headers={**own, **headers}, allow_redirects=False
        )
        raw = await answer.read()
        body = json.loads(raw) if answer.content_type == "application/json" and raw else raw.decode() or None
        wrong = problems(method, path, answer.status, answer.content_type, body)
        assert wrong == [], f"{method} {path}: {wrong} in {body}"
        return Answer(answer.status, body, answer.headers)


class Api:
    """The world behind the API, and programs with tokens."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.world: World = browser.world
        self.world.users.names.update({"ada", "bob"})

    def program(self, *scopes: str, user: str = "ada") -> Program:
        return Program(self.browser, self.world.give_token(*scopes, user=user))

    def stranger(self, token: str = "") -> Program:
        return Program(self.browser, token)

    def put(self, user: str = "ada", state: State = State.READY, **changes: Any) -> None:
        self.world.servers.attempts[user] = make_attempt(state, user, **changes)


@pytest.fixture
def api(browser: Browser) -> Api:
    return Api(browser)
