"""Where the login leads on to: an address given in `next=`, if it cannot leave the hub. Pure."""

from __future__ import annotations

from posixpath import normpath
from urllib.parse import unquote

MAX_LENGTH = 2000


def next_url(raw: str | None, base_path: str) -> str:
    """Return `raw` unchanged if it is a path (with query and fragment) under `base_path`, else "".

    Browsers drop tabs and line ends, take a backslash for a slash, resolve dots even where they are percent-encoded,
    and read //host as another host: nothing that could be read in two ways passes.

    Args:
        raw: As the browser sent it, decoded once as a form field or query value is.
        base_path: The hub's prefix, with leading and trailing slash.
    """
    if not raw or len(raw) > MAX_LENGTH:
        return ""
    if not raw.startswith("/") or not all("!" <= character <= "~" for character in raw) or "\\" in raw:
        return ""
    # Not urlsplit: it takes ///host for an empty host and a harmless path, which browsers do not.
    path = raw.partition("#")[0].partition("?")[0]
    return raw if _is_inside(path, base_path) else ""


def goes_on(raw: str | None, base_path: str) -> str:
    """The same, but "" too for a path that would lead round in circles: where to go on to after a login or a start."""
    path = next_url(raw, base_path)
    here = unquote(path.partition("?")[0].partition("#")[0]).removeprefix(base_path)
    if any(part in {".", ".."} for part in here.split("/")):
        return ""
    is_circular = here in {"hub/login", "hub/logout"} or (
        here.startswith("user/") and here.endswith("/logout")
    )
    return "" if is_circular else path


def _is_inside(path: str, base_path: str) -> bool:
    """Whether `path` stays under `base_path` however often somebody on the way decodes it."""
    for _ in range(5):
        if (
            "//" in path
            or "\\" in path
            or any(ord(character) < 0x20 or character == "\x7f" for character in path)
        ):
            return False
        if not path.startswith(base_path) or not f"{normpath(path)}/".startswith(base_path):
            return False
        decoded = unquote(path)
        if decoded == path:
            return True
        path = decoded
    return False
