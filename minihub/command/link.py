"""One way to the hub, open: requests to its API, and its errors in words."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from minihub.command.failures import CommandFailed, NotPermitted, NotThere, Unreachable, WrongUsage
from minihub.command.reach import TOKEN_VARIABLE, Way
from minihub.command.show import clean

PATIENCE_S = 90.0
PAGE = 200
"""Items asked for at once: the most that the API gives."""
PAGED = "application/jupyterhub-pagination+json"

Query = Mapping[str, str | int | float | None]
"""Query parameters; those that are None or "" are left out."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list, or the beginning of one."""

    items: list[dict[str, Any]]
    total: int
    """How many there are in all."""


def path_to(*parts: str) -> str:
    """Path of an endpoint from its parts: a name that somebody typed stays one part.

    Raises:
        WrongUsage: One is no name.
    """
    for part in parts:
        if part in ("", ".", ".."):
            raise WrongUsage(f"{part!r} is no name")
    return "".join(f"/{quote(part, safe='')}" for part in parts)


class Link:
    """Asks one hub."""

    def __init__(self, way: Way, client: aiohttp.ClientSession) -> None:
        self._way = way
        self._client = client

    @property
    def is_local(self) -> bool:
        """Whether this is the admin socket of the hub's own machine."""
        return self._way.is_local

    async def get(self, path: str, query: Query | None = None) -> Any:
        """GET JSON."""
        return await self._ask("GET", path, query)

    async def text(self, path: str, query: Query | None = None, *, accept: str) -> str:
        """GET a text of another type."""
        _, body = await self._send("GET", path, query, None, accept)
        return body

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST JSON; None where the answer has no body."""
        return await self._ask("POST", path, None, body or {})

    async def delete(self, path: str) -> Any:
        """DELETE; None where the answer has no body."""
        return await self._ask("DELETE", path)

    async def listed(self, path: str, query: Query | None = None, *, limit: int = 0) -> Items:
        """A list, page by page.

        Args:
            path: Of an endpoint with offset and limit.
            query: What else is asked for.
            limit: Stop after so many; 0: read them all.
        """
        found: list[dict[str, Any]] = []
        while True:
            size = min(PAGE, limit - len(found)) if limit else PAGE
            page = await self._ask(
                "GET", path, {**(query or {}), "offset": len(found), "limit": size}, accept=PAGED
            )
            if isinstance(page, list):  # a hub that does not page this
                return Items(page[:limit] if limit else page, len(page))
            try:
                found += page["items"]
                total, following = page["_pagination"]["total"], page["_pagination"]["next"]
            except (KeyError, TypeError):
                raise self._not_understood(200, str(page)) from None
            if following is None or not page["items"] or (limit and len(found) >= limit):
                return Items(found, total)

    async def _ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = "application/json",
    ) -> Any:
        status, text = await self._send(method, path, query, body, accept)
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise self._not_understood(status, text) from None

    async def _send(
        self, method: str, path: str, query: Query | None, body: Mapping[str, Any] | None, accept: str
    ) -> tuple[int, str]:
        params = {name: str(value) for name, value in (query or {}).items() if value not in (None, "")}
        try:
            async with self._client.request(
                method,
                self._way.api + path,
                params=params,
                json=body,
                headers={"Accept": accept},
                allow_redirects=False,
            ) as answer:
                text = (await answer.read()).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        if answer.status >= 300:
            raise self._refused(answer.status, text, answer.headers.get("Location", ""))
        return answer.status, text

    # ---- errors in words ----------------------------------------------------------------------------------------

    def _unreachable(self, error: Exception) -> CommandFailed:
        name = self._way.name
        match error:
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return Unreachable(
                    f"The certificate of {name} is not trusted: {_certificate_trouble(error)}",
                    "If it is the hub's own, copy tls.crt from its state directory and name it with --ca-file; "
                    "--insecure takes any.",
                )
            case TimeoutError():
                return Unreachable(
                    f"{_capital(name)} did not answer within {PATIENCE_S:g} s.", "See the hub's log."
                )
            case aiohttp.ClientConnectorDNSError():
                return Unreachable(f"{name}: there is no such host: {error.os_error.strerror or error}")
            case aiohttp.ClientConnectorError():
                return Unreachable(
                    f"Nobody answers at {name}: {error.os_error.strerror or error}",
                    "Is the hub running, and is this its address?",
                )
            case aiohttp.ServerDisconnectedError() | ConnectionError():
                return Unreachable(
                    f"{_capital(name)} ended the connection without an answer: it goes down, or it is no hub.",
                    "What was asked for may have been done: look before you ask again.",
                )
        return Unreachable(f"{_capital(name)} cannot be asked: {error}")

    def _refused(self, status: int, text: str, location: str) -> CommandFailed:
        message, fields = _error_of(text)
        if status < 400:
            return Unreachable(
                f"{self._way.name} sends us to {clean(location) or 'another address'}.",
                "Name that one with --url.",
            )
        if not message:
            return self._not_understood(status, text)
        told = "\n".join(f"{name}: {problem}" if name else problem for name, problem in fields.items())
        if status in (401, 403):
            return NotPermitted(message, told or self._who_may(status))
        if status == 404:
            return NotThere(message, told)
        return CommandFailed(message, told)

    def _who_may(self, status: int) -> str:
        if self._way.is_local:
            return ""
        if status == 401:
            return f"Put an API token into {TOKEN_VARIABLE} or --token-file."
        return (
            "An admin's token with the scope may (Token page, or on the hub's machine: minihub tokens create --user NAME "
            "--scope SCOPE); so may root on the hub's machine, without any."
        )

    def _not_understood(self, status: int, text: str) -> Unreachable:
        begin = clean(text[:200])[:80]
        return Unreachable(
            f"What answers at {self._way.name} is no minihub that we understand ({status}: {begin!r}).",
            "Is this its address, with its path if it has one (--url https://example.org/jupyter)? Is it an older one?",
        )


def _capital(name: str) -> str:
    return name[0].upper() + name[1:] if name.startswith("the ") else name


def _certificate_trouble(
    error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError,
) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return str(getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or cause)


def _error_of(text: str) -> tuple[str, dict[str, str]]:
    """Message and field errors of the API's error shape; "" if this is none."""
    try:
        body = json.loads(text)
    except ValueError:
        return "", {}
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return "", {}
    fields = body.get("fields")
    named = fields.items() if isinstance(fields, dict) else ()
    return clean(body["message"]), {clean(name): clean(problem) for name, problem in named}


@contextlib.asynccontextmanager
async def open_link(way: Way) -> AsyncIterator[Link]:
    """Ask along `way` while the context lasts."""
    connector = aiohttp.UnixConnector(way.socket_path) if way.is_local else aiohttp.TCPConnector(ssl=way.tls)
    headers = {"User-Agent": "minihub", "Accept-Language": "en"}
    if way.token:
        headers["Authorization"] = f"token {way.token}"
    async with aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
    ) as client:
        yield Link(way, client)
    if not way.is_local:
        # aiohttp lets TLS connections close in the next turn of the loop.
        await asyncio.sleep(0)
