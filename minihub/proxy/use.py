"""Which traffic to a user's server is use of it, and which an open tab makes that nobody looks at. Pure.

Seen of JupyterLab 4.6 in a tab that was left alone for six minutes with a notebook and a terminal open: every 10 s GET of
api/kernels, api/sessions, api/terminals, api/contents and PUT of lab/api/workspaces, every minute GET of api/kernelspecs and api/me; and
on each websocket a ping every 30 s. The websocket of events tells of each of the tab's own looks at api/contents. So under lab/api/
nothing is use, and under api/ reading is none, but writing is: saving, starting a kernel, uploading. Everything else is use: pages,
files, and all that applications behind jupyter-server-proxy ask and say.

What kernels and terminals do is asked of the server itself (`minihub/servers/usage.py`), so their websockets do not count.
"""

from __future__ import annotations

from minihub.auth.origin import SAFE_METHODS

_OWN_SOCKETS = ("api/", "terminals/websocket/")
_NEVER_USE = ("lab/api/", "terminals/websocket/")
PINGS_PER_S = 40.0
"""Bytes a second, both ways: what only keeps a websocket open is less. Jupyter's own ping and pong are 52 bytes with TLS every 30 s."""


def is_use(method: str, target: str, start: int) -> bool:
    """Whether a request says that somebody works.

    Args:
        method: Of the request.
        target: Path and query as sent, to a user's server.
        start: Where in it the user's name begins: behind BASE/user/.
    """
    # The hot path: no copy of the target.
    begin = target.find("/", start) + 1
    if target.startswith("api/", begin):
        return method not in SAFE_METHODS
    return not target.startswith(_NEVER_USE, begin)


def is_counted_socket(target: str, start: int) -> bool:
    """Whether the traffic of a websocket is looked at: an application's, not Jupyter's own."""
    return not target.startswith(_OWN_SOCKETS, target.find("/", start) + 1)
