"""All that the web room needs from others, as protocols. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from minihub.auth.model import Identity
from minihub.clock import Clock
from minihub.config import Settings
from minihub.proxy.tally import Tally
from minihub.schedulers.measures import CommandMeasures
from minihub.servers.measures import Measures
from minihub.servers.model import Attempt
from minihub.servers.service import Servers
from minihub.store.rows import AnnouncementRow, AuditQuery, AuditRow


class Logins(Protocol):
    """Makes and ends login sessions."""

    async def create(self, user: str, address: str, user_agent: str) -> str:
        """Begin a login session; returns the cookie's value, which is stored nowhere else."""
        ...

    async def revoke(self, cookie: str) -> None:
        """End the login session of a cookie; an unknown one is no error. Closes its proxied connections."""
        ...


class TokenRecord(Protocol):
    """An API token without its secret."""

    @property
    def id(self) -> str:
        """Public id, for revoking."""
        ...

    @property
    def user(self) -> str:
        """Its owner."""
        ...

    @property
    def note(self) -> str:
        """What its owner wrote down."""
        ...

    @property
    def scopes(self) -> Iterable[str]:
        """What it may do."""
        ...

    @property
    def created_at(self) -> float:
        """Wall seconds."""
        ...

    @property
    def expires_at(self) -> float | None:
        """Wall seconds; None = never."""
        ...

    @property
    def last_used_at(self) -> float | None:
        """Wall seconds; None = never used."""
        ...


class Tokens(Protocol):
    """Makes, lists and revokes personal API tokens."""

    async def create(
        self, user: str, *, note: str = "", scopes: Iterable[str] = (), lifetime_s: float | None = None
    ) -> tuple[str, TokenRecord]:
        """Make a token; returns the secret (this once) and the record."""
        ...

    async def list(self, user: str | None = None) -> Sequence[TokenRecord]:
        """The valid tokens of a user (None: of all), newest first."""
        ...

    async def revoke(self, user: str, token_id: str) -> bool:
        """End a token of this user; False if there is none with this id."""
        ...


class Csrf(Protocol):
    """Ties a form to the login session, or before it to the browser, that it was drawn for."""

    def make(self, key: str) -> str:
        """A token for the login session `key` (Principal.key)."""
        ...

    def verify(self, key: str, token: str) -> bool:
        """Whether `token` was made for `key`."""
        ...

    def make_form(self, cookie: str | None) -> tuple[str, str]:
        """What the login form needs: its cookie's value (the browser's, if it has a good one) and its field's."""
        ...

    def verify_form(self, cookie: str | None, token: str | None) -> bool:
        """Whether the field belongs to the cookie that came with it."""
        ...


class Audit(Protocol):
    """Appends one line to the audit log."""

    async def __call__(
        self, action: str, *, user: str, address: str, outcome: str = "ok", detail: str = ""
    ) -> None:
        """Write down that `user`, from `address`, did `action`; `detail` says to what, if not to his own things."""
        ...


class AuditLog(Protocol):
    """Finds lines of the audit log again."""

    async def find(self, query: AuditQuery) -> tuple[Sequence[AuditRow], int]:
        """Lines that are asked for, newest first, and how many there are without limit and offset."""
        ...


class Announcements(Protocol):
    """What admins tell everybody."""

    async def add(
        self, text: str, *, level: str, by: str, at: float, expires_at: float | None = None
    ) -> AnnouncementRow:
        """Keep an announcement of `by`; `level` is "info" or "warning"."""
        ...

    async def list(self, now: float) -> Sequence[AnnouncementRow]:
        """Those that have not expired, newest first."""
        ...

    async def delete(self, announcement_id: int) -> bool:
        """End one; False if there is none with this id."""
        ...


class UserRecord(Protocol):
    """A user the hub has seen."""

    @property
    def name(self) -> str:
        """Canonical Unix name."""
        ...

    @property
    def admin(self) -> bool:
        """Whether he managed others at the last login."""
        ...

    @property
    def created_at(self) -> float:
        """Wall seconds of the first login."""
        ...

    @property
    def last_seen(self) -> float | None:
        """Wall seconds of the last one."""
        ...


class Users(Protocol):
    """The users the hub knows."""

    async def admit(self, user: str, now: float) -> bool:
        """Make `user` known, and let him in beyond the allow lists of the settings; False if both were so already."""
        ...

    async def forget(self, user: str) -> bool:
        """Delete `user`, whose logins and tokens were revoked before; his history stays. False if unknown."""
        ...

    async def active(self, user: str, at: float) -> bool:
        """Note that `user` was active then, unless he was later; False if unknown."""
        ...

    async def get(self, user: str) -> UserRecord | None:
        """One of them, None if never seen."""
        ...

    async def list(
        self, name_filter: str = "", *, offset: int = 0, limit: int = 50
    ) -> tuple[Sequence[UserRecord], int]:
        """Those whose name contains `name_filter`, by name; and how many there are in all."""
        ...


@dataclass(frozen=True, slots=True)
class Figures:
    """What the hub counts of itself since it was started, for whoever watches over it."""

    crashes: Mapping[str, int] = field(default_factory=dict)
    """Background tasks that died, by kind."""
    stalls: int = 0
    """How often the event loop stalled: for so long nobody was served."""
    stalls_total_s: float = 0.0
    longest_stall_s: float = 0.0
    own_stalls: int = 0
    """Those in which the hub itself computed for so long; in the others the machine had other things to do."""
    own_longest_stall_s: float = 0.0
    tasks: int = 0
    """That run in the event loop now."""
    connections: int = 0
    """From outside, websockets among them."""
    store_commits: int = 0
    store_failures: int = 0
    unsaved: int = 0
    """Servers whose present state is not in the store, because that cannot be written."""
    audited: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """What people did, logins among it, by action and outcome."""
    servers: Measures = field(default_factory=Measures)
    commands: CommandMeasures = field(default_factory=CommandMeasures)
    proxy: Tally = field(default_factory=Tally)
    websockets: int = 0
    """Open now."""


Authenticate = Callable[[str, str, str], Awaitable[str]]
"""(username as typed, password, address) -> canonical user name; raises AuthError. Does PAM, throttle and policy."""


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything the pages call. `app.py` fills it with the real things, tests with fakes."""

    settings: Settings
    clock: Clock
    servers: Servers
    identity: Identity
    logins: Logins
    tokens: Tokens
    users: Users
    csrf: Csrf
    audit: Audit
    audit_log: AuditLog
    note_token: Callable[[str, str, str], None]
    """(user, id of his token, address): it was used. For the audit log; waits for nothing."""
    announcements: Announcements
    authenticate: Authenticate
    is_admin: Callable[[str], bool]
    open_url: Callable[[Attempt], str]
    """Where a ready server opens: a path with base_path, such as /user/ada/lab."""
    admit: Callable[[str], Awaitable[None]]
    """Returns if a user may come in; raises NotAllowed."""
    verify_admissible: Callable[[str], Awaitable[None]]
    """Returns if an admin may let a user in: the settings do not deny him, and he has an account; raises NotAllowed."""
    groups_of: Callable[[Sequence[str]], Awaitable[Mapping[str, frozenset[str]]]]
    """The Unix groups of each of some users; from memory for a minute."""
    revoke_user: Callable[[str], Awaitable[tuple[int, int]]]
    """Ends all login sessions and all tokens of a user; returns how many there were of each."""
    shut_down: Callable[[], None]
    """Ends the hub's process in order, as SIGTERM does; returns at once."""
    figures: Callable[[], Figures] = Figures
    probe_secret: bytes = b""
    """Signs the keys of `minihub check`."""
    only_user: str = ""
    """If set, the only user who can log in (a hub started as an ordinary user); the login page says so."""
