"""The test cluster of scripts/dev-cluster, as tests see it: `cluster`.

Works from the machine and from inside the cluster's mount namespace, where scripts/test runs pytest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEV_CLUSTER = Path(__file__).resolve().parents[2] / "scripts/dev-cluster"
DIRECTORY = Path("/var/lib/minihub-cluster")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A test cluster that is up."""

    name: str

    @property
    def directory(self) -> Path:
        return DIRECTORY / self.name

    @property
    def facts(self) -> dict[str, Any]:
        """cluster.json."""
        return json.loads((self.directory / "cluster.json").read_text())

    @property
    def passwords(self) -> dict[str, str]:
        return self.facts["passwords"]

    @property
    def addresses(self) -> dict[str, str]:
        """Address of hub, ctl, login, node1 and node2."""
        return self.facts["addresses"]

    @property
    def nodes(self) -> list[str]:
        return self.facts["nodes"]

    @property
    def user_ca(self) -> Path:
        """Private key of the CA that the login node trusts; `.pub` lies beside it."""
        return Path(self.facts["user_ca"])

    @property
    def user_ca_public(self) -> Path:
        """What sshd reads: replace the text to have another CA trusted, and put it back."""
        return Path(self.facts["user_ca_public"])

    @property
    def service_key(self) -> Path:
        return Path(self.facts["service_key"])

    @property
    def known_hosts(self) -> Path:
        return Path(self.facts["known_hosts"])

    def argv(self, argv: Sequence[str], *, user: str | None = None, host: str = "hub") -> list[str]:
        """Build the command line that runs argv inside, for a caller that starts it itself (the hub, say)."""
        target = f"{user}@{host}" if user else host
        return [str(DEV_CLUSTER), "--name", self.name, "exec", target, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        host: str = "hub",
        stdin: str = "",
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end, as root or as `user`, without a shell; look at returncode yourself."""
        return subprocess.run(
            self.argv(argv, user=user, host=host),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def output(self, argv: Sequence[str], **where: Any) -> str:
        """Run a command that must succeed; return its stdout without the last newline."""
        done = self.run(argv, **where)
        assert done.returncode == 0, f"{argv}: {done.returncode}: {done.stderr}"
        return done.stdout.removesuffix("\n")

    def control(self, *command: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run scripts/dev-cluster itself on this cluster: status, isolate-nodes..."""
        return subprocess.run(
            [str(DEV_CLUSTER), "--name", self.name, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def squeue(
        self, *, user: str = "", name: str = "", job: str = "", states: str = "all"
    ) -> list[tuple[str, str, str, str]]:
        """List jobs as (id, user, state, name), filtered."""
        filters = [
            f"--{key}={value}" for key, value in (("user", user), ("name", name), ("states", states)) if value
        ]
        lines = self.output(["squeue", "--noheader", *filters, "-o", "%A|%u|%T|%j"]).splitlines()
        rows = [tuple(line.split("|", 3)) for line in lines]
        return [row for row in rows if not job or row[0] == job]

    def scontrol(self, *words: str) -> str:
        return self.output(["scontrol", *words])


def start(name: str) -> Cluster:
    """Bring a cluster up; the one that is up stays as it is."""
    cluster = Cluster(name)
    done = cluster.control(
        "up", *(["--jupyter-bin", str(Path(sys.executable).parent)] if not _is_up(cluster) else [])
    )
    assert done.returncode == 0, done.stderr
    return cluster


def _is_up(cluster: Cluster) -> bool:
    return cluster.control("status").returncode == 0


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster named by MINIHUB_CLUSTER_NAME (dev); taken down in the end only if it was not up before."""
    cluster = Cluster(os.environ.get("MINIHUB_CLUSTER_NAME", "dev"))
    was_up = _is_up(cluster)
    if not was_up:
        start(cluster.name)
    yield cluster
    if not was_up:
        done = cluster.control("down")
        assert done.returncode == 0, done.stderr
