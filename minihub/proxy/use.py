"""Which traffic to a user's server is use of it, and which an open tab makes that nobody looks at. Pure.

Seen of JupyterLab 4.6 in a tab that was left alone for six minutes with a notebook and a terminal open: every 10 s GET of
api/kernels, api/sessions, api/terminals, api/contents and PUT of lab/api/workspaces, every minute GET of api/kernelspecs and api/me; and
on each websocket a ping every 30 s. The websocket of events tells of each of the tab's own looks at api/contents. So under lab/api/
nothing is use, and under api/ reading is none, but writing is: saving, starting a kernel, uploading. Everything else is use: pages,
files, and all that applications behind jupyter-server-proxy ask and say. Notebook 7 and nbclassic, left alone, only read under api/.

What kernels and terminals do is asked of the server itself (`minihub/servers/usage.py`), so their websockets do not count.
"""

from __future__ import annotations

from collections.abc import Iterable

from minihub.auth.origin import SAFE_METHODS

_NEVER_USE = ("lab/api/", "terminals/websocket/")
TOUCH_S = 1.0
"""A server whose use was told just now need not be told of again: to find out whether a request is use costs time."""
PINGS_PER_S = 40.0
"""Bytes a second, both ways: what only keeps a websocket open is less. Jupyter's own ping and pong are 52 bytes with TLS every 30 s."""


class UseRules:
    """Knows the paths of one hub."""

    def __init__(self, users: str, background: Iterable[str] = ()) -> None:
        """Put together.

        Args:
            users: What stands before a user's name in paths: BASE/user/.
            background: More paths below /user/NAME/ that are no use, `idle.background_paths`.
        """
        self._name_at = len(users)
        self._never = (*_NEVER_USE, *background)
        self._uncounted = ("api/", *self._never)

    def is_use(self, method: str, target: str) -> bool:
        """Whether a request to a user's server says that somebody works.

        Args:
            method: Of the request.
            target: Path and query as sent.
        """
        # The hot path: no copy of the target.
        begin = target.find("/", self._name_at) + 1
        if target.startswith("api/", begin):
            return method not in SAFE_METHODS
        return not target.startswith(self._never, begin)

    def is_counted(self, target: str) -> bool:
        """Whether the traffic of a websocket is looked at: an application's, not Jupyter's own."""
        return not target.startswith(self._uncounted, target.find("/", self._name_at) + 1)
