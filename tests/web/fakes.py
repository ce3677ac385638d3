"""Scripted stand-ins for everything that the web room calls."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from aiohttp import web

from minihub.auth.model import Principal
from minihub.auth.scopes import effective_scopes
from minihub.clock import ManualClock
from minihub.config import Settings, parse_settings
from minihub.errors import BadCredentials, HubError, NotAllowed, OptionsError
from minihub.schedulers.base import Association, Estimate, GpuType, Limits, Partition
from minihub.schedulers.slurm.reasons import explain_reason
from minihub.servers.model import Attempt, Failure, Secrets, ServerOptions, State, StopCause
from minihub.servers.service import OptionsForm, Progress, SchedulerHealth
from minihub.store.rows import AnnouncementRow, AuditQuery, AuditRow, HistoryQuery
from minihub.web.app import build_app
from minihub.web.deps import Deps

NOW = 1_800_000_000.0


def make_secrets() -> Secrets:
    return Secrets(token="secret-token", report="secret-report")


def make_attempt(state: State = State.READY, user: str = "ada", **changes: Any) -> Attempt:
    base = Attempt(
        id="0123456789ab",
        user=user,
        tag="minihub-h-0123456789ab",
        options=ServerOptions(time_hours=3, cores=2, memory_mb=4096, account="def-ada"),
        secrets=make_secrets(),
        state=state,
        created_at=NOW - 100,
        changed_at=NOW - 50,
    )
    if state in {State.QUEUED, State.STARTING, State.READY, State.STOPPING}:
        base = base.with_(job_id="4242", submitted_at=NOW - 99)
    if state is State.QUEUED:
        base = base.with_(
            deadline=NOW + 200,
            job_state="PENDING",
            job_reason="Priority",
            job_reason_words=explain_reason("Priority"),
            expected_start=NOW + 60,
        )
    if state is State.STARTING:
        base = base.with_(
            deadline=NOW + 100,
            job_state="RUNNING",
            node="node7",
            started_at=NOW - 20,
            log_tail="[I] starting\n",
        )
    if state is State.READY:
        base = base.with_(
            job_state="RUNNING", node="node7", started_at=NOW - 40, ready_at=NOW - 30, ends_at=NOW + 7260
        )
    if state is State.STOPPED:
        base = base.with_(
            job_id="4242", started_at=NOW - 90, ended_at=NOW - 10, stop_cause=StopCause.USER, node="node7"
        )
    return base.with_(**changes)


def make_limits(**changes: Any) -> Limits:
    gpus = (GpuType("a100", 4), GpuType("t4", 2))
    limits = Limits(
        partitions=(
            Partition("compute", default=True, max_time=timedelta(days=3), max_cores=64, idle_cores=40),
            Partition("gpu", max_time=timedelta(hours=12), max_cores=32, idle_cores=0, gpus=gpus),
        ),
        associations=(Association("def-ada"), Association("rrg-prof", qos=("normal", "high"))),
        read_at=NOW - 42,
    )
    return replace(limits, **changes)


def make_form(**changes: Any) -> OptionsForm:
    form = OptionsForm(
        limits=make_limits(),
        values={
            "time_hours": 1.0,
            "cores": 1,
            "memory_mb": 2048,
            "gpu_count": 0,
            "interface": "lab",
            "account": "def-ada",
        },
        hidden=frozenset({"qos", "reservation"}),
        interfaces=("lab", "notebook", "terminal"),
        accounts=("def-ada", "rrg-prof"),
        max_time_hours=72,
        max_cores=64,
        max_memory_mb=256000,
    )
    return replace(form, **changes)


class FakeServers:
    """Does what the test put into it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.active: dict[str, float] = {}
        self.ended: list[Attempt] = []
        self.form_now = make_form()
        self.scheduler_health = SchedulerHealth("slurm", last_answer_at=NOW - 3, waiting_total=37)
        self.steps: list[Progress] = []
        self.hold = asyncio.Event()
        """Progress waits here after its last step, if that was not a final one."""
        self.watching = 0
        self.start_error: HubError | None = None
        self.estimate_result: Estimate | HubError = Estimate(NOW + 600)
        self.estimate_gate: asyncio.Event | None = None
        self.stop_error: HubError | None = None
        self.postpone_error: HubError | None = None
        self.active: dict[str, float] = {}
        """When each server was used last."""
        self.stop_gate: asyncio.Event | None = None
        self.stops_at_once = False
        self.asked: list[tuple[Any, ...]] = []

    def get(self, user: str) -> Attempt | None:
        return self.attempts.get(user)

    def all(self) -> list[Attempt]:
        return [a for a in self.attempts.values() if a.is_live]

    def route(self, user: str) -> None:
        return None

    def touch(self, user: str) -> None:
        return None

    def doubt(self, user: str) -> None:
        return None

    def last_activity(self, user: str) -> float | None:
        return self.active.get(user)

    def note_activity(self, user: str, at: float) -> None:
        self.asked.append(("note_activity", user, at))

    async def postpone(self, user: str, *, by: str) -> tuple[Attempt, bool]:
        self.asked.append(("postpone", user, by))
        if self.postpone_error is not None:
            raise self.postpone_error
        attempt = self.attempts[user]
        return attempt, attempt.clock is not None and attempt.clock.is_warning

    async def form(self, user: str, prefill: Mapping[str, Any] | None = None) -> OptionsForm:
        self.asked.append(("form", user, dict(prefill or {})))
        return replace(self.form_now, values={**self.form_now.values, **(prefill or {})})

    async def estimate(self, user: str, raw: Mapping[str, Any]) -> Estimate:
        self.asked.append(("estimate", user, dict(raw)))
        if self.estimate_gate is not None:
            await self.estimate_gate.wait()
        if isinstance(self.estimate_result, HubError):
            raise self.estimate_result
        return self.estimate_result

    async def start(self, user: str, raw: Mapping[str, Any] | None, *, by: str) -> tuple[Attempt, bool]:
        self.asked.append(("start", user, None if raw is None else dict(raw)))
        if self.start_error is not None:
            raise self.start_error
        existing = self.attempts.get(user)
        if existing is not None and existing.is_live:
            return existing, False
        self.attempts[user] = make_attempt(State.SUBMITTING, user)
        return self.attempts[user], True

    async def stop(self, user: str, cause: StopCause, *, by: str) -> Attempt | None:
        self.asked.append(("stop", user, cause))
        if self.stop_gate is not None:
            await self.stop_gate.wait()
        if self.stop_error is not None:
            raise self.stop_error
        attempt = self.attempts.get(user)
        if attempt is not None and attempt.is_live:
            attempt = self.attempts[user] = attempt.with_(state=State.STOPPING, stop_cause=cause)
        return attempt

    async def wait_final(self, user: str, timeout_s: float) -> bool:
        attempt = self.attempts.get(user)
        if attempt is not None and self.stops_at_once:
            self.attempts[user] = attempt.with_(state=State.STOPPED)
        return self.stops_at_once or attempt is None

    async def progress(self, user: str) -> AsyncIterator[Progress]:
        self.watching += 1
        try:
            attempt = self.attempts[user]
            first = Progress(10, "", attempt=attempt, ready=attempt.state is State.READY)
            for step in self.steps or [first]:
                yield step
            if not (self.steps and (self.steps[-1].ready or self.steps[-1].failed or self.steps[-1].stopped)):
                await self.hold.wait()
        finally:
            self.watching -= 1

    async def report(self, secret: str, port: int | None) -> bool:
        self.asked.append(("report", secret, port))
        return secret == "secret-report"

    async def history(self, user: str | None, *, limit: int = 50, offset: int = 0) -> list[Attempt]:
        mine = [a for a in self.ended if user is None or a.user == user]
        return mine[offset : offset + limit]

    async def past(self, query: HistoryQuery) -> tuple[list[Attempt], int]:
        chosen = [
            a
            for a in self.ended
            if query.user in (None, a.user)
            and (query.since is None or a.created_at >= query.since)
            and (query.until is None or a.created_at < query.until)
        ]
        return chosen[query.offset : query.offset + query.limit], len(chosen)

    async def last_options(self, user: str) -> ServerOptions | None:
        return self.ended[0].options if self.ended else None

    def health(self) -> SchedulerHealth:
        return self.scheduler_health


class FakeIdentity:
    """Logins by cookie; nobody is ever in the quick cache unless put there."""

    def __init__(self) -> None:
        self.logins: dict[str, Principal] = {}
        self.tokens: dict[str, Principal] = {}

    def cached_login(self, cookie: str) -> Principal | None:
        return None

    async def login(self, cookie: str) -> Principal | None:
        return self.logins.get(cookie)

    async def token(self, token: str) -> Principal | None:
        return self.tokens.get(token)


class FakeLogins:
    def __init__(self, identity: FakeIdentity, admins: set[str]) -> None:
        self.identity = identity
        self.admins = admins
        self.made: list[tuple[str, str, str]] = []

    async def create(self, user: str, address: str, user_agent: str) -> str:
        self.made.append((user, address, user_agent))
        cookie = f"cookie-{len(self.made)}-{user}"
        self.identity.logins[cookie] = Principal(
            user, user in self.admins, "login", f"key-{len(self.made)}-{user}"
        )
        return cookie

    async def revoke(self, cookie: str) -> None:
        self.identity.logins.pop(cookie, None)


@dataclass(frozen=True)
class FakeTokenRecord:
    id: str
    user: str
    note: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None
    last_used_at: float | None = None


@dataclass
class FakeTokens:
    records: list[FakeTokenRecord] = field(default_factory=list)

    async def create(
        self, user: str, *, note: str = "", scopes: Iterable[str] = (), lifetime_s: float | None = None
    ) -> tuple[str, FakeTokenRecord]:
        lifetime_s = 90 * 86400 if lifetime_s is None else lifetime_s
        record = FakeTokenRecord(
            f"t{len(self.records) + 1}", user, note, frozenset(scopes), NOW, NOW + lifetime_s
        )
        self.records.append(record)
        return "mh_the-secret-itself", record

    async def list(self, user: str | None = None) -> list[FakeTokenRecord]:
        return [r for r in self.records if user in (None, r.user)]

    async def revoke(self, user: str, token_id: str) -> bool:
        keep = [r for r in self.records if not (r.user == user and r.id == token_id)]
        found = len(keep) < len(self.records)
        self.records[:] = keep
        return found


class FakeCsrf:
    def make(self, key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()[:16]

    def verify(self, key: str, token: str) -> bool:
        return token == self.make(key)

    def make_form(self, cookie: str | None) -> tuple[str, str]:
        cookie = cookie or "form-cookie"
        return cookie, self.make(f"form {cookie}")

    def verify_form(self, cookie: str | None, token: str | None) -> bool:
        return bool(cookie) and token == self.make(f"form {cookie}")


@dataclass(frozen=True)
class FakeUserRecord:
    name: str
    created_at: float = NOW - 1000
    last_seen: float | None = NOW - 10
    admin: bool = False


class FakeUsers:
    """Those whom the test has let in."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.seen: dict[str, float] = {}

    async def admit(self, user: str, now: float) -> bool:
        new = user not in self.names
        self.names.add(user)
        return new

    async def forget(self, user: str) -> bool:
        known = user in self.names
        self.names.discard(user)
        return known

    async def active(self, user: str, at: float) -> bool:
        if user in self.names:
            self.seen[user] = max(at, self.seen.get(user, 0))
        return user in self.names

    async def get(self, user: str) -> FakeUserRecord | None:
        return FakeUserRecord(user) if user in self.names else None

    async def list(
        self, name_filter: str = "", *, offset: int = 0, limit: int = 50
    ) -> tuple[list[FakeUserRecord], int]:
        found = [FakeUserRecord(name) for name in sorted(self.names) if name_filter in name]
        return found[offset : offset + limit], len(found)


def make_app(world: World) -> web.Application:
    """The pages, as the front door has them answer."""
    return build_app(world.deps)


class FakeAuditLog:
    """Finds the lines that a test puts here; newest first."""

    def __init__(self) -> None:
        self.rows: list[AuditRow] = []

    async def find(self, query: AuditQuery) -> tuple[list[AuditRow], int]:
        chosen = [
            row
            for row in self.rows
            if query.about in (None, row.actor, row.target)
            and query.actor in (None, row.actor)
            and query.action in (None, row.action)
            and (query.since is None or row.at >= query.since)
            and (query.until is None or row.at < query.until)
        ]
        return chosen[query.offset : query.offset + query.limit], len(chosen)


class FakeAnnouncements:
    def __init__(self) -> None:
        self.rows: list[AnnouncementRow] = []
        self._ids = itertools.count(1)

    async def add(
        self, text: str, *, level: str, by: str, at: float, expires_at: float | None = None
    ) -> AnnouncementRow:
        self.rows.insert(0, AnnouncementRow(next(self._ids), text, level, by, at, expires_at))
        return self.rows[0]

    async def list(self, now: float) -> list[AnnouncementRow]:
        return [row for row in self.rows if row.expires_at is None or row.expires_at > now]

    async def delete(self, announcement_id: int) -> bool:
        before = len(self.rows)
        self.rows = [row for row in self.rows if row.id != announcement_id]
        return len(self.rows) < before


@dataclass
class World:
    """One hub made of fakes."""

    settings: Settings
    clock: ManualClock
    servers: FakeServers
    identity: FakeIdentity
    logins: FakeLogins
    tokens: FakeTokens
    users: FakeUsers
    csrf: FakeCsrf
    passwords: dict[str, str]
    audit_lines: list[tuple[str, str, str, str]]
    deps: Deps
    refusal: HubError | None = None
    """What every login is refused with."""
    refused: dict[str, str] = field(default_factory=dict)
    """Users whom the settings do not let in, and why."""
    asked_groups: list[list[str]] = field(default_factory=list)
    """Whose groups were asked for."""
    admitted: list[str] = field(default_factory=list)
    """Of whom it was asked whether the settings let them in."""
    tokens_used: list[tuple[str, str, str]] = field(default_factory=list)
    """As the audit log is told: user, id, address."""

    def log_in(self, user: str = "ada") -> str:
        """A cookie of a login session."""
        cookie = f"cookie-of-{user}"
        self.identity.logins[cookie] = Principal(user, user in self.logins.admins, "login", f"key-of-{user}")
        return cookie

    def give_token(self, *scopes: str, user: str = "ada") -> str:
        """An API token with these scopes, as the auth room would resolve it."""
        admin = user in self.logins.admins
        self.users.names.add(user)
        kept = effective_scopes(scopes, user, admin=admin)
        token = f"token-{len(self.identity.tokens)}"
        self.identity.tokens[token] = Principal(user, "admin" in kept, "token", f"id-of-{token}", kept)
        return token

    def xsrf(self, user: str = "ada") -> str:
        return self.csrf.make(f"key-of-{user}")


def make_world(raw: Mapping[str, Any] | None = None, *, only_user: str = "") -> World:
    settings = parse_settings(raw or {})
    clock = ManualClock(NOW)
    servers, identity = FakeServers(), FakeIdentity()
    logins, tokens, csrf = FakeLogins(identity, {"root-of-all"}), FakeTokens(), FakeCsrf()
    users = FakeUsers()
    passwords = {"ada": "correct horse", "root-of-all": "battery staple"}
    lines: list[tuple[str, str, str, str]] = []
    refused: dict[str, str] = {}
    asked_groups: list[list[str]] = []
    admitted: list[str] = []
    audit_log = FakeAuditLog()
    tokens_used: list[tuple[str, str, str]] = []

    async def authenticate(username: str, password: str, address: str) -> str:
        if world.refusal is not None:
            raise world.refusal
        name = username.strip().lower()
        if name not in passwords or passwords[name] != password:
            raise BadCredentials
        return name

    async def audit(action: str, *, user: str, address: str, outcome: str = "ok", detail: str = "") -> None:
        lines.append((action, user, outcome, detail))

    def open_url(attempt: Attempt) -> str:
        ends = {"lab": "lab", "notebook": "tree", "terminal": "terminals/1"}
        return f"{settings.hub.base_path}user/{attempt.user}/{ends[attempt.options.interface]}"

    async def admit(user: str) -> None:
        admitted.append(user)
        if user in refused:
            raise NotAllowed(detail=f"{user}: {refused[user]}")

    async def groups_of(users: Sequence[str]) -> dict[str, frozenset[str]]:
        asked_groups.append(list(users))
        return {user: frozenset({user, "people"}) for user in users}

    async def revoke_user(user: str) -> tuple[int, int]:
        mine = {name: who for name, who in identity.tokens.items() if who.user == user}
        logged_in = {name: who for name, who in identity.logins.items() if who.user == user}
        for name in mine:
            del identity.tokens[name]
        for name in logged_in:
            del identity.logins[name]
        return len(logged_in), len(mine)

    deps = Deps(
        settings=settings,
        clock=clock,
        servers=servers,
        identity=identity,
        logins=logins,
        tokens=tokens,
        users=users,
        csrf=csrf,
        audit=audit,
        audit_log=audit_log,
        note_token=lambda user, token_id, address: tokens_used.append((user, token_id, address)),
        announcements=FakeAnnouncements(),
        authenticate=authenticate,
        is_admin=lambda user: user in logins.admins,
        open_url=open_url,
        admit=admit,
        verify_admissible=admit,
        groups_of=groups_of,
        revoke_user=revoke_user,
        shut_down=lambda: servers.asked.append(("shut down",)),
        only_user=only_user,
    )
    world = World(settings, clock, servers, identity, logins, tokens, users, csrf, passwords, lines, deps)
    world.refused, world.asked_groups, world.admitted = refused, asked_groups, admitted
    world.tokens_used = tokens_used
    return world


__all__ = [
    "NOW",
    "Failure",
    "OptionsError",
    "World",
    "make_attempt",
    "make_form",
    "make_limits",
    "make_world",
]
