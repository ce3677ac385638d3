"""What people do while the hub is killed, and on which kind of hub.

Each scenario brings its user's server where it begins (`prepare`), then acts (`act`) until all is at rest, and notes in
`Facts` what the hub has acknowledged: that must be true for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.e2e.kit import Person, visitor

AT_REST = ("ready", "stopped", "failed")
PATIENCE_S = 30.0
LOOK_S = 0.2


@dataclass
class Facts:
    """What one user has asked for and been told in one scenario."""

    user: str
    before: str = ""
    """Id of the newest attempt when it began; "" if there was none."""
    asked: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    old_cookies: list[dict[str, str]] = field(default_factory=list)
    """Of logins that the hub said are over."""
    last_seen: str = ""
    """The server's state as the hub told it last."""
    answers: int = 0


@dataclass
class Someone:
    """A user, the browser he uses now, and his password."""

    name: str
    password: str
    person: Person
    stack: contextlib.AsyncExitStack

    async def new_browser(self) -> Person:
        """Another browser, not logged in."""
        self.person = await self.stack.enter_async_context(visitor(self.person.hub, self.name))
        return self.person

    async def log_in(self) -> None:
        """Log in unless logged in."""
        status, _ = await self.person.get("/hub/home", allow_redirects=False)
        if status != 200:
            await self.new_browser()
            await self.person.log_in(self.password)

    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.person.client.cookie_jar}


@contextlib.asynccontextmanager
async def someone(hub: Any, name: str, password: str) -> AsyncIterator[Someone]:
    async with contextlib.AsyncExitStack() as stack:
        person = await stack.enter_async_context(visitor(hub, name))
        made = Someone(name, password, person, stack)
        await made.log_in()
        yield made


async def look(one: Someone, facts: Facts, *states: str) -> str:
    """Look at the server as the waiting page does until it is in one of these states."""
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        server = await one.person.server()
        facts.last_seen = server.get("state", "")
        if facts.last_seen in states:
            return facts.last_seen
        if asyncio.get_running_loop().time() > end:
            return ""
        await asyncio.sleep(LOOK_S)


async def post(one: Someone, facts: Facts, what: str, path: str, **form: str) -> None:
    """Send a form; what it asks for is acknowledged by its answer."""
    data = {"_xsrf": await one.person.xsrf(), **form}
    facts.asked.add(what)
    async with one.person.client.post(one.person.hub.url + path, data=data, allow_redirects=False) as answer:
        text = await answer.text()
    if answer.status not in (200, 303):
        raise AssertionError(f"{path}: {answer.status}: {text[-1000:]}")
    facts.acknowledged.add(what)
    facts.answers += 1


# ---- where a scenario begins ----------------------------------------------------------------------------------------


async def stopped(one: Someone) -> None:
    server = await one.person.server()
    if server and not server["stopped"]:
        await one.person.post("/hub/stop")
        await one.person.wait_state("stopped", "failed")


async def begun(one: Someone, *states: str) -> None:
    """A server in one of these states."""
    if (await one.person.server()).get("state") in states:
        return
    await stopped(one)
    await one.person.start(time_hours="0.5")
    await one.person.wait_state(*states)


async def ready(one: Someone) -> None:
    await begun(one, "ready")


async def queued(one: Someone) -> None:
    await begun(one, "queued")


# ---- what is done ---------------------------------------------------------------------------------------------------


async def spawn(one: Someone, facts: Facts) -> None:
    await post(one, facts, "start", "/hub/spawn", time_hours="0.5")
    await look(one, facts, *AT_REST)


async def spawn_and_stop(one: Someone, facts: Facts) -> None:
    """Stop without waiting for anything."""
    await post(one, facts, "start", "/hub/spawn", time_hours="0.5")
    await stop(one, facts)


async def stop(one: Someone, facts: Facts) -> None:
    await post(one, facts, "stop", "/hub/stop")
    await look(one, facts, *AT_REST)


async def log_out(one: Someone, facts: Facts) -> None:
    """Log Out ends the server too; then the user comes back."""
    cookies = one.cookies()
    await post(one, facts, "logout", "/hub/logout")
    facts.old_cookies.append(cookies)
    person = await one.new_browser()
    facts.asked.add("login")
    await person.log_in(one.password)
    facts.acknowledged.add("login")
    await look(one, facts, *AT_REST)


@dataclass(frozen=True)
class Scenario:
    """One way to use the hub."""

    name: str
    hubs: tuple[str, ...]
    """Kinds of hub (`lane.KINDS`) on which it makes sense."""
    prepare: Callable[[Someone], Awaitable[None]]
    act: Callable[[Someone, Facts], Awaitable[None]]
    ends: str = ""
    """Kind of failure in which a server ends that nobody stops; "": it becomes or stays ready."""

    @property
    def starts(self) -> bool:
        """It makes a new attempt."""
        return self.prepare is stopped


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("spawn", ("push", "pull"), stopped, spawn),
        Scenario("stop", ("push", "pull"), ready, stop),
        Scenario("spawn-stop", ("push", "pull"), stopped, spawn_and_stop),
        Scenario("logout", ("push", "pull"), ready, log_out),
        Scenario("spawn-timeout", ("late",), stopped, spawn, "spawn_timeout"),
        Scenario("queued-stop", ("late",), queued, stop, "spawn_timeout"),
        Scenario("queued-logout", ("late",), queued, log_out, "spawn_timeout"),
        Scenario("start-timeout", ("hung",), stopped, spawn, "start_timeout"),
    )
}

GONE = (aiohttp.ClientError, ConnectionError, TimeoutError, OSError)
"""What a browser sees of a hub that is killed."""
