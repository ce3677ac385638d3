"""`minihub tokens`: makes, lists and revokes API tokens in the store, beside a hub that may be running."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from minihub.auth.policy import Policy
from minihub.auth.tokens import ApiTokens
from minihub.clock import SystemClock
from minihub.config import Settings
from minihub.errors import NotFound
from minihub.store.store import Store


@contextlib.asynccontextmanager
async def _tokens(settings: Settings, state_dir: Path) -> AsyncIterator[ApiTokens]:
    clock = SystemClock()
    store = await Store.open(state_dir, clock, exclusive=False)
    try:
        yield ApiTokens(store, settings.auth, clock, Policy(settings.auth, clock))
    finally:
        await store.close()


async def create_token(
    settings: Settings, state_dir: Path, user: str, note: str, scopes: Sequence[str], lifetime_s: float | None
) -> str:
    """Make a token; returns the secret, which is shown this once.

    Raises:
        AuthError: Not admitted, or a scope that this user may not have.
    """
    async with _tokens(settings, state_dir) as tokens:
        secret, _ = await tokens.create(user, note=note, scopes=scopes, lifetime_s=lifetime_s)
        return secret


async def list_tokens(settings: Settings, state_dir: Path, user: str | None) -> list[str]:
    """One line a token: id, user, scopes, expiry, last use, note."""
    async with _tokens(settings, state_dir) as tokens:
        rows = await tokens.list(user)
    return [
        f"{row.id}  {row.user}  {','.join(sorted(row.scopes))}  expires {_when(row.expires_at)}"
        f"  last used {_when(row.last_used_at)}  {row.note}".rstrip()
        for row in rows
    ]


async def revoke_token(settings: Settings, state_dir: Path, user: str, token_id: str) -> None:
    """End a token.

    Raises:
        NotFound: The user has none with this id.
    """
    async with _tokens(settings, state_dir) as tokens:
        if not await tokens.revoke(user, token_id):
            raise NotFound(f"{user} has no token {token_id}.")


def _when(wall_s: float | None) -> str:
    return "never" if wall_s is None else datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M")
