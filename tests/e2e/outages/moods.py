"""Slurm's commands as they are on a bad day: each answers in the mood that a test has put it in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.conftest import Cluster
from tests.e2e.holds import COMMANDS
from tests.e2e.kit import until

# The real answer of squeue is taken apart; "half" ends within a line, "heading" after the first one.
MOODY = """\
#!/bin/sh
echo >> "{folder}/asked-{command}"
refuse() {{ echo "{command}: error: $1" >&2; exit 1; }}
case $(cat "{folder}/mood-{command}" 2>/dev/null) in
hang) exec sleep 600 ;;
refuse) refuse "Unable to contact slurm controller (connect failure)" ;;
auth) refuse "Munge encode failed: Failed to access \\"/run/munge/munge.socket.2\\": Connection refused" ;;
nonsense) head -c 3000 /dev/urandom; exit 0 ;;
silence) exit 0 ;;
half) text=$(/usr/bin/{command} "$@"; echo .); printf %s "$text" | head -c $((${{#text}} / 2)); exit 0 ;;
heading) /usr/bin/{command} "$@" | head -n 1; exit 0 ;;
esac
exec /usr/bin/{command} "$@"
"""
MOODY_COMMANDS = ("sbatch", "scancel", "squeue")


class Moods:
    """Names of what is wrong are in files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def being(self, **moods: str) -> Iterator[None]:
        """`with moods.being(squeue="hang")`."""
        try:
            for command, mood in moods.items():
                # At once or not at all: the command must not read an empty file.
                new = self.folder / "new"
                new.write_text(mood)
                new.rename(self.folder / f"mood-{command}")
            yield
        finally:
            self.mend()

    def mend(self) -> None:
        for file in self.folder.glob("mood-*"):
            file.unlink()

    def asked(self, command: str) -> int:
        """How often the command has run."""
        return len((self.folder / f"asked-{command}").read_bytes())

    async def wait_asked(self, command: str, times: int) -> None:
        """Wait until it has run so many times more."""
        before = self.asked(command)
        await until(lambda: self.asked(command) >= before + times, f"{command} ran {times} times")


@contextlib.contextmanager
def make_moods(cluster: Cluster) -> Iterator[Moods]:
    """A folder of Slurm's commands for slurm.bin_dir."""
    folder = cluster.directory / "e2e" / "moods"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for command in MOODY_COMMANDS:
        file = folder / command
        file.write_text(MOODY.format(folder=folder, command=command))
        file.chmod(0o755)
        asked = folder / f"asked-{command}"
        asked.write_bytes(b"")
        asked.chmod(0o666)
    for command in {*COMMANDS} - {*MOODY_COMMANDS}:
        with contextlib.suppress(FileExistsError):
            (folder / command).symlink_to(f"/usr/bin/{command}")
    made = Moods(folder)
    made.mend()
    try:
        yield made
    finally:
        made.mend()
