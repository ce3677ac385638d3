"""Personal API tokens: list, make, revoke. A new token is shown once."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from minihub.errors import AuthError, BadCredentials, NotFound
from minihub.web.client import client_address, own_origin
from minihub.web.keys import DEPS, URLS
from minihub.web.respond import page, redirect, translator, user_of
from minihub.web.words import N_

MAX_NOTE_LENGTH = 200
LIFETIMES = {
    "3600": N_("1 hour"),
    "86400": N_("1 day"),
    "604800": N_("1 week"),
    "2592000": N_("30 days"),
    "7776000": N_("90 days"),
}
DEFAULT_LIFETIME = "604800"


async def show(request: web.Request) -> web.Response:
    """The list and the form."""
    return await _page(request)


async def create(request: web.Request) -> web.Response:
    """Make a token for the asker."""
    deps, principal = request.app[DEPS], user_of(request)
    posted = await request.post()
    note = " ".join(str(posted.get("note", "")).split())[:MAX_NOTE_LENGTH]
    lifetime = str(posted.get("lifetime", DEFAULT_LIFETIME))
    address = client_address(request, deps.settings.hub)
    values = {"note": note, "lifetime": lifetime}
    if lifetime not in _lifetimes(request):
        tr = translator(request)
        return await _page(request, status=400, error=tr("Choose one of the lifetimes."), **values)
    scopes = {"self"}
    if posted.get("admin") and principal.admin:
        # A script in a user's own Jupyter shares this origin: what makes an admin's token must know the password.
        try:
            name = await deps.authenticate(principal.user, str(posted.get("password", "")), address)
            if name != principal.user:
                raise BadCredentials
        except AuthError as error:
            message = translator(request).message(error.user_message)
            return await _page(request, status=error.http_status, error=message, **values)
        scopes.add("admin")
    secret, record = await deps.tokens.create(
        principal.user, note=note, scopes=frozenset(scopes), lifetime_s=float(lifetime)
    )
    await deps.audit("token-create", user=principal.user, address=address, detail=record.id)
    return await _page(request, secret=secret)


async def revoke(request: web.Request) -> web.Response:
    """End one of the asker's tokens."""
    deps, user = request.app[DEPS], user_of(request).user
    token_id = str((await request.post()).get("id", ""))
    if not await deps.tokens.revoke(user, token_id):
        raise NotFound("There is no such token any more.")
    address = client_address(request, deps.settings.hub)
    await deps.audit("token-revoke", user=user, address=address, detail=token_id)
    return redirect(request.app[URLS].token)


def _lifetimes(request: web.Request) -> dict[str, str]:
    most = request.app[DEPS].settings.auth.token_lifetime_s
    found = {seconds: label for seconds, label in LIFETIMES.items() if float(seconds) <= most}
    return found or {f"{most:g}": N_("As long as this hub allows")}


async def _page(request: web.Request, *, status: int = 200, **values: Any) -> web.Response:
    deps, tr = request.app[DEPS], translator(request)
    lifetimes = _lifetimes(request)
    shown = {
        "secret": "",
        "error": "",
        "note": "",
        "lifetime": DEFAULT_LIFETIME if DEFAULT_LIFETIME in lifetimes else next(iter(lifetimes)),
        **values,
    }
    return page(
        request,
        "token.html",
        status=status,
        page_name="token",
        tokens=await deps.tokens.list(user_of(request).user),
        lifetimes={seconds: tr(label) for seconds, label in lifetimes.items()},
        api_url=own_origin(request, deps.settings.hub) + request.app[URLS].api,
        server_url=own_origin(request, deps.settings.hub) + request.app[URLS].server(user_of(request).user),
        **shown,
    )
