"""Every endpoint of the REST API on one screen."""

from __future__ import annotations

from aiohttp import web

from minihub.web.api import handlers
from minihub.web.guard import Handler

# Paths are relative to base_path + hub/api.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "", handlers.version),
    ("GET", "/", handlers.version),
    ("GET", "/user", handlers.whoami),
    ("GET", "/users", handlers.users),
    ("GET", "/users/{name}", handlers.user),
    ("GET", "/users/{name}/server", handlers.server),
    ("POST", "/users/{name}/server", handlers.start),
    ("DELETE", "/users/{name}/server", handlers.stop),
    ("GET", "/users/{name}/server/progress", handlers.progress),
    ("POST", "/report", handlers.report),
    ("*", "/{rest:.*}", handlers.unknown),
)


def add_api_routes(app: web.Application, api: str) -> None:
    """Put the table into an application; `api` is the path of the API without trailing slash."""
    for method, path, handler in ROUTES:
        app.router.add_route(method, api + path, handler)
