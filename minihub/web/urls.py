"""Builds every link of the hub's pages. Pure: templates and handlers never join paths themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from minihub.auth.next_url import goes_on, next_url
from minihub.servers.model import server_path


@dataclass(frozen=True, slots=True)
class Urls:
    """Links under one base path, which begins and ends with a slash."""

    base: str = "/"

    @property
    def hub(self) -> str:
        """The hub's own prefix."""
        return f"{self.base}hub/"

    @property
    def home(self) -> str:
        """Hub Control Panel."""
        return f"{self.hub}home"

    @property
    def history(self) -> str:
        """Past servers."""
        return f"{self.hub}history"

    @property
    def token(self) -> str:
        """API tokens."""
        return f"{self.hub}token"

    @property
    def token_revoke(self) -> str:
        """Where the revoke form goes."""
        return f"{self.hub}token/revoke"

    @property
    def logout(self) -> str:
        """Log Out."""
        return f"{self.hub}logout"

    @property
    def logout_state(self) -> str:
        """What became of the job after a logout."""
        return f"{self.hub}logout/state"

    @property
    def stop(self) -> str:
        """Where the stop form goes."""
        return f"{self.hub}stop"

    @property
    def postpone(self) -> str:
        """Where the form goes that keeps an idle server."""
        return f"{self.hub}postpone"

    @property
    def estimate(self) -> str:
        """When such a server would start (JSON)."""
        return f"{self.hub}spawn/estimate"

    @property
    def admin(self) -> str:
        """Everybody's servers, for admins."""
        return f"{self.hub}admin"

    def admin_servers(self, query: Mapping[str, str]) -> str:
        """The same, filtered and sorted."""
        return with_query(self.admin, **query)

    def admin_events(self, query: Mapping[str, str]) -> str:
        """Its event stream."""
        return with_query(f"{self.admin}/events", **query)

    def admin_state(self, query: Mapping[str, str]) -> str:
        """Its present state, for polling."""
        return with_query(f"{self.admin}/state", **query)

    def admin_stop(self, **which: str) -> str:
        """Where an admin is asked whether servers shall be stopped, and where his answer goes."""
        return with_query(f"{self.admin}/stop", **which)

    def admin_users(self, **query: str) -> str:
        """The users that the hub knows."""
        return with_query(f"{self.admin}/users", **query)

    def admin_user(self, user: str, **query: str) -> str:
        """One user: his server, history, tokens, audit lines."""
        return with_query(f"{self.admin}/users/{quote(user, safe='')}", **query)

    def admin_revoke(self, user: str, **which: str) -> str:
        """Where an admin is asked whether a token, or all logins and tokens, shall end, and where his answer goes."""
        return with_query(f"{self.admin_user(user)}/revoke", **which)

    def admin_history(self, **query: str) -> str:
        """Everybody's past servers."""
        return with_query(f"{self.admin}/history", **query)

    def admin_audit(self, **query: str) -> str:
        """The audit log."""
        return with_query(f"{self.admin}/audit", **query)

    def admin_trends(self, span: str = "") -> str:
        """How the last day ("" or "day") or week went."""
        return with_query(f"{self.admin}/trends", span="" if span == "day" else span)

    @property
    def admin_announce(self) -> str:
        """Where announcements are written, and the form goes."""
        return f"{self.admin}/announcements"

    @property
    def admin_withdraw(self) -> str:
        """Where the form goes that removes one."""
        return f"{self.admin}/announcements/remove"

    @property
    def api(self) -> str:
        """The REST API."""
        return f"{self.hub}api"

    @property
    def api_docs(self) -> str:
        """The REST API's description."""
        return f"{self.api}/docs"

    def api_history(self, **query: str) -> str:
        """Past servers, for programs; format=csv for spreadsheets."""
        return with_query(f"{self.api}/history", **query)

    def api_progress(self, user: str) -> str:
        """The event stream of a starting server, for programs."""
        return f"{self.api}/users/{quote(user, safe='')}/server/progress"

    def login(self, next_path: str = "") -> str:
        """The login page, which leads on to `next_path`."""
        return with_query(f"{self.hub}login", next=next_path)

    def spawn(self, next_path: str = "") -> str:
        """The options form; the started server then opens `next_path`."""
        return with_query(f"{self.hub}spawn", next=next_path)

    def pending(self, user: str, next_path: str = "", **more: str) -> str:
        """The waiting page."""
        return with_query(f"{self.hub}spawn-pending/{quote(user, safe='')}", next=next_path, **more)

    def pending_events(self, user: str) -> str:
        """The waiting page's event stream."""
        return f"{self.pending(user)}/events"

    def pending_state(self, user: str) -> str:
        """The waiting page's present state, for polling."""
        return f"{self.pending(user)}/state"

    def language(self, language: str, next_path: str = "") -> str:
        """Switch the language and come back."""
        return with_query(f"{self.hub}language", to=language, next=next_path)

    def history_page(self, page: int) -> str:
        """One page of the history, counted from 1."""
        return with_query(self.history, page=str(page) if page > 1 else "")

    def server(self, user: str, path: str = "") -> str:
        """Something on a user's server; `path` is already encoded and has no leading slash."""
        return server_path(self.base, user) + path

    def static(self, name: str, version: str) -> str:
        """A static file in the version that is loaded."""
        return with_query(f"{self.hub}static/{quote(name)}", v=version)

    def safe_path(self, raw: str | None) -> str:
        """A path as it came from the browser, "" unless it certainly stays on this hub."""
        return next_url(raw, self.base)

    def safe_next(self, raw: str | None) -> str:
        """Where to go on to after a login or a start: a safe path that does not lead round in circles."""
        return goes_on(raw, self.base)


def with_query(path: str, **values: str) -> str:
    """A link with the values that are not empty."""
    present = {key: value for key, value in values.items() if value}
    return f"{path}?{urlencode(present)}" if present else path
