"""API tokens beside the hub: `minihub tokens` works on the store where no hub runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from minihub.auth.policy import Policy
from minihub.auth.tokens import ApiTokens
from minihub.clock import SystemClock
from minihub.config import Settings
from minihub.store.store import Store


@contextlib.asynccontextmanager
async def open_tokens(settings: Settings, state_dir: Path) -> AsyncIterator[ApiTokens]:
    """The tokens of the hub whose state lies in `state_dir`, while the context lasts.

    Raises:
        ConfigError, StoreError: The store cannot be used; with the cure.
    """
    clock = SystemClock()
    store = await Store.open(state_dir, clock, exclusive=False)
    try:
        yield ApiTokens(
            store, settings.auth, clock, Policy(settings.auth, clock, is_admitted=store.users.is_admitted)
        )
    finally:
        await store.close()
