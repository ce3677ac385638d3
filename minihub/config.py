"""All settings as one typed `Settings`. Pure; `settings_file` reads them.

Every key has a default, a unit in its name where one is needed, and a description that `minihub config --reference`
prints. An unknown key or a bad value is a ConfigError that names the key and suggests the right one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from minihub.errors import ConfigError
from minihub.idle_settings import IdleSettings
from minihub.section import Seconds, Section
from minihub.toml_lines import find_line


class HubSettings(Section):
    """The hub itself: where it listens, what it calls itself, where its state lies."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on. Beyond loopback, TLS or a front proxy is required."
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    base_path: str = Field(
        "/",
        pattern=r"^/([A-Za-z0-9._~-]+/)*$",
        description="Path prefix of everything, such as /jupyter/. Begins and ends with a slash.",
    )
    public_url: str = Field(
        "",
        description="URL that users type, where a front proxy changes host or scheme. Empty: taken from the request.",
    )
    callback_url: str = Field(
        "",
        description="URL (without path) at which compute nodes reach the hub to report their port. "
        "Empty: made from host and port unless that is loopback. 'none': never; the report comes through Slurm's comment.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses or networks of front proxies: their X-Forwarded-For, -Proto and -Host are believed, nobody else's.",
    )

    state_dir: str = Field(
        "",
        description="Directory of store, key files and hub id. Empty: XDG state directory, or /var/lib/minihub as root.",
    )
    runtime_dir: str = Field(
        "", description="Directory of sockets. Empty: XDG runtime directory, or /run/minihub as root."
    )
    run_as: str = Field(
        "", description="Started as root, the user as whom everything that listens runs. Empty: minihub."
    )
    site_name: str = Field("minihub", description="Name shown at the top of every page.")
    help_url: str = Field(
        "", description="URL of help for users; linked at the foot of every page and on errors."
    )
    status_page_url: str = Field(
        "",
        description="URL of the cluster's status; linked at the foot of every page and when a start fails.",
    )
    announcement: str = Field("", description="Plain text shown on top of every page.")
    templates_dir: str = Field(
        "",
        description="Directory of the site's own templates and static files; those of the same name replace ours.",
    )
    default_language: Literal["en", "fr"] = Field(
        "en", description="Language where the browser asks for none we have."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="How much the hub logs."
    )
    audit_log: str = Field(
        "",
        description="File for one JSON line per line of the audit log, which the store has besides. Empty: audit.jsonl in the state "
        "directory. 'none': none is written. It may be moved away by logrotate.",
    )
    metrics_addresses: tuple[str, ...] = Field(
        (),
        description="Addresses or networks that may read /hub/metrics without a token, such as a Prometheus server's.",
    )
    log_json: bool = Field(default=False, description="Log JSON lines instead of text.")
    uvloop: bool = Field(default=True, description="Use uvloop if it is installed.")

    @field_validator("trusted_proxies", "metrics_addresses")
    @classmethod
    def _are_networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                ip_network(text, strict=False)
            except ValueError:
                msg = f"{text!r} is no address (10.0.0.1) and no network (10.0.0.0/8)"
                raise ValueError(msg) from None
        return texts


class TlsSettings(Section):
    """TLS in front of the hub."""

    cert_file: str = Field("", description="PEM certificate chain; empty: no TLS unless self_signed.")
    key_file: str = Field("", description="PEM key of cert_file.")
    self_signed: bool = Field(
        default=False, description="Make a certificate on first start, for trying it out."
    )


class ProxySettings(Section):
    """The front door: how long it waits for browsers, and how many it lets in."""

    head_timeout_s: Seconds = Field(10, description="A request's head must be complete after this long.")
    idle_timeout_s: Seconds = Field(
        75, description="A connection without a request is closed after this long."
    )
    body_timeout_s: Seconds = Field(
        60,
        description="A browser that neither sends nor reads for so long is given up. A silent server never is.",
    )
    dial_timeout_s: Seconds = Field(10, description="A connection to a user's server must be made by then.")
    max_connections: int = Field(10_000, ge=1, description="Connections from browsers; more are refused.")
    max_connections_per_address: int = Field(
        1_500,
        ge=1,
        description="The same for one address (a class has about 15 each), trusted proxies apart.",
    )
    access_log: str = Field("", description="File for one JSON line per request; empty: none is written.")


class AuthSettings(Section):
    """Who may log in, and for how long."""

    pam_service: str = Field(
        "", description="PAM service. Empty: minihub if /etc/pam.d/minihub exists, else login."
    )
    pam_workers: int = Field(
        4,
        ge=1,
        le=64,
        description="Processes that ask PAM; each right password waits for none of the wrong ones.",
    )
    pam_timeout_s: Seconds = Field(
        30, description="A PAM answer that takes longer is given up and its process killed."
    )
    allow_users: tuple[str, ...] = Field(
        (),
        description="Users who get in. If this or allow_groups is set, nobody else does but admins, and whom admins admit (minihub users admit).",
    )
    allow_groups: tuple[str, ...] = Field(
        (), description="Unix groups whose members get in; see allow_users."
    )
    deny_users: tuple[str, ...] = Field((), description="Users who never get in; wins over allow.")
    deny_groups: tuple[str, ...] = Field(
        (), description="Unix groups whose members never get in; wins over allow."
    )
    admin_users: tuple[str, ...] = Field(
        (), description="Users who are admins: they see and stop others' servers (REST API)."
    )
    admin_groups: tuple[str, ...] = Field((), description="Unix groups whose members are admins.")
    idle_lifetime_s: Seconds = Field(
        7 * 86400, description="A login unused for this long is over; use of the server counts."
    )
    absolute_lifetime_s: Seconds = Field(
        30 * 86400, description="A login is over after this long in any case."
    )
    token_lifetime_s: Seconds = Field(90 * 86400, description="Longest and default life of an API token.")


class ServersSettings(Section):
    """How users' servers live."""

    scheduler: Literal["auto", "slurm", "local"] = Field(
        "auto", description="auto: slurm where sbatch is found or login_nodes are set, else local."
    )
    spawn_timeout_s: Seconds = Field(
        300,
        description="How long a job may wait in the queue; then it is cancelled and the page says 'Spawn failed: Timeout'.",
    )
    start_timeout_s: Seconds = Field(
        120, description="How long Jupyter may take from the start of the job until it answers."
    )
    upstream: Literal["tls", "plain"] = Field(
        "tls",
        description="Between hub and nodes: tls (mutual, a pair of certificates for each start) or plain (a challenge at the start, then in the clear).",
    )
    via: Literal["direct", "ssh"] = Field(
        "direct",
        description="How the hub reaches the nodes: directly by TCP, or through the login node by ssh.",
    )
    stop_on_logout: bool = Field(default=True, description="Log Out ends the server and cancels its job.")
    cancel_repeat_s: Seconds = Field(
        5, description="How often a cancel is repeated until the scheduler confirms the end."
    )


class OptionSettings(Section):
    """One server option on the form."""

    default: Any = Field(
        None, description="Value that the form shows first, and that holds where none is given."
    )
    min: float | None = Field(None, description="Least value (numbers).")
    max: float | None = Field(
        None, description="Greatest value (numbers); the scheduler's own limits hold besides."
    )
    locked: bool = Field(default=False, description="Shown, but fixed to the default.")
    hidden: bool = Field(default=False, description="Neither shown nor accepted; the default holds.")
    choices: tuple[str, ...] = Field((), description="If set, only these words can be chosen.")


class OptionsSettings(Section):
    """The server options form: one table per option, such as [options.cores]."""

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, raw: Any) -> Any:
        """A table changes the keys it names; the option's other defaults stay."""
        if not isinstance(raw, Mapping):
            return raw
        known = {
            name: field.default.model_dump(exclude_unset=True) for name, field in cls.model_fields.items()
        }
        return {
            name: {**known[name], **rule} if name in known and isinstance(rule, Mapping) else rule
            for name, rule in raw.items()
        }

    account: OptionSettings = Field(
        OptionSettings(), description="Slurm account to be charged; offered are those that the user has."
    )
    qos: OptionSettings = Field(OptionSettings(hidden=True), description="Slurm's quality of service (QOS).")
    partition: OptionSettings = Field(
        OptionSettings(), description="Slurm's partition; none chosen: the scheduler's default."
    )
    reservation: OptionSettings = Field(OptionSettings(hidden=True), description="Slurm's reservation.")
    time_hours: OptionSettings = Field(
        OptionSettings(default=1.0, min=0.05), description="Time limit in hours; decimals are fine."
    )
    cores: OptionSettings = Field(OptionSettings(default=1, min=1), description="CPU cores on one node.")
    memory_mb: OptionSettings = Field(OptionSettings(default=2048, min=256), description="Memory in MB.")
    gpu_type: OptionSettings = Field(OptionSettings(), description="GPU type, as Slurm's GRES names it.")
    gpu_count: OptionSettings = Field(OptionSettings(default=0, min=0), description="Number of GPUs.")
    interface: OptionSettings = Field(
        OptionSettings(default="lab", choices=("lab", "notebook", "nbclassic", "terminal")),
        description="User interface.",
    )
    rescue: OptionSettings = Field(
        OptionSettings(default=False),
        description="Rescue start: none of the user's start-up and Jupyter configuration files, nothing written to his home.",
    )


class JupyterSettings(Section):
    """Jupyter on the nodes. Nothing of ours is installed there."""

    bin_dir: str = Field(
        "", description="Directory of `jupyter` on the nodes. Empty: PATH, after modules and prologue."
    )
    python: str = Field(
        "", description="Jupyter's interpreter. Empty: read from the first line of `jupyter`."
    )
    modules: tuple[str, ...] = Field((), description="Modules to load before Jupyter starts.")
    prologue: str = Field(
        "", description="Shell lines to run in the job before Jupyter starts. Written by the admin."
    )
    env: dict[str, str] = Field({}, description="Environment variables for the server and its kernels.")
    args: tuple[str, ...] = Field(
        (), description="More command-line arguments for Jupyter; users see them in ps."
    )
    root_dir: str = Field("", description="Directory the file browser shows. Empty: the home directory.")


class SlurmSettings(Section):
    """Slurm: who asks, how, how often."""

    transport: Literal["auto", "ssh", "local"] = Field(
        "auto",
        description="Where Slurm's commands run: on a login node, or on this host. auto: ssh if ssh.login_nodes is set.",
    )
    identity: Literal["auto", "certificate", "sudo", "helper"] = Field(
        "auto",
        description="How the hub acts as a user: short-lived ssh certificates, sudo with the minihub-job wrapper, or (transport local) the "
        "root helper. auto: certificate over ssh; helper (as root) or the own user locally.",
    )
    service_user: str = Field(
        "",
        description="Account on the login node for the shared listing; should see all users' jobs. Empty: the hub's own user name.",
    )
    bin_dir: str = Field("", description="Directory of Slurm's commands. Empty: PATH.")
    conf: str = Field("", description="SLURM_CONF for the commands; empty: Slurm's own default.")
    wrapper: str = Field(
        "/usr/local/libexec/minihub-job", description="Path of the sudo wrapper where the commands run."
    )
    command_timeout_s: Seconds = Field(20, description="A Slurm command that takes longer is ended.")
    settle_s: Seconds = Field(
        15,
        description="How long after that a submission whose answer was lost may still become a job: Slurm's MessageTimeout "
        "(10 s unless set) and some more.",
    )
    listing_waiting_s: Seconds = Field(2, description="Between listings while anybody waits.")
    listing_quiet_s: Seconds = Field(30, description="Between listings in steady state.")
    limits_refresh_s: Seconds = Field(
        300, description="Age at which accounts, partitions and limits are read again."
    )
    log_path: str = Field(
        "{home}/.minihub-%j.log", description="Job's output; {home}, {user} and Slurm's %j are filled in."
    )
    extra_args: tuple[str, ...] = Field(
        (), description="More arguments for every sbatch, such as --constraint=avx2."
    )
    accounts: tuple[str, ...] = Field(
        (), description="If set, only accounts matching one of these patterns (def-*) are offered."
    )


class SshSettings(Section):
    """How the hub reaches login nodes."""

    login_nodes: tuple[str, ...] = Field(
        (),
        description="Hosts (host or host:port), all set up alike. The first that serves is used; the next ones when it does not.",
    )
    known_hosts: str = Field(
        "",
        description="known_hosts file. Empty: known_hosts in the state directory, then the user's, then /etc/ssh's.",
    )
    ca_key: str = Field("", description="Key of the user CA. Empty: user_ca in the state directory.")
    service_key: str = Field(
        "",
        description="Key of the service account (sudo). Empty: service_key in the state directory; certificate: signed by the CA.",
    )
    certificate_lifetime_s: Seconds = Field(300, description="How long a user certificate is valid.")
    source_address: str = Field("", description="Address list written into certificates; empty: none.")
    connect_timeout_s: Seconds = Field(10, description="Connecting and logging in takes no longer.")
    keepalive_s: Seconds = Field(15, description="Between keep-alive messages.")
    idle_close_s: Seconds = Field(300, description="A user's connection unused for this long is closed.")
    max_idle: int = Field(
        32,
        ge=1,
        description="So many users' unused connections are kept; beyond that the one unused longest is closed.",
    )
    max_commands: int = Field(
        8, ge=1, description="Commands at once on one connection (sshd's MaxSessions is 10)."
    )


class LocalSettings(Section):
    """The local scheduler: servers on this very machine."""

    max_cores: int = Field(
        0, ge=0, description="Most cores one server may ask for; 0: all of the machine. Not enforced either."
    )
    max_memory_mb: int = Field(
        0,
        ge=0,
        description="Most memory one server may ask for; 0: all of the machine. Not enforced: there is no Slurm to do it.",
    )
    max_time_hours: float = Field(
        24, gt=0, description="Longest time limit; a server that reaches its limit is ended."
    )
    listing_s: Seconds = Field(1, description="Between looks at the processes while anybody waits.")


class Settings(Section):
    """All settings; one TOML table each."""

    hub: HubSettings = Field(HubSettings(), description="The hub itself.")
    tls: TlsSettings = Field(TlsSettings(), description="TLS in front.")
    proxy: ProxySettings = Field(ProxySettings(), description="The front door.")
    auth: AuthSettings = Field(AuthSettings(), description="Logins.")
    servers: ServersSettings = Field(ServersSettings(), description="Users' servers.")
    idle: IdleSettings = Field(IdleSettings(), description="The end of servers that nobody uses.")
    options: OptionsSettings = Field(OptionsSettings(), description="The options form.")
    jupyter: JupyterSettings = Field(JupyterSettings(), description="Jupyter on the nodes.")
    slurm: SlurmSettings = Field(SlurmSettings(), description="Slurm.")
    ssh: SshSettings = Field(SshSettings(), description="Login nodes.")
    local: LocalSettings = Field(LocalSettings(), description="The local scheduler.")

    @model_validator(mode="after")
    def _listens_safely(self) -> Settings:
        loopback = self.hub.host in ("localhost", "::1") or self.hub.host.startswith("127.")
        if not loopback and not (self.tls.cert_file or self.tls.self_signed or self.hub.trusted_proxies):
            msg = "hub.host: listening beyond loopback needs tls.cert_file, tls.self_signed or hub.trusted_proxies"
            raise ValueError(msg)
        return self


def parse_settings(raw: Mapping[str, Any], source: str = "settings", text: str = "") -> Settings:
    """Check a table of tables.

    Args:
        raw: The tables.
        source: Where they come from, for messages.
        text: The TOML in which they stand; "" where they stand in none.

    Raises:
        ConfigError: One line per wrong key, with the line of `text` where it stands.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        problems = [
            f"{source}{_place(problem, text)}: {_explain(problem)}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(problems)) from error


def _place(problem: Any, text: str) -> str:
    line = find_line(text, [str(part) for part in problem["loc"]])
    return "" if line is None else f":{line}"


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(problem["loc"])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(sorted(known))}"
        return f"{where}: unknown key{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys_beside(loc: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    names = iter(loc[:-1])
    for name in names:
        annotation = model.model_fields[str(name)].annotation
        if not isinstance(annotation, type):  # tables by name: dict[str, a section]
            annotation = get_args(annotation)[-1]
            next(names)
        model = annotation
    return list(model.model_fields)
