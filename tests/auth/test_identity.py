from __future__ import annotations

from minihub.auth.identity import IdentityService
from minihub.auth.logins import LoginSessions
from minihub.auth.model import MAX_COOKIES_TRIED, Identity, resolve_cookies
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


async def test_the_valid_cookie_is_found_among_planted_ones(store, settings, clock, policy):
    logins = LoginSessions(store, settings, clock, policy)
    service = IdentityService(logins, ApiTokens(store, settings, clock, policy))
    cookie = await logins.create("ada", "", "")

    principal, found = await resolve_cookies(service, ["planted", cookie, "later"])
    assert principal is not None
    assert (principal.user, found) == ("ada", cookie)
    assert await resolve_cookies(service, ["planted"] * MAX_COOKIES_TRIED + [cookie]) == (None, "")
    assert await resolve_cookies(service, []) == (None, "")
