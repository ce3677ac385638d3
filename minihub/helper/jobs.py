"""Local jobs: a script started as its user in a session of its own, listed, ended.

helper (or, after it, init)
  `- wrapper: /bin/sh, leader of its session, parent of every orphan below it; writes the exit status
       `- timeout: ends the script at the time limit even where no hub is left to do it
            `- /bin/sh, reading the script from a file in memory
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from minihub.clock import Clock
from minihub.helper.children import (
    Account,
    Guard,
    become_account,
    kill_group,
    look_up,
    memory_file,
    report,
    spawn,
    watch_reports,
)
from minihub.helper.loop import Loop, Timer
from minihub.helper.privileges import adopt_orphans, become, forbid_tracing
from minihub.helper.processes import read_start_time, signal_job
from minihub.helper.records import JobRecord, Records, make_user_dir
from minihub.helper.rules import Refused

SETTLE_S = 20.0
"""A start or a kill that takes longer hangs (a directory service, a home directory) and is given up."""

TERM_GRACE_S = 10
"""Between SIGTERM and SIGKILL at the time limit."""

_SHELL = "/bin/sh"
_SCRIPT_FD = 3
_STATUS_FD = 4

# A constant; time limit and grace are its arguments. A trap with a command, not an ignored signal: that
# would be inherited. Descendants that left the script's process group (kernels do) end up as the
# wrapper's children (adopt_orphans) and are killed at the end. The script's descriptors go to nobody else.
WRAPPER = """\
trap : TERM INT HUP
timeout -k "$2" "$1" /bin/sh -c 'exec 4>&-; . /proc/self/fd/3' sh </dev/null
status=$?
round=0
while [ "$round" -lt 100 ]; do
    kids=
    read -r kids 2>/dev/null </proc/$$/task/$$/children || :
    [ -n "$kids" ] || break
    kill -KILL $kids 2>/dev/null
    sleep 0.05
    round=$((round + 1))
done
echo "$status" >&4
"""

Done = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class StartJob:
    """What to start, checked."""

    user: str
    tag: str
    script: str = field(repr=False)
    log_path: str
    limit_s: float


class Jobs:
    """Starts, lists and ends local jobs."""

    def __init__(self, loop: Loop, guard: Guard, records: Records, clock: Clock) -> None:
        self._loop = loop
        self._guard = guard
        self._records = records
        self._clock = clock
        self._starting: set[str] = set()

    def start(self, job: StartJob, done: Done) -> None:
        """Start `job`; `done` gets its record, or an error: then there certainly is no job."""
        if job.tag in self._starting or any(r.tag == job.tag for r in self._records.all()):
            msg = "A job of this tag exists already."
            raise Refused(msg)
        now = self._clock.wall()
        job_id, status_fd = self._records.new_id(now)
        # The shell has its own descriptor of the script by then; what the script starts shall not inherit ours.
        script_fd = memory_file("script", b"exec 3<&-\n" + job.script.encode())

        def body(sock: socket.socket) -> None:
            account = look_up(job.user, self._guard)
            make_user_dir(self._records.users_fd, job.user, account.uid, self._socket_gid())
            _run_wrapper(sock, account, job, job_id, (script_fd, status_fd))

        try:
            pid, sock = spawn(body, keep=(script_fd, status_fd, self._records.users_fd))
        finally:
            os.close(script_fd)
            os.close(status_fd)
        self._starting.add(job.tag)
        _Start(self, job, job_id, now, pid, done).watch(sock)

    def prepare(self, user: str, done: Done) -> None:
        """Make the directory of `user`'s sockets; `done` gets his uid."""

        def body(sock: socket.socket) -> None:
            account = look_up(user, self._guard)
            make_user_dir(self._records.users_fd, user, account.uid, self._socket_gid())
            report(sock, {"uid": account.uid, "home": account.home})

        self._ask_child(body, (self._records.users_fd,), done)

    def list(self) -> list[dict[str, Any]]:
        """Every job with a record, running or ended."""
        now = self._clock.wall()
        listed = []
        for record in self._records.all():
            alive = self._records.is_alive(record)
            ended_at, exit_text = (None, "") if alive else self._records.end(record, now)
            # A restart of the machine ends a job without anybody's fault.
            same_boot = record.boot_id == self._records.boot_id
            listed.append(
                asdict(record)
                | {"alive": alive, "ended_at": ended_at, "exit": exit_text, "same_boot": same_boot}
            )
        return listed

    def kill(self, job_id: str, cause: str, *, force: bool, done: Done) -> None:
        """Ask a job's processes to end, or end them; one that is gone is no error. `done` gets when it was first asked."""
        record = self._records.get(job_id)
        if record is None or not self._records.is_alive(record):
            done({"cancelled_at": record.cancelled_at if record else None})
            return
        record = self._records.mark_cancelled(record, cause, self._clock.wall())
        number = signal.SIGKILL if force else signal.SIGTERM

        def body(sock: socket.socket) -> None:
            # As the user: whatever goes wrong, nobody else's process can be hit.
            become(record.uid, record.gid, [])
            forbid_tracing()
            signal_job(record.pid, record.start_time, number)
            report(sock, {"cancelled_at": record.cancelled_at})

        self._ask_child(body, (), done)

    def forget(self, job_id: str) -> None:
        """Remove what is left of an ended job."""
        record = self._records.get(job_id)
        if record is not None and self._records.is_alive(record):
            msg = "The job still runs."
            raise Refused(msg)
        self._records.forget(job_id)

    def settle(self, tag: str) -> None:
        """A start has come to its end, one way or the other."""
        self._starting.discard(tag)

    def abandon(self, job_id: str) -> None:
        """Remove the traces of a start that came to nothing."""
        self._records.forget(job_id)

    def record(self, job: StartJob, job_id: str, now: float, pid: int, ready: dict[str, Any]) -> JobRecord:
        """Write down a job that is about to run.

        Raises:
            OSError: It cannot be written, so it must not run.
        """
        record = JobRecord(
            job_id=job_id,
            user=job.user,
            uid=int(ready["uid"]),
            gid=int(ready["gid"]),
            tag=job.tag,
            pid=pid,
            start_time=read_start_time(pid) or 0,
            boot_id=self._records.boot_id,
            submitted_at=now,
            limit_s=job.limit_s,
            log_path=job.log_path.replace("%j", job_id),
        )
        self._records.save(record)
        return record

    @property
    def loop(self) -> Loop:
        """The helper's loop."""
        return self._loop

    def _socket_gid(self) -> int | None:
        return self._guard.hub_gid if self._guard.own_uid == 0 else None

    def _ask_child(self, body: Callable[[socket.socket], None], keep: tuple[int, ...], done: Done) -> None:
        """Run `body` in a child; `done` gets its one report, or an error."""
        pid, sock = spawn(body, keep)
        answers: list[dict[str, Any]] = []

        def heard(message: dict[str, Any] | None) -> None:
            if message is not None:
                answers.append(message)
                return
            timer.cancel()
            done(answers[0] if answers else {"error": "failed", "message": "It took too long."})

        def give_up() -> None:
            kill_group(pid, signal.SIGKILL)
            self._loop.unwatch(sock)
            sock.close()
            heard(None)

        timer = self._loop.call_later(SETTLE_S, give_up)
        self._loop.on_exit(pid, lambda _status: None)
        watch_reports(self._loop, sock, heard)


class _Start:
    """One start, from the fork until the wrapper runs."""

    def __init__(self, owner: Jobs, job: StartJob, job_id: str, now: float, pid: int, done: Done) -> None:
        self._owner = owner
        self._job = job
        self._job_id = job_id
        self._now = now
        self._pid = pid
        self._done = done
        self._error: dict[str, Any] | None = None
        self._record: JobRecord | None = None
        self._timer: Timer | None = None

    def watch(self, sock: socket.socket) -> None:
        """Follow the child."""
        self._timer = self._owner.loop.call_later(SETTLE_S, lambda: self._give_up(sock))
        self._owner.loop.on_exit(self._pid, lambda _status: None)
        watch_reports(self._owner.loop, sock, lambda message: self._heard(sock, message))

    def _heard(self, sock: socket.socket, message: dict[str, Any] | None) -> None:
        if message is None:
            self._finish()
        elif "error" in message:
            self._error = message
        elif self._error is None:
            try:
                self._record = self._owner.record(self._job, self._job_id, self._now, self._pid, message)
                sock.send(b'{"go":1}')
            except OSError as error:
                reason = f"The job could not be written down: {error.strerror}"
                self._error = {"error": "failed", "message": reason}
                kill_group(self._pid, signal.SIGKILL)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._owner.settle(self._job.tag)
        if self._error is None and self._record is None:
            self._error = {"error": "failed", "message": "The job could not be started."}
        if self._error is not None:
            self._owner.abandon(self._job_id)
            self._done(self._error)
        elif self._record is not None:
            self._done(asdict(self._record))

    def _give_up(self, sock: socket.socket) -> None:
        # It waits for a directory service or a home directory. Killed, or with its socket closed where even that
        # has to wait, it never runs the script.
        self._error = {"error": "failed", "message": "The user's home directory does not answer."}
        kill_group(self._pid, signal.SIGKILL)
        self._owner.loop.unwatch(sock)
        sock.close()
        self._finish()


def _run_wrapper(
    sock: socket.socket, account: Account, job: StartJob, job_id: str, fds: tuple[int, int]
) -> None:
    """In the child: be the user, wait until the record is written, be the wrapper."""
    adopt_orphans()
    become_account(account)
    null = os.open(os.devnull, os.O_RDWR)
    log = _open_log(job.log_path.replace("%j", job_id), null)
    report(sock, {"uid": account.uid, "gid": account.gid})
    sock.setblocking(True)
    if not sock.recv(64):
        os._exit(1)  # the helper ended: no record, no job
    # First above all targets, so that no copy overwrites one that is still to be copied.
    script, status = (_move_up(fd) for fd in fds)
    for source, target in ((null, 0), (log, 1), (log, 2), (script, _SCRIPT_FD), (status, _STATUS_FD)):
        os.dup2(source, target)
    env = account.environment() | {"MINIHUB_JOB_ID": job_id}
    argv = [_SHELL, "-c", WRAPPER, "minihub-job", f"{job.limit_s:.0f}", str(TERM_GRACE_S)]
    os.execve(_SHELL, argv, env)  # noqa: S606 - the constant above


def _move_up(fd: int) -> int:
    import fcntl  # noqa: PLC0415 - in the child only

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)


def _open_log(path: str, fallback: int) -> int:
    """Open the log as the user. A full quota must lock nobody out, a pipe in its place must not hang the start."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(path, flags, 0o600)
    except OSError:
        fd = fallback
    os.set_blocking(fd, True)
    return _move_up(fd)
