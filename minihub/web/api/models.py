"""What the API answers, as models: those of JupyterHub with a `job` more, and ours. Pure.

Every answer is made as one of these, and OpenAPI is written from them. A field with a default may be missing from an
answer; all others are always there.

Source: JupyterHub 6 REST API, models User, Server, Token, Group.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""ISO 8601 in UTC."""


class Model(BaseModel):
    """Something that goes out."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ErrorModel(Model):
    """What went wrong."""

    status: int
    """The HTTP status."""
    message: str
    """One sentence for people, in the language of Accept-Language (English or French)."""
    fields: dict[str, str] = {}
    """One message per wrong field or parameter, where there are such."""


# ---- servers --------------------------------------------------------------------------------------------------------


class ResourcesModel(Model):
    """What the job was asked for with."""

    cores: int
    memory_mb: int
    """MiB, as Slurm counts."""
    gpu_type: str | None
    gpu_count: int
    time_hours: float


class JobModel(Model):
    """The scheduler's side of a server."""

    id: str | None
    """The scheduler's job id; null until it has said one."""
    state: str | None
    """The scheduler's own word, such as PENDING."""
    reason: str | None
    """The scheduler's own word for why it waits or ended."""
    account: str | None
    partition: str | None
    node: str | None
    resources: ResourcesModel
    submitted: Timestamp | None
    started: Timestamp | None
    expected_start: Timestamp | None
    """The scheduler's guess, while the job waits."""
    ends: Timestamp | None
    """When the time limit ends it."""
    ended: Timestamp | None
    elapsed_s: int | None
    """Seconds that it has run, or ran; null if it never did."""
    time_left_s: int | None
    """Seconds until the time limit; null unless it runs."""
    outcome: str | None
    """How it ended, in a word: what wanted the end (user, logout, admin, api, idle, age ...) or why it failed
    (time_limit, out_of_memory, cancelled ...); null while it lives."""


class FailureModel(Model):
    """Why a server ended otherwise than wanted."""

    kind: str
    message: str
    reason: str
    advice: str


class IdleModel(Model):
    """When and why a running server will be stopped if nothing happens."""

    why: Literal["idle", "age"]
    limit_s: float
    """How long it may be idle, or how old it may become."""
    idle_since: Timestamp
    stops_at: Timestamp
    warning: bool
    """Whether its user is warned now."""
    postponed: int
    """How often its user put it off."""
    postponed_until: Timestamp | None
    postpones_left: int


class ServerModel(Model):
    """One server: the live one, or how the last one ended."""

    name: str
    """Always "": there are no named servers."""
    display_name: str
    full_name: str
    last_activity: Timestamp | None
    started: Timestamp | None
    pending: Literal["spawn", "stop"] | None
    ready: bool
    stopped: bool
    url: str
    full_url: str | None
    """With scheme and host; null unless hub.public_url is set."""
    progress_url: str
    user_options: dict[str, Any]
    state: str
    """submitting, queued, starting, ready, stopping, stopped or failed."""
    job: JobModel
    failure: FailureModel | None
    stop_cause: str | None
    """Who or what wanted its end: user, logout, admin, api, idle, age ...; null if nobody did (yet)."""
    idle: IdleModel | None
    """null: nothing but its time limit will end it."""
    ended: Timestamp | None


class RunningModel(ServerModel):
    """A server in the list of all."""

    user: str


class StartRefusedModel(ErrorModel):
    """Why a start was refused; with the server, if there is one already."""

    server: ServerModel | None = None


class StopChoiceModel(Model):
    """A server that a bulk stop concerns."""

    user: str
    state: str
    job_id: str | None
    node: str | None


class StopsModel(Model):
    """What a bulk stop did, or would do."""

    dry_run: bool
    servers: list[StopChoiceModel]
    stopped: int
    """How many were asked to end; 0 in a dry run."""


class ProgressModel(Model):
    """One event of a starting server, as the data of a server-sent event."""

    progress: int
    message: str
    ready: bool = False
    failed: bool = False
    url: str = ""
    state: str = ""
    job_id: str | None = None
    reason: str = ""
    advice: str = ""
    kind: str = ""


# ---- users, groups, tokens ------------------------------------------------------------------------------------------


class UserModel(Model):
    """One user, as much of him as the asker may see."""

    kind: Literal["user"]
    name: str
    admin: bool
    roles: list[str] = []
    groups: list[str] = []
    """Unix groups."""
    server: str | None = None
    """Path of the server while it is ready."""
    pending: Literal["spawn", "stop"] | None = None
    created: Timestamp | None = None
    last_activity: Timestamp | None = None
    servers: dict[str, ServerModel] = {}
    """The server under the name "", while there is one."""


class SelfModel(UserModel):
    """Who asks."""

    scopes: list[str]
    """What the token, or the login, may do."""
    token_id: str | None
    session_id: str | None
    """Always null; JupyterHub's field."""


class TokenModel(Model):
    """An API token without its secret."""

    kind: Literal["api_token"]
    user: str
    id: str
    roles: list[str]
    """Always empty: a token has scopes."""
    scopes: list[str]
    created: Timestamp
    last_activity: Timestamp | None
    """When it was used last."""
    expires_at: Timestamp | None
    note: str
    session_id: str | None
    oauth_client: str | None


class NewTokenModel(TokenModel):
    """A new API token."""

    token: str
    """The secret, told this once."""


class TokensModel(Model):
    """A user's valid tokens."""

    api_tokens: list[TokenModel]


class RevokedModel(Model):
    """How much was revoked."""

    logins: int
    tokens: int


class GroupModel(Model):
    """A Unix group."""

    kind: Literal["group"]
    name: str
    users: list[str] = []
    """Those of its members whom the hub knows; for who has read:groups."""
    roles: list[str]
    properties: dict[str, str]


# ---- the hub --------------------------------------------------------------------------------------------------------


class VersionModel(Model):
    """Which API this is."""

    version: str
    """Of the JupyterHub API whose shapes are spoken."""
    minihub: str
    """Of the hub."""


class ClassModel(Model):
    """A part of the hub."""

    version: str
    klass: str = Field(alias="class")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class InfoModel(Model):
    """About the hub's process."""

    version: str
    python: str
    sys_executable: str
    spawner: ClassModel
    authenticator: ClassModel


class ReportModel(Model):
    """Nothing but a message."""

    message: str


class NextModel(Model):
    """Where the next page is."""

    offset: int
    limit: int
    url: str


class PaginationModel(Model):
    """Which part of how much this is."""

    offset: int
    limit: int
    total: int
    next: NextModel | None


class RouteDataModel(Model):
    """Whose route it is."""

    hub: bool = False
    user: str = ""
    server_name: str = ""
    last_activity: Timestamp | None = None


class RouteModel(Model):
    """Where a path leads."""

    routespec: str
    target: str
    data: RouteDataModel


class RoutesPageModel(Model):
    """Part of the routes, for those who ask with Accept: application/jupyterhub-pagination+json."""

    items: dict[str, RouteModel]
    pagination: PaginationModel = Field(alias="_pagination")


class UnknownJobModel(Model):
    """A job that carries a hub's tag, but is in no record of this hub; it is left alone."""

    id: str
    user: str
    name: str


class SchedulerModel(Model):
    """How the hub's view of the scheduler is."""

    name: str
    """slurm or local."""
    up: bool
    """Whether it answered the last time it was asked."""
    last_answer: Timestamp | None
    """When it answered last; null: never yet."""
    age_s: float | None
    """Seconds since then: how old everything is that is said of jobs."""
    listing_took_s: float | None
    failing_since: Timestamp | None
    problem: str
    """What is wrong, in plain words; "" if nothing is."""
    detail: str
    """What exactly was said, and the cure where one is known."""
    hidden: bool
    """Whether other users' jobs are hidden from the service account."""
    waiting_total: int
    """All waiting jobs of the cluster."""
    unknown_jobs: list[UnknownJobModel]
    limits_age_s: float | None
    """Seconds since accounts and limits of the asker were read; null: never yet."""
    limits_problem: str
    """Why they may be incomplete or old; "" if they are neither."""


class AuditModel(Model):
    """One line of the audit log."""

    id: int
    time: Timestamp
    actor: str
    """Who did it; "" where nobody proved who he is."""
    action: str
    target: str
    """To what or whom."""
    address: str
    outcome: str
    detail: dict[str, Any]


class AnnouncementModel(Model):
    """Something that every page shows on top."""

    id: int
    text: str
    level: Literal["info", "warning"]
    by: str
    created: Timestamp
    expires: Timestamp | None


class EstimateModel(Model):
    """When such a server would start."""

    expected_start: Timestamp | None
    """null: the scheduler cannot say."""
    wait_s: float | None
    message: str
    """The scheduler's own words, if it said any."""
