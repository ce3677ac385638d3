"""Asks a user's server what it does, over the connections of its pool. Short, bounded questions; the server may be hostile."""

from __future__ import annotations

from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy.pool import Pools
from minihub.proxy.question import get
from minihub.servers.model import Route, server_path
from minihub.servers.usage import KERNELS, TERMINALS, NoUsage, Usage, parse_usage

ANSWER_TIMEOUT_S = 10.0
_UNTRACKED = "?no_track_activity=1"
"""Jupyter's own idle shutdown, if the user has set one, is not put off by our asking (jupyter_server, APIHandler)."""


class PoolUsageReader:
    """Implements `idle_loop.UsageReader`."""

    def __init__(self, pools: Pools, *, base_path: str) -> None:
        self._pools = pools
        self._base_path = base_path

    async def read(self, route: Route) -> Usage:
        """Return what the server says.

        Raises:
            UpstreamError: It does not answer in time, or not as Jupyter does.
        """
        kernels = await self._get(route, KERNELS)
        terminals = await self._get(route, TERMINALS)
        if kernels is None:
            raise _odd("there is no api/kernels")
        try:
            return parse_usage(kernels, terminals)
        except NoUsage as error:
            raise _odd(str(error)) from error

    async def _get(self, route: Route, what: str) -> bytes | None:
        """The body of an answer; None for 404: there is no such part."""
        try:
            status, body = await self._ask(route, what)
        except UpstreamUnsafe:
            raise
        except UpstreamError:
            # Perhaps only the connection was old; a server that is used by nobody has no others.
            status, body = await self._ask(route, what)
        if status == 404:
            return None
        if status != 200:
            raise _odd(f"{what}: status {status}")
        return body

    async def _ask(self, route: Route, what: str) -> tuple[int, bytes]:
        target = server_path(self._base_path, route.user) + what + _UNTRACKED
        pool = self._pools.get(route)
        return await get(pool, target, timeout_s=ANSWER_TIMEOUT_S, token=route.secrets.token)


def _odd(detail: str) -> UpstreamError:
    return UpstreamError("Your server does not answer properly.", detail)
