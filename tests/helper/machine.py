"""A helper that runs as root in a mount namespace whose /etc is private: real users, real passwords, real PAM.

The machine's own files stay untouched. Homes and runtime directory lie in a temporary folder that everybody may enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from minihub.helper.parent import HelperHandle, HelperSettings

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "right Horse 7"

SETUP = r"""
set -e
base=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$base/private"
mkdir "$base/private/up" "$base/private/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$base/private/up,workdir=$base/private/work" /etc
add() { useradd --no-log-init -M -N -g users -u "$1" -d "$base/home/$2" -s /bin/sh "$2"; echo "$2:$3" | chpasswd; }
groupadd -g "$4" mh-hub
useradd --no-log-init -r -M -u "$4" -g "$4" -d / -s /usr/sbin/nologin mh-hub
echo "mh-hub:$2" | chpasswd
add "$3" mh-alice "$2"
i=1
while [ $i -le 30 ]; do add $(($3 + $i)) "mh-user$i" "$2"; i=$((i + 1)); done
add $(($3 + 40)) mh-expired "$2"; chage -E 1 mh-expired
add $(($3 + 41)) mh-stale "$2"; chage -d 0 mh-stale
add $(($3 + 42)) mh-locked "$2"; passwd -q -l mh-locked
add $(($3 + 43)) mh-empty "$2"; passwd -q -d mh-empty
add 899 mh-system "$2"
"""


@dataclass
class Machine:
    """Where the helper of a test runs."""

    base: Path
    keeper: subprocess.Popen
    first_uid: int
    hub_uid: int

    @property
    def runtime_dir(self) -> Path:
        return self.base / "run"

    def uid(self, number: int = 0) -> int:
        """mh-alice's, or mh-userN's."""
        return self.first_uid + number

    def enter(self, argv: list[str], **options) -> subprocess.Popen:
        """Start a program in the namespace, as root."""
        return subprocess.Popen(
            ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt", f"--wd={self.base}", *argv],
            cwd="/",
            **options,
        )

    def helper(self, program: str = "minihub.helper", env: dict[str, str] | None = None) -> HelperHandle:
        """A helper, not configured."""
        ours, its = socket.socketpair()
        process = self.enter(
            ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", program, str(its.fileno())],
            pass_fds=[its.fileno()],
            env={**os.environ, **(env or {})},
        )
        its.close()
        handle = HelperHandle(ours, process.pid)
        PROCESSES[process.pid] = process
        return handle

    def settings(self, **changes) -> HelperSettings:
        return HelperSettings(**{"runtime_dir": str(self.runtime_dir), "hub_user": "mh-hub", **changes})


PROCESSES: dict[int, subprocess.Popen] = {}


def wait_end(handle: HelperHandle) -> None:
    """Close our end and wait for the helper's end."""
    with contextlib.suppress(OSError):
        handle.close()
    process = PROCESSES.pop(handle.pid, None)
    if process is not None:
        process.wait(60)


def make_machine() -> Machine:
    base = Path(tempfile.mkdtemp(prefix="mh-", dir="/tmp"))
    base.chmod(0o755)
    for name in ("private", "home", "run"):
        (base / name).mkdir()
    keeper = subprocess.Popen(["unshare", "-m", "sleep", "3600"])
    first_uid, hub_uid = 21000 + os.getpid() % 30000, 987
    machine = Machine(base, keeper, first_uid, hub_uid)
    deadline = time.monotonic() + 30
    while os.readlink(f"/proc/{keeper.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    setup = machine.enter(
        ["sh", "-c", SETUP, "setup", str(base), PASSWORD, str(first_uid), str(hub_uid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = setup.communicate(timeout=60)
    assert setup.returncode == 0, output.decode()
    gid = grp.getgrnam("users").gr_gid
    for name, uid in [("mh-alice", first_uid), *((f"mh-user{n}", first_uid + n) for n in range(1, 31))]:
        home = base / "home" / name
        home.mkdir(mode=0o700)
        os.chown(home, uid, gid)
    return machine


def end_machine(machine: Machine) -> None:
    for pid in processes_of(machine):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    machine.keeper.kill()
    machine.keeper.wait()
    shutil.rmtree(machine.base)


def processes_of(machine: Machine) -> list[int]:
    """Every live process of one of its users."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state = (entry / "stat").read_bytes().rsplit(b")", 1)[1].split()[0]
                if machine.first_uid <= entry.stat().st_uid < machine.first_uid + 50 and state != b"Z":
                    found.append(int(entry.name))
    return found


def children_of(pid: int | str) -> list[str]:
    """The processes that `pid` started and that have not been reaped."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def all_gone(machine: Machine) -> None:
    """Wait for the end of what has just been killed: the kernel takes a moment for it."""
    async with asyncio.timeout(30):
        while processes_of(machine):
            await asyncio.sleep(0.02)


def ordinary_user() -> pwd.struct_passwd:
    """Some user of this machine who is not root and has no rights."""
    return pwd.getpwnam("nobody")
