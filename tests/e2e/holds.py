"""Stops users' commands and jobs at a chosen place, so that a server stays in a chosen state."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.conftest import Cluster
from tests.e2e.kit import until

# Waits as long as a file of this name exists: hold-sbatch-alice, hold-scancel-bob.
HELD = """\
#!/bin/sh
while [ -e "{holds}/hold-{command}-$(id -un)" ]; do sleep 0.1; done
exec /usr/bin/{command} "$@"
"""
PROLOGUE = 'while [ -e "{holds}/hold-jupyter-$USER" ]; do sleep 0.1; done\n'
COMMANDS = ("squeue", "sacct", "sacctmgr", "scontrol", "sinfo", "sdiag")


class Holds:
    """Names of what is held are files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hold(self, what: str, user: str) -> None:
        (self.folder / f"hold-{what}-{user}").touch()

    async def reached(self, command: str, user: str) -> None:
        """Wait until the user's command stands there."""
        uid, program = pwd.getpwnam(user).pw_uid, f"{self.folder}/{command}".encode()

        def stands() -> bool:
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    words = (process / "cmdline").read_bytes().split(b"\0")
                    if program in words[:2] and process.stat().st_uid == uid:
                        return True
            return False

        await until(stands, f"{user}'s {command}")

    def release(self, what: str, user: str) -> None:
        (self.folder / f"hold-{what}-{user}").unlink(missing_ok=True)

    def release_all(self) -> None:
        for file in self.folder.glob("hold-*"):
            file.unlink()


@contextlib.contextmanager
def make_holds(cluster: Cluster) -> Iterator[Holds]:
    """A folder of commands that can be held, for slurm.bin_dir; PROLOGUE is for jupyter.prologue."""
    folder = cluster.directory / "e2e" / "holds"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for command in ("sbatch", "scancel"):
        file = folder / command
        file.write_text(HELD.format(holds=folder, command=command))
        file.chmod(0o755)
    for command in COMMANDS:
        with contextlib.suppress(FileExistsError):
            (folder / command).symlink_to(f"/usr/bin/{command}")
    made = Holds(folder)
    made.release_all()
    try:
        yield made
    finally:
        made.release_all()
