"""What passes through the proxy right now, so that it can be ended at once: a server stops, a login is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum


class Ending(IntEnum):
    """Why live connections are ended; the value is the websocket close code.

    None is 1000 or 1001: to JupyterLab those mean "meant to end", and it does not connect again.
    """

    LOGIN_OVER = 1008
    SERVER_GONE = 1011
    HUB_RESTARTS = 1012


def _nothing(_why: Ending) -> None:
    """Nothing is under way yet."""


@dataclass(eq=False, slots=True)
class Live:
    """One request or websocket that is under way."""

    user: str
    """Whose server it goes to."""
    login_key: str
    """`Principal.key` of who sent it."""
    cookie: str
    """The login cookie that let it in, "" for a token."""
    end: Callable[[Ending], None] = field(default=_nothing, repr=False)
    is_websocket: bool = False
    had_traffic: bool = False
    """Since the last look at logins."""


class LiveConnections:
    """All that is under way, found by user or by login."""

    def __init__(self) -> None:
        self._by_user: defaultdict[str, set[Live]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(len(lives) for lives in self._by_user.values())

    def __iter__(self) -> Iterator[Live]:
        return iter([live for lives in self._by_user.values() for live in lives])

    @contextmanager
    def hold(self, live: Live) -> Iterator[Live]:
        """Keep `live` known while it is under way."""
        self._by_user[live.user].add(live)
        try:
            yield live
        finally:
            lives = self._by_user[live.user]
            lives.discard(live)
            if not lives:
                del self._by_user[live.user]

    def end(self, why: Ending, *, user: str | None = None, login_key: str | None = None) -> int:
        """End all of `user`'s server, all that a login let in, or (with neither) all; returns how many."""
        ended = 0
        for live in self:
            if (user is None or live.user == user) and (login_key is None or live.login_key == login_key):
                live.end(why)
                ended += 1
        return ended
