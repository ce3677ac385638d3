"""One request to an endpoint, read and checked: who asks, what for, and what it may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from minihub.auth.model import Principal
from minihub.auth.scopes import allows
from minihub.errors import NotFound
from minihub.web.api.access import require
from minihub.web.client import client_address
from minihub.web.deps import Deps
from minihub.web.keys import DEPS, URLS
from minihub.web.urls import Urls

Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)

NO_SUCH_USER = "There is no such user, or none that you may know of."


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """What a handler gets."""

    request: web.Request
    query: Q
    body: B
    asker: Principal | None
    """None only where `Endpoint.asker` is not KNOWN."""

    @property
    def deps(self) -> Deps:
        """All that the web room calls."""
        return self.request.app[DEPS]

    @property
    def urls(self) -> Urls:
        """Builds links."""
        return self.request.app[URLS]

    @property
    def principal(self) -> Principal:
        """Who asks."""
        assert self.asker is not None
        return self.asker

    @property
    def name(self) -> str:
        """The user that the path names."""
        return self.request.match_info["name"]

    @property
    def now(self) -> float:
        """Wall seconds."""
        return self.deps.clock.wall()

    @property
    def address(self) -> str:
        """Where it comes from."""
        return client_address(self.request, self.deps.settings.hub)

    def may(self, scope: str, user: str | None = None) -> bool:
        """Whether the asker may do what `scope` names on `user`'s things (None: on everybody's, or the hub's)."""
        return allows(self.principal, scope, user)

    def require(self, scope: str, user: str | None = None) -> None:
        """Return if the asker may.

        Raises:
            Forbidden: It may not.
        """
        require(self.principal, scope, user)

    def about(self, scope: str) -> str:
        """The user that the path names, if the asker may do what `scope` names with his things.

        Asks nobody whether there is such a user, so that neither answer nor time tells.

        Raises:
            Forbidden: It may know of that user, but not do this.
            NotFound: It may not even know, whether or not there is such a user.
        """
        if self.name != self.principal.user and not self.may("read:users:name", self.name):
            raise NotFound(NO_SUCH_USER)
        self.require(scope, self.name)
        return self.name

    async def about_known(self, scope: str) -> str:
        """The same of a user whom the hub knows.

        Raises:
            Forbidden, NotFound: See `about`.
            NotFound: There is no such user; only those are told who may know.
        """
        name = self.about(scope)
        if name != self.principal.user and await self.deps.users.get(name) is None:
            raise NotFound(NO_SUCH_USER)
        return name

    async def audit(self, action: str, detail: str = "") -> None:
        """Write down that the asker did this; `detail` says to what, if not to his own things."""
        await self.deps.audit(action, user=self.principal.user, address=self.address, detail=detail)
