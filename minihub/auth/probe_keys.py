"""Keys with which `minihub check` may use the hub's probe: made from the store's key, good for minutes. Pure.

The probe is an echo: whoever could use it at will could hold connections open without a login. Only who can read the
hub's state directory can make a key.
"""

from __future__ import annotations

import hashlib
import hmac

LIFETIME_S = 900
PURPOSE = "probe"
"""For `HubKeys.derive`."""


def make_key(secret: bytes, now: float) -> str:
    """A key that is good from now on.

    Args:
        secret: Derived from the store's key.
        now: Wall seconds.
    """
    until = str(int(now) + LIFETIME_S)
    return f"{until}.{_sign(secret, until)}"


def is_good(secret: bytes, key: str, now: float) -> bool:
    """Whether `key` was made with `secret`, not too long ago."""
    until, _, signature = key.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) < 16):
        return False
    right = hmac.compare_digest(signature.encode(), _sign(secret, until).encode())
    return right and now < int(until) <= now + LIFETIME_S


def _sign(secret: bytes, until: str) -> str:
    return hmac.new(secret, until.encode("ascii"), hashlib.sha256).hexdigest()
