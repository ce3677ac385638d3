"""Users' API tokens."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from minihub.auth.model import Principal
from minihub.auth.scopes import covers, effective_scopes, is_all_own, verify_scopes
from minihub.errors import AuthError, BadCredentials, Forbidden, NotFound
from minihub.web.api.access import asker
from minihub.web.api.build import maybe, timestamp
from minihub.web.api.call import Call
from minihub.web.api.endpoint import Nothing, Wish
from minihub.web.api.models import NewTokenModel, TokenModel, TokensModel
from minihub.web.api.replies import no_content, reply
from minihub.web.deps import TokenRecord
from minihub.web.pages.login import MAX_NAME_LENGTH, MAX_PASSWORD_LENGTH
from minihub.web.pages.token import MAX_NOTE_LENGTH

NO_TOKEN = "There is no such token, or it has ended."  # noqa: S105 - words about one
MAX_SCOPES = 100


class Credentials(Wish):
    """A user's name and password."""

    username: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
    password: Annotated[str, Field(max_length=MAX_PASSWORD_LENGTH, repr=False)]


class NewToken(Wish):
    """What a new token is to be."""

    note: Annotated[str, Field(max_length=MAX_NOTE_LENGTH)] = ""
    """What it is for."""
    expires_in: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Seconds that it is valid; null: as long as the hub allows (auth.token_lifetime_s)."""
    scopes: Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=MAX_SCOPES)] | None = None
    """What it may do; none: `self`, everything on one's own things."""
    auth: Credentials | None = None
    """The password of whoever asks: in place of a token, and needed with a login for more than one's own things."""


async def listing(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /users/NAME/tokens."""
    rows = await call.deps.tokens.list(await call.about_known("read:tokens"))
    return reply(TokensModel(api_tokens=[TokenModel(**_fields(call.name, row)) for row in rows]))


async def show(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /users/NAME/tokens/ID."""
    name = await call.about_known("read:tokens")
    return reply(TokenModel(**_fields(name, await _find(call, name))))


async def revoke(call: Call[Nothing, Nothing]) -> web.Response:
    """DELETE /users/NAME/tokens/ID."""
    name = call.about("tokens")
    token_id = call.request.match_info["id"]
    if not await call.deps.tokens.revoke(name, token_id):
        raise NotFound(NO_TOKEN)
    await call.audit("token-revoke", token_id if name == call.principal.user else name)
    return no_content()


async def create(call: Call[Nothing, NewToken]) -> web.Response:
    """POST /users/NAME/tokens."""
    wanted = call.body
    known = Call(call.request, call.query, wanted, await _asker(call))
    # Who may admit people may prepare for one who has not logged in yet; that he may come in at all is verified below.
    may_prepare = known.may("admin:users")
    name = known.about("tokens") if may_prepare else await known.about_known("tokens")
    scopes = frozenset(wanted.scopes or ["self"])
    await _verify_covered(known, scopes)
    secret, row = await call.deps.tokens.create(
        name, note=" ".join(wanted.note.split()), scopes=scopes, lifetime_s=wanted.expires_in
    )
    await known.audit("token-create", row.id if name == known.principal.user else name)
    return reply(NewTokenModel(**_fields(name, row), token=secret), 201)


async def _verify_covered(call: Call[Nothing, NewToken], scopes: frozenset[str]) -> None:
    """Return if the asker may make a token of the user in the path with these scopes.

    Raises:
        OptionsError: A scope that does not exist.
        Forbidden: More than the asker, or the owner, may do.
        NotAllowed: The owner is not admitted.
    """
    owner = call.name
    await call.deps.admit(owner)  # which also finds out whether he is an admin
    is_admin = call.deps.is_admin(owner)
    effective = effective_scopes(verify_scopes(scopes, owner, admin=is_admin), owner, admin=is_admin)
    # Who becomes an admin one day gives his "inherit" tokens an admin's rights.
    grows = "inherit" in scopes and not is_admin
    if not covers(call.principal, effective, owner) or (grows and call.principal.kind == "token"):
        raise Forbidden("A token cannot be made that may do more than whoever makes it.")
    for_own = owner == call.principal.user and is_all_own(effective, owner) and not grows
    if call.principal.kind == "login" and call.body.auth is None and not for_own:
        # A script in a user's own Jupyter shares this origin: what makes such a token must know the password.
        raise Forbidden("Such a token needs your password: send it in auth.")


async def _asker(call: Call[Nothing, NewToken]) -> Principal:
    """Who asks: by password if one came, else by token or login.

    Raises:
        AuthError: Nobody who is known. The same for a wrong password, name or user: nothing tells which names exist.
    """
    auth = call.body.auth
    if auth is None:
        return await asker(call.request)
    try:
        if not auth.username.strip():
            raise BadCredentials
        user = await call.deps.authenticate(auth.username, auth.password, call.address)
    except AuthError as error:
        await call.deps.audit("login", user="", address=call.address, outcome=type(error).__name__)
        raise
    await call.deps.audit("login", user=user, address=call.address)
    return Principal(user, admin=call.deps.is_admin(user), kind="login", key="")


async def _find(call: Call[Any, Any], name: str) -> TokenRecord:
    for row in await call.deps.tokens.list(name):
        if row.id == call.request.match_info["id"]:
            return row
    raise NotFound(NO_TOKEN)


def _fields(user: str, row: TokenRecord) -> dict[str, Any]:
    return {
        "kind": "api_token",
        "user": user,
        "id": row.id,
        "roles": [],
        "scopes": sorted(row.scopes),
        "created": timestamp(row.created_at),
        "last_activity": maybe(row.last_used_at),
        "expires_at": maybe(row.expires_at),
        "note": row.note,
        "session_id": None,
        "oauth_client": None,
    }
