"""Stops users' commands and jobs at a chosen place, so that a server stays in a chosen state."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.conftest import Cluster
from tests.e2e.kit import until

# Waits as long as a file of this name exists: hold-sbatch-alice, hold-scancel-bob. With answer-sbatch-alice it does its
# work at once and waits with the answer.
HELD = """\
#!/bin/sh
if [ -e "{holds}/answer-{command}-$(id -un)" ]; then
  answer=$(/usr/bin/{command} "$@")
  while [ -e "{holds}/answer-{command}-$(id -un)" ]; do sleep 0.1; done
  printf "%s\\n" "$answer"
  exit
fi
while [ -e "{holds}/hold-{command}-$(id -un)" ]; do sleep 0.1; done
exec /usr/bin/{command} "$@"
"""
PROLOGUE = 'while [ -e "{holds}/hold-jupyter-$USER" ]; do sleep 0.1; done\n'
HELD_COMMANDS = ("sbatch", "scancel", "squeue")
COMMANDS = ("squeue", "sacct", "sacctmgr", "scontrol", "sinfo", "sdiag")


class Holds:
    """Names of what is held are files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hold(self, what: str, user: str) -> None:
        (self.folder / f"hold-{what}-{user}").touch()

    def hold_answer(self, what: str, user: str) -> None:
        (self.folder / f"answer-{what}-{user}").touch()

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
        for held in ("hold", "answer"):
            (self.folder / f"{held}-{what}-{user}").unlink(missing_ok=True)

    def release_all(self) -> None:
        for file in (*self.folder.glob("hold-*"), *self.folder.glob("answer-*")):
            file.unlink()


@contextlib.contextmanager
def make_holds(cluster: Cluster) -> Iterator[Holds]:
    """A folder of commands that can be held, for slurm.bin_dir; PROLOGUE is for jupyter.prologue."""
    folder = cluster.directory / "e2e" / "holds"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for command in HELD_COMMANDS:
        file = folder / command
        file.unlink(missing_ok=True)
        file.write_text(HELD.format(holds=folder, command=command))
        file.chmod(0o755)
    for command in {*COMMANDS} - {*HELD_COMMANDS}:
        with contextlib.suppress(FileExistsError):
            (folder / command).symlink_to(f"/usr/bin/{command}")
    made = Holds(folder)
    made.release_all()
    try:
        yield made
    finally:
        made.release_all()
