"""What is known of each local job: one small file per job, in a directory that only the helper can write.

A job is found again, after any restart, by process id + start time + boot id, so that another process that got the same
id later is never taken for it, and never killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from minihub.helper import rules
from minihub.helper.processes import read_start_time
from minihub.helper.rules import Refused

_MAX_STATUS = 64


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job that was started here."""

    job_id: str
    user: str
    uid: int
    gid: int
    tag: str
    pid: int
    """The wrapper's: leader of the job's session, parent of everything in it."""
    start_time: int
    """Clock ticks since boot (/proc/PID/stat, field 22)."""
    boot_id: str
    submitted_at: float
    limit_s: float
    log_path: str = ""
    cancelled_at: float | None = None
    """When its end was asked for first."""
    cancel_cause: str = ""
    """"cancel" or "time_limit"."""


def boot_id() -> str:
    """This boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Records:
    """All records, in memory and on disk.

    Layout of `runtime_dir`: jobs/ID.json, jobs/ID.exit (written by the job's wrapper through a descriptor it was
    handed, so that it outlives us), users/NAME/ for sockets. As root: jobs/ is root's alone; users/NAME belongs to
    the user, its group is the hub's, mode 2710, so that the hub may connect and nobody else may enter. All is reached through
    descriptors opened at the start: renaming the directories later gains nobody anything.
    """

    def __init__(self, runtime_dir: Path, boot: str) -> None:
        as_root = os.geteuid() == 0
        runtime_dir.mkdir(mode=0o755 if as_root else 0o700, parents=True, exist_ok=True)
        self._jobs_fd = _open_dir(runtime_dir / "jobs", 0o700)
        self.users_fd = _open_dir(runtime_dir / "users", 0o711 if as_root else 0o700)
        self.boot_id = boot
        self._number = 0
        self._records: dict[str, JobRecord] = {}
        self._ends: dict[str, tuple[float, str]] = {}
        self._load()

    def new_id(self, now: float) -> tuple[str, int]:
        """A fresh job id, and a descriptor to which its exit status is to be written."""
        while True:
            self._number += 1
            job_id = rules.build_job_id(now, self._number)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                return job_id, os.open(f"{job_id}.exit", flags, 0o600, dir_fd=self._jobs_fd)
            except FileExistsError:
                continue

    def save(self, record: JobRecord) -> None:
        """Write `record`, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        name = f"{record.job_id}.json"
        fd = os.open(
            f".{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self._jobs_fd
        )
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(asdict(record), file)
        os.rename(f".{name}", name, src_dir_fd=self._jobs_fd, dst_dir_fd=self._jobs_fd)
        self._records[record.job_id] = record

    def get(self, job_id: str) -> JobRecord | None:
        """The record of `job_id`, None if there is none."""
        return self._records.get(job_id)

    def all(self) -> list[JobRecord]:
        """Every record."""
        return list(self._records.values())

    def is_alive(self, record: JobRecord) -> bool:
        """Whether its wrapper still runs."""
        return record.boot_id == self.boot_id and read_start_time(record.pid) == record.start_time

    def end(self, record: JobRecord, now: float) -> tuple[float, str]:
        """When a dead job ended (at the latest), and what its wrapper wrote: its exit status, "" if it could not."""
        if record.job_id not in self._ends:
            self._ends[record.job_id] = self._read_end(record, now)
        return self._ends[record.job_id]

    def mark_cancelled(self, record: JobRecord, cause: str, now: float) -> JobRecord:
        """Remember that its end was asked for; the first time counts."""
        if record.cancelled_at is None:
            record = replace(record, cancelled_at=now, cancel_cause=cause)
            self.save(record)
        return record

    def forget(self, job_id: str) -> None:
        """Remove what is left of a job; nothing happens if there is nothing."""
        record = self._records.pop(job_id, None)
        self._ends.pop(job_id, None)
        for name in (f"{job_id}.json", f"{job_id}.exit"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._jobs_fd)
        if record is not None:
            self._remove_socket(record)

    def _remove_socket(self, record: JobRecord) -> None:
        with contextlib.suppress(OSError, Refused):
            home = os.open(
                rules.check_user(record.user),
                os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                dir_fd=self.users_fd,
            )
            try:
                os.unlink(rules.socket_name(record.tag), dir_fd=home)
            finally:
                os.close(home)

    def _read_end(self, record: JobRecord, now: float) -> tuple[float, str]:
        try:
            fd = os.open(f"{record.job_id}.exit", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._jobs_fd)
        except OSError:
            return now, ""
        try:
            text = os.read(fd, _MAX_STATUS).decode("ascii", "replace").strip()
            return (os.fstat(fd).st_mtime, text) if text.isdecimal() and len(text) <= 3 else (now, "")
        finally:
            os.close(fd)

    def _load(self) -> None:
        known = {field.name for field in fields(JobRecord)}
        names = os.listdir(self._jobs_fd)  # noqa: PTH208 - of a descriptor
        for name in names:
            if not name.endswith(".json") or name.startswith("."):
                continue
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._jobs_fd)
            with (
                os.fdopen(fd, encoding="utf-8") as file,
                contextlib.suppress(ValueError, TypeError, AttributeError),
            ):
                # What a failing disk made unreadable is left where it is, and must not keep the rest from being known.
                raw = json.load(file)
                record = JobRecord(**{key: value for key, value in raw.items() if key in known})
                self._records[record.job_id] = record
        for name in names:
            if name.endswith(".exit") and f"{name.removesuffix('.exit')}.json" not in names:
                # A start that never became a job.
                os.unlink(name, dir_fd=self._jobs_fd)


def make_user_dir(users_fd: int, user: str, uid: int, hub_gid: int | None) -> None:
    """Make (or repair) the directory of a user's sockets.

    Args:
        users_fd: The directory of all of them, which belongs to us alone.
        user: Its owner's name.
        uid: And uid.
        hub_gid: The hub's group; None without root: then everything is one user's, and 0700 is enough.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(user, 0o700, dir_fd=users_fd)
    fd = os.open(user, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=users_fd)
    try:
        if hub_gid is not None:
            os.fchown(fd, uid, hub_gid)
        # Set-gid: sockets made in it get the hub's group. After chown, which clears it.
        os.fchmod(fd, 0o700 if hub_gid is None else 0o2710)
    finally:
        os.close(fd)


def _open_dir(path: Path, mode: int) -> int:
    path.mkdir(mode=mode, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        os.close(fd)
        msg = f"{path} belongs to somebody else or can be written by others"
        raise Refused(msg)
    os.fchmod(fd, mode)
    return fd
