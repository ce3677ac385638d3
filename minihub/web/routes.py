"""Every URL of the hub's pages on one screen, with who may ask for it."""

from __future__ import annotations

from aiohttp import web

from minihub.web.guard import Access, Handler, guarded
from minihub.web.pages import home, login, logout, metrics, pending, probe, spawn, static, token, user
from minihub.web.pages.admin import announce, records, servers, stop, trends, users

A, U, ADMIN, S = Access.ANYBODY, Access.USER, Access.ADMIN, Access.SELF_CHECKED

# Paths are relative to base_path.
ROUTES: tuple[tuple[str, str, Handler, Access], ...] = (
    ("GET", "", home.root, A),
    ("GET", "hub", home.root, A),
    ("GET", "hub/", home.front, U),
    ("GET", "hub/login", login.show, A),
    ("POST", "hub/login", login.submit, A),
    ("GET", "hub/logout", logout.ask, S),
    ("POST", "hub/logout", logout.submit, U),
    ("GET", "hub/logout/state", logout.state, A),
    ("GET", "hub/home", home.show, U),
    ("POST", "hub/postpone", home.postpone, U),
    ("GET", "hub/history", home.history, U),
    ("GET", "hub/spawn", spawn.show, U),
    ("POST", "hub/spawn", spawn.submit, U),
    ("POST", "hub/spawn/estimate", spawn.estimate, U),
    ("GET", "hub/spawn-pending/{name}", pending.show, U),
    ("GET", "hub/spawn-pending/{name}/events", pending.events, U),
    ("GET", "hub/spawn-pending/{name}/state", pending.state, U),
    ("POST", "hub/stop", pending.stop, U),
    ("GET", "hub/token", token.show, U),
    ("POST", "hub/token", token.create, U),
    ("POST", "hub/token/revoke", token.revoke, U),
    ("GET", "hub/admin", servers.show, ADMIN),
    ("GET", "hub/admin/events", servers.events, ADMIN),
    ("GET", "hub/admin/state", servers.state, ADMIN),
    ("GET", "hub/admin/stop", stop.ask, ADMIN),
    ("POST", "hub/admin/stop", stop.submit, ADMIN),
    ("GET", "hub/admin/users", users.index, ADMIN),
    ("GET", "hub/admin/users/{name}", users.show, ADMIN),
    ("GET", "hub/admin/users/{name}/revoke", users.ask_revoke, ADMIN),
    ("POST", "hub/admin/users/{name}/revoke", users.revoke, ADMIN),
    ("GET", "hub/admin/history", records.history, ADMIN),
    ("GET", "hub/admin/trends", trends.show, ADMIN),
    ("GET", "hub/admin/audit", records.audit, ADMIN),
    ("GET", "hub/admin/announcements", announce.show, ADMIN),
    ("POST", "hub/admin/announcements", announce.add, ADMIN),
    ("POST", "hub/admin/announcements/remove", announce.remove, ADMIN),
    ("GET", "hub/language", home.language, A),
    ("GET", "hub/health", home.health, A),
    ("GET", "hub/metrics", metrics.show, S),
    ("GET", "hub/probe", probe.show, A),
    ("GET", "hub/static/{name}", static.file, A),
    ("GET", "hub/user-redirect/{path:.*}", user.user_redirect, U),
    ("GET", "hub/user/{name}/{path:.*}", user.old_style, U),
    # /user/NAME/... is the front door's, and minihub/proxy/turned_away.py answers where it forwards nothing.
    # The REST API adds its own: minihub/web/api/, under hub/api.
)


def add_routes(app: web.Application, base: str) -> None:
    """Put the table into an application."""
    for method, path, handler, access in ROUTES:
        full = base + path
        if full:
            app.router.add_route(method, full, guarded(handler, access))
            if method == "GET":
                app.router.add_route("HEAD", full, guarded(handler, access))
