"""Tokens that tie a form to the login (or, before it, to the browser) that it was drawn for. Touches no I/O.

Together with `verify_same_origin`: either alone would do in a modern browser.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode


class Csrf:
    """Makes and checks them with a key of the hub's (`store.keys.derive("csrf")`), so that nothing is stored."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, key: str) -> str:
        """A token for the login session `key` (Principal.key); the same as long as that lives."""
        return self._sign("login", key)

    def verify(self, key: str, token: str) -> bool:
        """Whether `token` was made for the login session `key`."""
        return _equal(self._sign("login", key), token)

    def make_form(self, cookie: str | None) -> tuple[str, str]:
        """What the login form needs: the form cookie's value (the browser's, if it has a good one) and the field's."""
        if not cookie or len(cookie) != 43:
            cookie = secrets.token_urlsafe(32)
        return cookie, self._sign("form", cookie)

    def verify_form(self, cookie: str | None, token: str | None) -> bool:
        """Whether the field belongs to the form cookie that came with it."""
        return bool(cookie and token) and _equal(self._sign("form", str(cookie)), str(token))

    def _sign(self, kind: str, what: str) -> str:
        digest = hmac.digest(self._key, f"{kind}:{what}".encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).decode().rstrip("=")


def _equal(mine: str, theirs: str) -> bool:
    # Bytes: compare_digest refuses text beyond ASCII, which anybody can send.
    return hmac.compare_digest(mine.encode(), theirs.encode("utf-8", "surrogatepass"))
