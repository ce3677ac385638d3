"""Children of the helper: forked, then their user for good, before anything of the user's is touched.

Whatever may hang (a directory service, a home directory on a dead file server, a PAM module) is done in a child, which
reports over a socket of its own and can be killed. The helper's loop never waits for it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pwd
import selectors
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from minihub.helper import rules
from minihub.helper.loop import Loop
from minihub.helper.privileges import become, forbid_tracing
from minihub.helper.rules import Refused

MAX_REPORT = 65536
SAFE_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

# A child that ends with this status has reported why.
EXIT_REPORTED = 120


@dataclass(frozen=True, slots=True)
class Guard:
    """Whom the helper acts for; fixed when it is configured."""

    uid_min: int
    own_uid: int
    hub_uid: int
    hub_gid: int

    def check(self, uid: int) -> None:
        """Raise Refused where `uid` is not to be acted for."""
        rules.check_uid(uid, uid_min=self.uid_min, own_uid=self.own_uid, hub_uid=self.hub_uid)


@dataclass(frozen=True, slots=True)
class Account:
    """One user as the system knows him."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    def environment(self) -> dict[str, str]:
        """The whole environment of a program of his: nothing of ours goes in."""
        return {
            "PATH": SAFE_PATH,
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell or "/bin/sh",
            "LANG": "C.UTF-8",
        }


def look_up(name: str, guard: Guard) -> Account:
    """Ask the system for a user. May hang: in children only.

    Raises:
        Refused: Unknown, not the canonical form, or not to be acted for.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        msg = f"There is no user {name} on this machine."
        raise Refused(msg) from None
    if entry.pw_name != name:
        msg = "not the canonical name"
        raise Refused(msg)
    guard.check(entry.pw_uid)
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)) if guard.own_uid == 0 else ()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_shell)


def become_account(account: Account) -> None:
    """Be `account` for good, in its home directory if it can be entered."""
    become(account.uid, account.gid, account.groups)
    forbid_tracing()  # until exec the memory is a copy of the helper's
    os.umask(0o077)
    try:
        os.chdir(account.home)
    except OSError:
        os.chdir("/")


def spawn(body: Callable[[socket.socket], None], keep: Iterable[int] = ()) -> tuple[int, socket.socket]:
    """Fork a child that runs `body(its end)` and ends; return its pid and our end.

    The child has the file descriptors 0, 1, 2 and `keep`, no signal handlers, a session and process group of its
    own. What `body` raises is reported as {"error": ...}: a Refused with its text, anything else without.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        its.close()
        ours.setblocking(False)
        return pid, ours
    try:
        gc.disable()
        _forget_signals()
        os.setsid()
        close_all_but({0, 1, 2, its.fileno(), *keep})
        body(its)
    except Refused as refusal:
        report(its, {"error": "refused", "message": str(refusal)})
    except OSError as error:
        report(its, {"error": "failed", "message": error.strerror or type(error).__name__})
    except BaseException as error:  # noqa: BLE001 - its text could hold a secret; its kind cannot
        report(its, {"error": "failed", "message": type(error).__name__})
    finally:
        os._exit(EXIT_REPORTED)


def report(sock: socket.socket, message: dict[str, Any]) -> None:
    """Send one message over a child's socket; nobody listening is no error."""
    with contextlib.suppress(OSError):
        sock.send(json.dumps(message).encode())


def read_report(sock: socket.socket) -> dict[str, Any] | None:
    """One message of a child, None at its end.

    Raises:
        BlockingIOError: Nothing there yet.
    """
    try:
        data = sock.recv(MAX_REPORT)
    except ConnectionError:
        return None
    if not data:
        return None
    message = json.loads(data)
    return message if isinstance(message, dict) else None


def watch_reports(loop: Loop, sock: socket.socket, callback: Callable[[dict[str, Any] | None], None]) -> None:
    """Call `callback` for each message of a child, and with None (once, socket closed) at its end."""

    def ready() -> None:
        try:
            message = read_report(sock)
        except BlockingIOError:
            return
        if message is None:
            loop.unwatch(sock)
            sock.close()
        callback(message)

    loop.watch(sock, selectors.EVENT_READ, ready)


def kill_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a child that is not reaped yet and to its group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, number)


def close_all_but(keep: set[int]) -> None:
    """Close every other file descriptor: those of other questions, and above all the hub's socket."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, not paths
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def memory_file(name: str, content: bytes) -> int:
    """A file that is nowhere on disk, read from its beginning: stdin that needs no feeding."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
