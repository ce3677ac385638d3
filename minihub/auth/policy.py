"""Who is admitted, and who is an admin: the settings' lists, Unix groups, uids, and whom admins let in besides.

Asks the system's user database (which may be LDAP, and slow) in a thread, and remembers its answers for a minute.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import pwd
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minihub.auth.lru import Lru
from minihub.clock import Clock
from minihub.config import AuthSettings
from minihub.errors import NotAllowed

log = logging.getLogger(__name__)

CACHE_S = 60.0
GRACE_S = 86400.0
"""How long an account that is not found any more counts as it was."""
DEFAULT_UID_MIN = 1000
NOBODY_UID = 65534
NOT_LISTED = "in neither auth.allow_users nor auth.allow_groups"
"""The only refusal that an admin's word overrules."""


@dataclass(frozen=True, slots=True)
class Account:
    """A Unix account."""

    name: str
    uid: int
    groups: frozenset[str]


IsAdmitted = Callable[[str], Awaitable[bool]]
"""Whether an admin admitted somebody; raises StoreError."""

Lookup = Callable[[str], Account | None]
"""Finds an account by its canonical name; None if there is none. May block."""


def find_account(user: str) -> Account | None:
    """Ask the system. Blocks."""
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):
        return None
    names: set[str] = set()
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        try:
            names.add(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue  # A group without a name is in no list.
    return Account(entry.pw_name, entry.pw_uid, frozenset(names))


def read_uid_min(login_defs: Path = Path("/etc/login.defs")) -> int:
    """The least uid of people on this machine. Source: login.defs(5), UID_MIN."""
    try:
        found = re.search(r"^\s*UID_MIN\s+(\d+)", login_defs.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return DEFAULT_UID_MIN
    return int(found[1]) if found else DEFAULT_UID_MIN


def find_refusal(user: str, account: Account | None, settings: AuthSettings, uid_min: int) -> str:
    """Why `user` is not admitted, "" if he is. Pure. Deny wins over allow; admins need not be allowed besides."""
    if account is None:
        return "no such account on the hub's machine"
    if account.name != user:
        return f"not the canonical name ({account.name})"
    if account.uid < uid_min or account.uid == NOBODY_UID:
        return f"uid {account.uid} is not a person's (UID_MIN is {uid_min})"
    return _find_listed_refusal(account, settings)


def _find_listed_refusal(account: Account, settings: AuthSettings) -> str:
    if account.name in settings.deny_users:
        return "in auth.deny_users"
    if denied := account.groups.intersection(settings.deny_groups):
        return f"in auth.deny_groups: {min(denied)}"
    everybody = not settings.allow_users and not settings.allow_groups
    listed = account.name in settings.allow_users or account.groups.intersection(settings.allow_groups)
    if everybody or listed or is_admin_account(account, settings):
        return ""
    return NOT_LISTED


def is_admin_account(account: Account, settings: AuthSettings) -> bool:
    """Whether the settings make this account an admin. Pure."""
    return account.name in settings.admin_users or not account.groups.isdisjoint(settings.admin_groups)


@dataclass(frozen=True, slots=True)
class _Known:
    account: Account | None
    asked_at: float
    found_at: float


class Policy:
    """Applies the settings to people."""

    def __init__(
        self,
        settings: AuthSettings,
        clock: Clock,
        *,
        is_admitted: IsAdmitted,
        lookup: Lookup = find_account,
        uid_min: int | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._is_admitted = is_admitted
        self._lookup = lookup
        self._uid_min = read_uid_min() if uid_min is None else uid_min
        self._known: Lru[_Known] = Lru(4096)

    async def admit(self, user: str) -> None:
        """Return if `user` (canonical) may use this hub.

        Raises:
            NotAllowed: He may not; the reason is in `detail`, for the log.
            StoreError: He is not in the allow lists, and the store does not say whether an admin admitted him.
        """
        refusal = await self._refusal(user)
        if refusal and not (refusal == NOT_LISTED and await self._is_admitted(user)):
            raise NotAllowed(detail=f"{user}: {refusal}")

    async def verify_admissible(self, user: str) -> None:
        """Return if an admin may admit `user`: nothing but the allow lists is against it.

        Raises:
            NotAllowed: There is no such account, or the settings deny it.
        """
        refusal = await self._refusal(user)
        if refusal not in ("", NOT_LISTED):
            raise NotAllowed(detail=f"{user}: {refusal}")

    async def _refusal(self, user: str) -> str:
        return find_refusal(user, await self._account(user), self._settings, self._uid_min)

    async def is_admin(self, user: str) -> bool:
        """Whether `user` is admitted and manages others."""
        return self._judge(user, await self._account(user))

    def is_known_admin(self, user: str) -> bool:
        """As `is_admin`, from memory only: False for a user not asked about lately."""
        known = self._known.get(user)
        return known is not None and self._judge(user, known.account)

    async def groups_of(self, users: Sequence[str]) -> dict[str, frozenset[str]]:
        """The Unix groups of each of `users`; none for who has no account. Those not asked about lately in one go."""
        accounts = {user: self._remembered(user) for user in users}
        missing = [user for user, known in accounts.items() if known is None]
        if missing:
            found = await asyncio.to_thread(lambda: {user: self._lookup(user) for user in missing})
            now = self._clock.monotonic()
            accounts |= {user: self._note(user, account, now) for user, account in found.items()}
        return {
            user: known.account.groups if known is not None and known.account is not None else frozenset()
            for user, known in accounts.items()
        }

    def _judge(self, user: str, account: Account | None) -> bool:
        refused = find_refusal(user, account, self._settings, self._uid_min)
        return account is not None and not refused and is_admin_account(account, self._settings)

    async def _account(self, user: str) -> Account | None:
        known = self._remembered(user)
        if known is None:
            now = self._clock.monotonic()
            known = self._note(user, await asyncio.to_thread(self._lookup, user), now)
        return known.account

    def _remembered(self, user: str) -> _Known | None:
        """What was found lately."""
        known = self._known.get(user)
        lately = known is not None and self._clock.monotonic() - known.asked_at < CACHE_S
        return known if lately else None

    def _note(self, user: str, account: Account | None, now: float) -> _Known:
        """Remember what was found, or what was found before where that is to be believed rather."""
        known = self._known.get(user)
        found_at = now
        if account is None and known is not None and now - known.found_at < GRACE_S:
            # An unreachable directory says "no such user" of everybody: doubt must not end people's logins.
            if known.account is not None:
                log.warning("%s: not found in the user database any more; taken as before", user)
            account, found_at = known.account, known.found_at
        noted = _Known(account, now, found_at)
        self._known.put(user, noted)
        return noted
