from __future__ import annotations

from minihub.auth.identity import IdentityService
from minihub.auth.logins import LoginSessions
from minihub.auth.model import Identity
from minihub.auth.tokens import ApiTokens


async def test_cookies_and_tokens_are_resolved_and_not_taken_for_each_other(store, settings, clock, policy):
    logins = LoginSessions(store, settings, clock, policy)
    tokens = ApiTokens(store, settings, clock, policy)
    service: Identity = IdentityService(logins, tokens)
    cookie = await logins.create("ada", "", "")
    secret, row = await tokens.create("bob")

    assert service.cached_login(cookie) == await service.login(cookie)
    assert (await service.login(cookie)).user == "ada"
    assert (await service.token(secret)).key == row.id
    assert await service.token(cookie) is None
    assert await service.login(secret) is None
