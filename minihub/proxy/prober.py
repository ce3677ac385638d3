"""Verifies a starting server before anything is routed to it: it is ours, and it lets nobody in without the token."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy.pool import Pool, Pools
from minihub.proxy.question import get
from minihub.servers.model import Route, server_path

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0

VerifyProof = Callable[[str, str, str], bool]
"""(the attempt's report secret, nonce, answer) -> whether the answer proves that the launcher knows the secret."""


class Prober:
    """Asks three short questions on one connection, none of them with the token.

    That connection then waits in the same `Pools` for the user's first request.
    """

    def __init__(self, pools: Pools, *, base_path: str, verify_proof: VerifyProof) -> None:
        self._pools = pools
        self._base_path = base_path
        self._verify_proof = verify_proof

    async def verify(self, route: Route) -> None:
        """Return if `route` leads to the user's own protected Jupyter.

        Raises:
            UpstreamUnsafe: Something answers, but it is not that, and asking again will not change it.
            UpstreamError: Not there yet: ask again.
        """
        pool = self._pools.get(route)
        try:
            await self._verify(pool, route)
        except UpstreamError:
            self._pools.drop(route.user)
            raise

    async def _verify(self, pool: Pool, route: Route) -> None:
        base = server_path(self._base_path, route.user)
        if route.endpoint.path is None and not route.uses_tls:
            nonce = secrets.token_hex(32)
            status, body = await _get(pool, f"{base}minihub-proof?nonce={nonce}")
            if status != 200:
                raise _not_yet("the proof", status)
            if not self._verify_proof(route.secrets.report, nonce, body.decode("ascii", "ignore").strip()):
                raise _unsafe("what listens on the reported port does not know this attempt's secret")
        status, _ = await _get(pool, f"{base}api")
        if status != 200:
            raise _not_yet("api", status)
        status, _ = await _get(pool, f"{base}api/contents?content=0")
        if 200 <= status < 300:
            raise _unsafe("it lets in everybody, without a token")
        if status != 403:
            raise _not_yet("api/contents without a token", status)


async def _get(pool: Pool, target: str) -> tuple[int, bytes]:
    """Ask without a token; a redirection is no answer of Jupyter's to these questions."""
    status, body = await get(pool, target, timeout_s=ANSWER_TIMEOUT_S)
    if 300 <= status < 400:
        raise _unsafe(f"{target.partition('?')[0]} is redirected")
    return status, body


def _unsafe(detail: str) -> UpstreamUnsafe:
    log.error("server refused: %s", detail)
    return UpstreamUnsafe("What answers in your server's place is not your own protected server.", detail)


def _not_yet(what: str, status: int) -> UpstreamError:
    return UpstreamError("Your server does not answer properly yet.", f"{what}: status {status}")
