"""What goes into the store and comes out of it. Pure values; times are wall seconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One start of a user's server. The servers room knows what is in `data`."""

    id: str
    user: str
    tag: str
    """Public; unique."""
    state: str
    live: bool
    """A job of it exists or may exist. The store refuses a second live attempt of a user."""
    created_at: float
    changed_at: float
    ended_at: float | None
    job_id: str | None
    data: str
    """JSON without secrets."""
    secrets: str = field(default="", repr=False)
    """JSON, in the clear here, encrypted on the disk; "" in history and once forgotten."""


@dataclass(frozen=True, slots=True)
class UserRow:
    """Somebody the hub knows."""

    name: str
    admin: bool
    """At the last login; only the policy of the auth room decides."""
    created_at: float
    last_seen: float | None
    """None: admitted by an admin, never logged in."""


@dataclass(frozen=True, slots=True)
class LoginRow:
    """A login session."""

    key: str
    """SHA-256 of the cookie's value, in hex."""
    user: str
    created_at: float
    last_seen: float
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token."""

    id: str
    """Public, to name it by."""
    hash: str = field(repr=False)
    """SHA-256 of the token, in hex."""
    user: str
    note: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float
    last_used_at: float | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the audit log."""

    id: int
    at: float
    actor: str
    action: str
    target: str
    address: str
    outcome: str
    detail: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class AnnouncementRow:
    """What an admin tells everybody."""

    id: int
    text: str
    level: str
    """"info" or "warning"."""
    by: str
    created_at: float
    expires_at: float | None
    """None: until somebody deletes it."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which attempts to look for; None: whichever."""

    user: str | None = None
    since: float | None = None
    """Begun at this time or later."""
    until: float | None = None
    """Begun before this time."""
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which lines of the audit log to look for; None: whichever."""

    about: str | None = None
    """Who did it, or whom it was done to."""
    actor: str | None = None
    action: str | None = None
    since: float | None = None
    """Of this time or later."""
    until: float | None = None
    """Before this time."""
    limit: int = 50
    offset: int = 0
