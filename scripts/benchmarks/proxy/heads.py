"""Request heads as a browser makes them: ten fields, about 560 bytes, cookies, the login cookie among them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass

NextHead = Callable[[], bytes]

_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
_COOKIES = "_xsrf=2|7a5c91d0|3f9d1c6f6f0d4b7f8f3a1b2c3d4e5f60|1763800000"
_ACCEPTS = ("application/json, text/plain, */*", "*/*", "image/avif,image/webp,*/*", "text/css,*/*;q=0.1")

SMALL_PATH = "/user/alice/api/contents/notebook.ipynb"
VARIED_PATH = "/user/alice/api/contents/varied"
"""Here each answer's head differs too."""


@dataclass(frozen=True, slots=True)
class Site:
    """The proxy as the browser sees it."""

    port: int
    tls: bool
    cookie: str
    """Name and value of the login cookie."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def _fields(self, accept: str, referer: str) -> list[str]:
        return [
            f"Host: {self.host}",
            f"User-Agent: {_AGENT}",
            f"Accept: {accept}",
            "Accept-Language: en-US,en;q=0.5",
            "Accept-Encoding: gzip, deflate, br",
            f"Referer: {self.origin}/user/alice/lab/tree/{referer}",
            f"Cookie: {self.cookie}; {_COOKIES}",
            "Sec-Fetch-Dest: empty",
            "Sec-Fetch-Mode: cors",
            "Sec-Fetch-Site: same-origin",
        ]

    def get(self, path: str, *more: str, accept: str = _ACCEPTS[0], referer: str = "notebook.ipynb") -> bytes:
        """The head of a GET."""
        return "\r\n".join((f"GET {path} HTTP/1.1", *self._fields(accept, referer), *more, "", "")).encode()

    def post(self, path: str, length: int) -> bytes:
        """The head of an upload."""
        more = (
            f"Origin: {self.origin}",
            "Content-Type: application/octet-stream",
            f"Content-Length: {length}",
        )
        fields = self._fields(_ACCEPTS[0], "notebook.ipynb")
        return "\r\n".join((f"POST {path} HTTP/1.1", *fields, *more, "", "")).encode()

    def websocket(self, path: str, key: str) -> bytes:
        """The head of a websocket's handshake."""
        fields = (
            f"Host: {self.host}",
            f"User-Agent: {_AGENT}",
            "Accept: */*",
            "Sec-WebSocket-Version: 13",
            f"Origin: {self.origin}",
            f"Sec-WebSocket-Key: {key}",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            f"Cookie: {self.cookie}; {_COOKIES}",
        )
        return "\r\n".join((f"GET {path} HTTP/1.1", *fields, "", "")).encode()

    def same(self, path: str = SMALL_PATH) -> NextHead:
        """Always the same head."""
        head = self.get(f"{path}?type=notebook&content=0")
        return lambda: head

    def varied(self) -> NextHead:
        """Never the same head twice: target and Referer are new each time, Accept is one of four.

        The cookies stay, as a browser's do.
        """
        mark = "0123456789"
        parts = []
        for accept in _ACCEPTS:
            head = self.get(f"{VARIED_PATH}?_={mark}", accept=accept, referer=f"{mark}.ipynb")
            parts.append(tuple(head.split(mark.encode())))
        numbers = itertools.count(int.from_bytes(os.urandom(4), "big") + 10**9)

        def build() -> bytes:
            number = next(numbers)
            start, middle, end = parts[number & 3]
            return b"%b%010d%b%010d%b" % (start, number, middle, number, end)

        return build
