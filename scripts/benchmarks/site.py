"""The ground of one measurement: directories, users, settings, and the package as a site would install it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CLUSTERS = Path("/var/lib/minihub-cluster")

# The first line of every job, ours and the bare one: when did the script begin?
FIRST_LINE = 'date +%s.%N >"$HOME/.bench-$SLURM_JOB_ID.first"'

JOB_MEMORY_MB = 256


@dataclass(frozen=True, slots=True)
class Site:
    """One test cluster and our own directory in it."""

    name: str
    facts: dict

    @property
    def directory(self) -> Path:
        return CLUSTERS / self.name / "bench"

    @property
    def package(self) -> Path:
        return self.directory / "package"

    @property
    def jupyter(self) -> Path:
        return self.directory / "jupyter"

    @property
    def address(self) -> str:
        return self.facts["addresses"]["hub"]

    @property
    def users(self) -> list[str]:
        """user01, user02, ...: in an account without limits."""
        return sorted(name for name in self.facts["passwords"] if name.startswith("user"))

    def password(self, user: str) -> str:
        return self.facts["passwords"][user]

    def note(self, user: str, job_id: str, what: str) -> float | None:
        """Read a time that the job noted, None if it has not."""
        try:
            return float((home(user) / f".bench-{job_id}.{what}").read_text())
        except (OSError, ValueError):
            return None


def home(user: str) -> Path:
    """The user's home directory, inside the cluster."""
    return Path(pwd.getpwnam(user).pw_dir)


def prepare(name: str) -> Site:
    """Make our directory: the package installed from this checkout, the stand-in in place of Jupyter."""
    facts = json.loads((CLUSTERS / name / "cluster.json").read_text())
    site = Site(name, facts)
    if len(site.users) < 30:
        raise SystemExit(f"the cluster {name} needs 30 more users: scripts/dev-cluster up --extra-users 30")
    shutil.rmtree(site.directory, ignore_errors=True)
    site.directory.mkdir(mode=0o755)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    subprocess.run([*pip, "--target", site.package, CHECKOUT], check=True, env=environment)
    _install_standin(site)
    return site


def _install_standin(site: Site) -> None:
    """`jupyter` names no Python interpreter, so the launcher runs `jupyter-lab` beside it as it is."""
    site.jupyter.mkdir()
    (site.jupyter / "jupyter").write_text("#!/bin/sh\nexit 1\n")
    source = (Path(__file__).parent / "standin.py").read_text().split("\n", 1)[1]
    interpreter = os.path.realpath(sys.executable)
    (site.jupyter / "jupyter-lab").write_text(f"#!{interpreter} -IS\n{source}")
    for file in site.jupyter.iterdir():
        file.chmod(0o755)


def free_port(address: str) -> int:
    """A port that nobody listens on."""
    with socket.create_server((address, 0)) as listener:
        return listener.getsockname()[1]


def build_settings(
    site: Site,
    port: int,
    state: Path,
    *,
    pull: bool = False,
    idle_close_s: float = 300,
    log_level: str = "INFO",
    admins: Sequence[str] = (),
    more: str = "",
) -> str:
    """The settings file: the real path, nothing tuned."""
    facts = site.facts
    return f"""\
[hub]
host = "{site.address}"
port = {port}
callback_url = "{"none" if pull else ""}"
state_dir = "{state}"
runtime_dir = "{state}-run"
run_as = "minihub"
log_level = "{log_level}"

[tls]
self_signed = true

[auth]
allow_groups = ["{facts["users_group"]}"]
admin_users = {json.dumps(list(admins))}

[servers]
scheduler = "slurm"

[options]
memory_mb = {{ default = {JOB_MEMORY_MB}, min = 64 }}

[jupyter]
bin_dir = "{site.jupyter}"
prologue = '''{FIRST_LINE}'''

[slurm]
transport = "ssh"
identity = "certificate"
service_user = "{facts["service_user"]}"

[ssh]
login_nodes = ["login"]
known_hosts = "{facts["known_hosts"]}"
ca_key = "{facts["user_ca"]}"
service_key = "{facts["service_key"]}"
source_address = "{site.address}"
idle_close_s = {idle_close_s}
{more}"""
