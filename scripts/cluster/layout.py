"""Names, paths and addresses of one test cluster. Pure: touches nothing."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

BASE_DIRECTORY = Path("/var/lib/minihub-cluster")
"""Not /run or /tmp: /run is mounted noexec and small on many machines, and users must execute what lies in their homes."""

DEFAULT_NAME = "dev"
USERS_GROUP = "minihub-users"
SERVICE_USER = "minihub"
NODES = ("node1", "node2")
HOSTS = ("ctl", "login", *NODES)
"""The hosts with a network namespace of their own; `hub` is the machine's."""

_LAST_OCTET = {"hub": 1, "ctl": 2, "login": 10, "node1": 11, "node2": 12}
_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class User:
    """A test user: fixed uid, so that files left in a shared /tmp always belong to the same name."""

    name: str
    uid: int
    accounts: tuple[str, ...]
    """Slurm accounts, the default one first. Empty: no association at all."""


USERS = (
    User("alice", 57701, ("def-prof1", "rrg-prof2")),
    User("bob", 57702, ("def-prof1",)),
    User("carol", 57703, ("def-prof3",)),
    User("dave", 57704, ()),
)
USERS_GROUP_ID = 57700


def extra_users(count: int) -> tuple[User, ...]:
    """Users user01, user02, ... for load tests, in one account without limits."""
    return tuple(User(f"user{number:02d}", 57800 + number, ("def-class",)) for number in range(1, count + 1))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of the cluster called `name` is."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a cluster's name is a small letter and up to 9 letters or digits, not {self.name!r}"
            )

    @property
    def subnet(self) -> str:
        """The first three octets; `dev` has 10.77.0, others one that follows from their name."""
        third = 0 if self.name == DEFAULT_NAME else 1 + zlib.crc32(self.name.encode()) % 255
        return f"10.77.{third}"

    def address(self, host: str) -> str:
        return f"{self.subnet}.{_LAST_OCTET[host]}"

    @property
    def hub_link(self) -> str:
        """The hub's end of its veth, the one thing that the machine's own network shows. At most 15 characters."""
        return f"mhub-{self.name}"

    @property
    def directory(self) -> Path:
        return BASE_DIRECTORY / self.name

    @property
    def private(self) -> Path:
        """The tmpfs that only members of the cluster see mounted: the mark of membership, and what is gone by itself."""
        return self.directory / "private"

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def holders(self) -> Path:
        """Pid files of the processes that hold the namespaces."""
        return self.directory / "holders"

    @property
    def hub_files(self) -> Path:
        """What the hub's own user reads: CA, service key, known_hosts."""
        return self.directory / "hub"

    @property
    def user_ca(self) -> Path:
        return self.hub_files / "user_ca"

    @property
    def user_ca_public(self) -> Path:
        """The file named by sshd's TrustedUserCAKeys. Replace its text to make sshd trust another CA: it is read anew each time."""
        return self.directory / "hub_user_ca.pub"

    @property
    def service_key(self) -> Path:
        return self.hub_files / "service_key"

    @property
    def known_hosts(self) -> Path:
        return self.hub_files / "known_hosts"

    @property
    def hub_state(self) -> Path:
        """The state directory that configs/dev-cluster.toml names."""
        return self.hub_files / "state"

    @property
    def jupyter(self) -> Path:
        """A link to the directory with `jupyter`, so that settings need not know where that is."""
        return self.directory / "jupyter"

    @property
    def facts(self) -> Path:
        """cluster.json, 0600: addresses, paths and passwords for the tests."""
        return self.directory / "cluster.json"
