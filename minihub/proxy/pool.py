"""The open connections to one user's server, and all such pools by user."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from minihub.auth.cookies import own_cookie_names
from minihub.config import Settings
from minihub.errors import UpstreamError
from minihub.proxy.dialing import Dialer, Forwarder
from minihub.proxy.headers import build_answer, build_outbound
from minihub.proxy.memo import AnswerMemos
from minihub.proxy.upstream import Upstream
from minihub.proxy.wire import ResponseHead
from minihub.servers.model import Route, server_path
from minihub.tasks import TaskKeeper

MAX_IDLE = 256
"""Connections kept for one server."""
IDLE_S = 30.0
"""How long an idle connection is kept. Jupyter's own limit is an hour; a hub with many servers is to be small."""


class Upstreams(Protocol):
    """Where connections for requests come from."""

    def take(self) -> Upstream | None:
        """One that is there; None: dial one."""
        ...

    def dial_soon(self, done: Callable[[Upstream | None, UpstreamError | None], None]) -> None:
        """Make one and tell `done`."""
        ...


class Rules:
    """What all pools have in common."""

    def __init__(
        self,
        *,
        base_path: str,
        own_cookies: frozenset[str],
        dial_timeout_s: float,
    ) -> None:
        """Put together.

        Args:
            base_path: Of the hub.
            own_cookies: Names of the hub's cookies, which no server may set.
            dial_timeout_s: How long a connection may take to be there and proven.
        """
        self.base_path = base_path
        self.own_cookies = own_cookies
        self.dial_timeout_s = dial_timeout_s


def make_rules(settings: Settings) -> Rules:
    """What the pools of this door have in common."""
    base = settings.hub.base_path
    return Rules(
        base_path=base,
        own_cookies=own_cookie_names(base),
        dial_timeout_s=settings.proxy.dial_timeout_s,
    )


class Pool:
    """Connections to the server of one route; those not in use wait, the one used last in front."""

    def __init__(self, route: Route, dialer: Dialer, keeper: TaskKeeper, rules: Rules) -> None:
        self.route = route
        self.authorization_end = f"Authorization: token {route.secrets.token}\r\n\r\n".encode("ascii")
        """The field that opens the server, as the last one of a head."""
        self._dialer = dialer
        self._keeper = keeper
        self._rules = rules
        self._prefix = server_path(rules.base_path, route.user)
        self._idle: list[Upstream] = []
        self._all: set[Upstream] = set()
        self._closed = False
        self.answers = AnswerMemos(self._build_answer)
        """Reads what the server answers."""

    def take(self) -> Upstream | None:
        """An idle connection; None: dial one."""
        return self._idle.pop() if self._idle else None

    async def dial(self) -> Upstream:
        """A new connection, proven.

        Raises:
            UpstreamError: Nobody answers, or (UpstreamUnsafe) somebody else does.
        """
        upstream = await self._dialer.dial(lambda: Upstream(self))
        if self._closed:
            upstream.transport.abort()
            raise UpstreamError(None, "the server was stopped meanwhile")
        self._all.add(upstream)
        return upstream

    def dial_soon(self, done: Callable[[Upstream | None, UpstreamError | None], None]) -> None:
        """Dial in the background and tell `done`."""
        self._keeper.start(self._dial_for(done), name=f"dial {self.route.user}")

    async def _dial_for(self, done: Callable[[Upstream | None, UpstreamError | None], None]) -> None:
        try:
            upstream = await self.dial()
        except UpstreamError as error:
            done(None, error)
        else:
            done(upstream, None)

    def _build_answer(self, response: ResponseHead, unchunked: bool) -> bytes:
        pairs = build_outbound(response.fields, own_cookies=self._rules.own_cookies, prefix=self._prefix)
        return build_answer(response, pairs, unchunked=unchunked)

    def released(self, upstream: Upstream) -> None:
        """Keep a connection for the next request."""
        if self._closed or len(self._idle) >= MAX_IDLE:
            upstream.transport.abort()
            return
        upstream.idle_until = math.inf  # until the next sweep sets it
        self._idle.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        """Forget a connection."""
        self._all.discard(upstream)
        if upstream in self._idle:
            self._idle.remove(upstream)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long."""
        for upstream in self._idle:
            upstream.idle_until = min(upstream.idle_until, now + IDLE_S)
        while self._idle and self._idle[0].idle_until <= now:
            self._idle.pop(0).transport.abort()

    async def close(self) -> None:
        """End all connections, and the way through ssh."""
        self._closed = True
        self._idle.clear()
        for upstream in tuple(self._all):
            upstream.transport.abort()
        await self._dialer.close()


class Pools:
    """The pools by user: a new attempt's route replaces the old one's connections."""

    def __init__(self, keeper: TaskKeeper, rules: Rules, forwarder: Forwarder | None = None) -> None:
        self._keeper = keeper
        self._rules = rules
        self._forwarder = forwarder
        self._by_user: dict[str, Pool] = {}

    def get(self, route: Route) -> Pool:
        """The pool of `route`; the one made by the prober, if it verified this very route."""
        known = self._by_user.get(route.user)
        if known is not None and (known.route is route or known.route == route):
            return known
        self.drop(route.user)
        dialer = Dialer(route, self._forwarder, timeout_s=self._rules.dial_timeout_s)
        made = self._by_user[route.user] = Pool(route, dialer, self._keeper, self._rules)
        return made

    def drop(self, user: str) -> None:
        """Close `user`'s connections soon."""
        known = self._by_user.pop(user, None)
        if known is not None:
            self._keeper.start(known.close(), name=f"close connections to the server of {user}")

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long."""
        for pool in self._by_user.values():
            pool.sweep(now)

    async def close(self) -> None:
        """Close everything."""
        while self._by_user:
            _, pool = self._by_user.popitem()
            await pool.close()
