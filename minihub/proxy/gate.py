"""Who may pass to which server, and what everybody else gets. Pure: a request head in, a decision out.

Two steps, since what lies between them asks the store: `read` takes a head apart (whose server, which credentials),
the caller finds out who that is, and `decide` says what happens. Nothing else decides.

- A valid login cookie opens only its own user's server, and wins over any token. An admin's too: JavaScript from a
  user's server runs on the hub's origin, so an admin who opened it would hand over the hub.
- A hub token opens its owner's server (unless it was made for less), or another's with scope access:servers. Tokens the hub does not know are
  nobody: Notebook 7 sends the token of its own server, which is dropped, not refused.
- The token that we add switches off Jupyter's own defence against other sites' requests, so the check is here:
  always, except where a hub token (which no other site can send) let the request in.
- Without a server never 404 (Lab would poll for ever), but 424 or 503.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

from minihub.auth.model import Principal
from minihub.auth.origin import SAFE_METHODS, is_click, is_same_origin
from minihub.auth.request import Client, Pairs, first, read_tokens
from minihub.auth.scopes import allows
from minihub.proxy.headers import read_cookies
from minihub.proxy.wire import HeaderBlock
from minihub.servers.model import Attempt, Route, State, server_path

MAX_USER = 256
"""Characters of a name in a path; Unix names are shorter even when every character is encoded."""
REFUSED_METHODS = frozenset({"TRACE", "TRACK", "CONNECT"})
READING = SAFE_METHODS - REFUSED_METHODS
READING_AND_WRITING = READING | {"POST", "PUT", "PATCH", "DELETE"}


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head."""

    method: str
    target: str
    """Path and query exactly as sent."""
    pairs: Pairs
    """Header fields as sent."""
    client: Client


@dataclass(frozen=True, slots=True)
class Knock:
    """A head taken apart: whose server is wanted, how, and with what credentials."""

    head: Head
    user: str
    prefix: str
    """Path of the user's server, with slashes around, as Jupyter's base_url."""
    path: str
    """Path exactly as sent."""
    query: str
    """Query as sent, but without any token; "" if none."""
    cookies: tuple[str, ...]
    """Values of the login cookie; more than one if somebody planted another."""
    tokens: tuple[str, ...]
    target: str
    """Path and query as they go on and as they may be shown or logged: without the token."""
    is_navigation: bool
    """A person looks at the answer: give a page, not JSON."""
    is_websocket: bool


@dataclass(frozen=True, slots=True)
class Forward:
    """Let it through."""

    route: Route
    principal: Principal


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer `status`; `kind` says why: bad_path, bad_method, no_login, cross_site, token_logout."""

    status: int
    kind: str


@dataclass(frozen=True, slots=True)
class ToLogin:
    """Send a person to the login page and then back to `next`."""

    next: str


@dataclass(frozen=True, slots=True)
class ToSlash:
    """/user/NAME means /user/NAME/."""

    location: str


@dataclass(frozen=True, slots=True)
class Logout:
    """Jupyter's own Log Out was clicked: log out of the hub."""

    principal: Principal


@dataclass(frozen=True, slots=True)
class ConfirmLogout:
    """Somebody came to the log out address, but maybe not by that click: ask."""

    principal: Principal


@dataclass(frozen=True, slots=True)
class NotRunning:
    """There is no server to send this to: 424, or 503 if there may soon be one."""

    user: str
    status: int


@dataclass(frozen=True, slots=True)
class NotOwner:
    """Somebody else's server."""

    user: str
    principal: Principal


@dataclass(frozen=True, slots=True)
class Pass:
    """A `Forward` that also holds for other targets below the same prefix, as long as the header fields are the same.

    Not for ever: whether the login is still good and where the server is, is asked for each request.
    """

    header: HeaderBlock
    user: str
    prefix: str
    cookie: str
    """The login cookie that was good."""
    methods: frozenset[str]
    """For which it holds: those that change something only if the origin was checked."""
    fields: bytes
    """The telling header fields as they go on."""

    def covers(self, header: HeaderBlock, method: str, target: str) -> bool:
        """Whether `read` and `decide` would say the same of this request, its login being good.

        In doubt False: then they are asked.
        """
        return (
            header is self.header
            and method in self.methods
            and target.startswith(self.prefix)
            and "token" not in target
            and "%" not in target
            and "\\" not in target
            and not target.startswith("logout", len(self.prefix))
        )


Decision = Forward | Refuse | ToLogin | Logout | ConfirmLogout | NotRunning | NotOwner


def read(head: Head, *, base_path: str, login_cookie: str) -> Knock | ToSlash | Refuse:
    """Take a head apart.

    Refused are methods no user's server needs and every path that is not exactly base_path + user/NAME/..., with
    NAME in its one canonical form: what is compared with the login must be what Jupyter takes for its base_url.
    """
    if head.method in REFUSED_METHODS:
        return Refuse(405, "bad_method")
    path, _, query = head.target.partition("?")
    start = f"{base_path}user/"
    if not path.startswith(start) or not _is_clean(head.target):
        return Refuse(400, "bad_path")
    segment, slash, _ = path[len(start) :].partition("/")
    user = _read_user(segment)
    if user is None:
        return Refuse(400, "bad_path")
    kept, query_tokens = strip_tokens(query)
    if not slash:
        return ToSlash(_join(f"{path}/", kept))
    upgrade = first(head.pairs, "upgrade").lower()
    is_websocket = bool(upgrade) and "websocket" in [item.strip() for item in upgrade.split(",")]
    return Knock(
        head=head,
        user=user,
        prefix=f"{start}{segment}/",
        path=path,
        query=kept,
        cookies=tuple(read_cookies(head.pairs, login_cookie)),
        tokens=(*read_tokens(head.pairs), *query_tokens),
        target=head.target if kept == query else _join(path, kept),
        is_navigation=not is_websocket and _is_navigation(head, path),
        is_websocket=is_websocket,
    )


@lru_cache(maxsize=1024)
def _read_user(segment: str) -> str | None:
    """Whose name `segment` of a path is; None if it is not the one canonical form of a name."""
    if len(segment) > MAX_USER:
        return None
    user = unquote(segment)
    if not user.isprintable() or user in ("", ".", "..") or "/" in user:
        return None
    return user if server_path("/", user) == f"/user/{segment}/" else None


def decide(  # noqa: PLR0911 - one return for each case
    knock: Knock, principal: Principal | None, route: Route | None, attempt: Attempt | None
) -> Decision:
    """Say what happens to a request.

    Args:
        knock: From `read`.
        principal: Whose login cookie that is, else whose token, else None.
        route: Of the wanted user's server; None unless it is READY.
        attempt: The wanted user's newest attempt, None if there never was one.
    """
    is_logout = knock.path == f"{knock.prefix}logout"
    if principal is None:
        if not knock.is_navigation:
            return Refuse(403, "no_login")
        # Coming back to the log out address would log out at once.
        return ToLogin(knock.prefix if is_logout else knock.target)
    if not may_open(principal, knock.user):
        return NotOwner(knock.user, principal)
    by_token = principal.kind == "token"
    if is_logout:
        if by_token:
            return Refuse(403, "token_logout")
        return (
            Logout(principal)
            if is_click(knock.head.method, knock.head.pairs, knock.head.client)
            else ConfirmLogout(principal)
        )
    unsafe = knock.is_websocket or knock.head.method not in SAFE_METHODS
    if unsafe and not by_token and not is_same_origin(knock.head.pairs, knock.head.client):
        return Refuse(403, "cross_site")
    if route is None:
        return NotRunning(knock.user, not_running_status(attempt))
    return Forward(route, principal)


def may_open(principal: Principal, user: str) -> bool:
    """Whether `principal` may use `user`'s server."""
    return allows(principal, "access:servers", user)


def not_running_status(attempt: Attempt | None) -> int:
    """503 while a server may soon be there, 424 where none will be without being started."""
    if attempt is None or attempt.state.is_final or attempt.state is State.STOPPING:
        return 424
    return 503


def strip_tokens(query: str) -> tuple[str, tuple[str, ...]]:
    """Take every `token` out of a query; the rest stays byte for byte."""
    if "token" not in query and ("%" not in query or "token" not in unquote(query)):
        return query, ()
    kept, tokens = [], []
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if unquote_plus(name) == "token":
            tokens.append(unquote_plus(value))
        else:
            kept.append(item)
    return "&".join(kept), tuple(token for token in tokens if token)


def _join(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _is_navigation(head: Head, path: str) -> bool:
    if head.method not in ("GET", "HEAD"):
        return False
    mode = first(head.pairs, "sec-fetch-mode").lower()
    if mode:
        return mode == "navigate"
    return "text/html" in first(head.pairs, "accept").lower() and "/api/" not in path


def _is_clean(target: str) -> bool:
    """Visible ASCII without what browsers and servers read in different ways."""
    if not (target.isascii() and target.isprintable()) or " " in target or "#" in target:
        return False
    return "\\" not in target or "\\" not in target.partition("?")[0]
