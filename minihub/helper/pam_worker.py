"""One question to PAM, in a process of its own. The only file that imports python-pam."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minihub.helper import rules
from minihub.helper.children import Guard
from minihub.helper.rules import Refused

# Source: security/_pam_types.h of Linux-PAM. python-pam has no name for the first.
_PAM_FAIL_DELAY = 10
_PAM_USER = 2
_PAM_DISALLOW_NULL_AUTHTOK = 1
_PAM_SUCCESS = 0

# Codes of the authentication phase that speak of PAM's own trouble rather than of name and password.
_TROUBLE = frozenset({1, 2, 3, 4, 5, 9, 26, 28})
_NEW_PASSWORD_CODES = frozenset({12, 27})
_ACCOUNT_EXPIRED = 13

_NOLOGIN_FILES = (Path("/run/nologin"), Path("/var/run/nologin"), Path("/etc/nologin"))

Question = Callable[[dict[str, Any]], dict[str, Any]]

_DELAY_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


def pick_service(configured: str) -> str:
    """The PAM service to ask: the configured one, else minihub where it is set up, else login."""
    if configured:
        return configured
    # PAM falls back to `other` for a service without a file, which on most systems refuses everybody.
    here = any(Path(d, "minihub").is_file() for d in ("/etc/pam.d", "/usr/lib/pam.d"))
    return "minihub" if here else "login"


def load() -> None:
    """Load libpam once, before the workers are forked: looking it up takes longer than asking it."""
    import pam  # noqa: PLC0415 - the hub imports this package too, and shall not pay for it

    pam.PamAuthenticator()


@dataclass(frozen=True, slots=True)
class PamQuestion:
    """Asks PAM whether a name and a password are right and the account is in order."""

    service: str
    guard: Guard

    def __call__(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer one question.

        Returns:
            {"user": canonical name}, or {"error": kind, "message": text, "delay_s": how long PAM wants the answer held}.
        """
        conversation = _Conversation()
        username, password = str(asked["username"]), str(asked["password"])
        try:
            if conversation.ask(self.service, username, password):
                return self._admit(conversation.pam_user or username)
            return conversation.refusal()
        except Refused as refusal:
            return {"error": "not_allowed", "message": str(refusal)}
        finally:
            del password
            asked.clear()

    def _admit(self, name: str) -> dict[str, Any]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return {
                "error": "auth",
                "message": "PAM knows this user, but the hub's machine has no such account.",
            }
        if not rules.is_user_name(entry.pw_name):
            return {
                "error": "not_allowed",
                "message": "The user name holds characters that this hub cannot use.",
            }
        if self.guard.own_uid == 0:
            self.guard.check(entry.pw_uid)
        elif entry.pw_uid == 0:
            return {"error": "not_allowed", "message": "root cannot use this hub."}
        return {"user": entry.pw_name}


class _Conversation:
    """python-pam's authenticate(), with an eye on which phase failed.

    authenticate() runs pam_authenticate and then pam_acct_mgmt and returns one code for both. Only once the first has
    said yes may PAM's words be shown: before, they could tell which names exist. pam_authenticate is wrapped for that,
    and to take PAM's delay of failures upon us (PAM_FAIL_DELAY, pam_fail_delay(3)): the helper holds the answer back for
    that long, while this process goes on to the next question.
    """

    def __init__(self) -> None:
        import pam  # noqa: PLC0415 - see load

        self._pam = pam.PamAuthenticator()
        self._inner = self._pam.pam_authenticate
        self._pam.pam_authenticate = self._authenticate
        self._inner_account = self._pam.pam_acct_mgmt
        self._pam.pam_acct_mgmt = self._account
        self._delay_function = _DELAY_FUNCTION(self._take_delay)
        self._password_right = False
        self._delay_us = 0
        self.pam_user: str | None = None

    def ask(self, service: str, username: str, password: str) -> bool:
        """Whether all is right."""
        # Bytes and latin-1: what modules say may be in any encoding, and must not raise inside a C callback.
        # No credentials are established: there is no PAM session here that would use and delete them.
        return bool(
            self._pam.authenticate(
                username.encode(), password.encode(), service.encode(), encoding="latin-1", resetcreds=False
            )
        )

    def refusal(self) -> dict[str, Any]:
        """Why not, as far as it may be told."""
        code = int(self._pam.code)
        said = [_readable(message) for message in self._pam.messages]
        delay_s = self._delay_us / 1e6
        if self._password_right:
            return {
                "error": "not_allowed",
                "message": _account_message(code, said, _readable(self._pam.reason)),
            }
        if notice := _nologin_notice(said):
            return {"error": "not_allowed", "message": notice, "delay_s": delay_s}
        if code in _TROUBLE:
            reason = _readable(self._pam.reason)
            return {"error": "trouble", "message": f"PAM: {reason} (code {code})", "delay_s": delay_s}
        return {"error": "bad_credentials", "message": "", "delay_s": delay_s}

    def _authenticate(self, handle: Any, _flags: int) -> int:
        self._pam.pam_set_item(handle, _PAM_FAIL_DELAY, ctypes.cast(self._delay_function, ctypes.c_void_p))
        # Without the flag an account that has no password lets anybody in who types any.
        code = int(self._inner(handle, _PAM_DISALLOW_NULL_AUTHTOK))
        self._password_right = code == _PAM_SUCCESS
        return code

    def _account(self, handle: Any, _flags: int) -> int:
        code = int(self._inner_account(handle, _PAM_DISALLOW_NULL_AUTHTOK))
        if code == _PAM_SUCCESS:
            self.pam_user = _read_user(handle)
        return code

    def _take_delay(self, _code: int, delay_us: int, _data: object) -> None:
        self._delay_us = delay_us


def _read_user(handle: Any) -> str | None:
    """PAM_USER: modules may have mapped the typed name to another."""
    libpam = ctypes.CDLL("libpam.so.0")
    value = ctypes.c_char_p()
    libpam.pam_get_item.argtypes = [type(handle), ctypes.c_int, ctypes.c_void_p]
    if libpam.pam_get_item(handle, _PAM_USER, ctypes.byref(value)) != _PAM_SUCCESS or not value.value:
        return None
    return value.value.decode("utf-8", "replace")


def _account_message(code: int, said: list[str], reason: str) -> str:
    """What the account phase says, in PAM's own words where it has any."""
    words = " ".join(text for text in said if text and not text.endswith(":"))
    if code in _NEW_PASSWORD_CODES:
        words = words or "Your password has expired."
        return f"{words} Change it with ssh or passwd, then log in here again."
    if code == _ACCOUNT_EXPIRED:
        return words or "Your account has expired."
    return words or f"Your account does not admit logins now: {reason}."


def _nologin_notice(said: list[str]) -> str:
    """The notice of nologin(5) if a module showed it: it is for everybody, and tells nothing of anybody."""
    for path in _NOLOGIN_FILES:
        with contextlib.suppress(OSError):
            notice = path.read_text(encoding="utf-8", errors="replace").strip()
            if any(text.strip() == notice for text in said):
                return notice or "Logins are closed at the moment."
    return ""


def _readable(text: Any) -> str:
    raw = text if isinstance(text, str) else bytes(text or b"").decode("latin-1")
    words = raw.encode("latin-1", "replace").decode("utf-8", "replace")
    return " ".join(words.split())[:500]


def clean_environment() -> None:
    """Leave nothing in the environment that a PAM module could take for advice."""
    os.environ.clear()
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
