"""Giving up root, with no way back. Touches this process's own rights and environment."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from collections.abc import Sequence

from minihub.errors import ConfigError

# Source: prctl(2), linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def become(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Be this user for good; without root, only check that this is who we are.

    Raises:
        OSError: The kernel refuses.
        PermissionError: We are somebody else, or root could be had back.
    """
    if os.geteuid() == 0:
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        if os.getresgid() != (gid, gid, gid):
            msg = "the group did not change"
            raise PermissionError(msg)
    if os.getresuid() != (uid, uid, uid):
        msg = "the user did not change"
        raise PermissionError(msg)
    if uid != 0 and _can_be_root():
        msg = "root could be had back"
        raise PermissionError(msg)


def drop_to(user: str) -> None:
    """Make this process run as `user`, with all of its groups, for good.

    Also: umask 077, no core dumps and no tracing by that user's other processes, HOME, USER and LOGNAME set.
    Started as an ordinary user, it is a check that `user` is that user.

    Raises:
        ConfigError: No such user, root itself, or the rights to become him are missing.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"hub.run_as: there is no user {user} on this machine") from None
    if entry.pw_uid == 0:
        raise ConfigError("hub.run_as: what listens to the network must not run as root")
    if os.geteuid() not in (0, entry.pw_uid):
        raise ConfigError(f"hub.run_as: only root can run the hub as {user}")
    try:
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid) if os.geteuid() == 0 else []
        become(entry.pw_uid, entry.pw_gid, groups)
        forbid_tracing()
    except OSError as error:
        raise ConfigError(f"hub.run_as: cannot become {user}: {error.strerror or error}") from error
    os.umask(0o077)
    os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)


def forbid_tracing() -> None:
    """No core dump of this process, and no look into its memory by others of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """Be killed when the parent ends, even by kill -9."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end; kept across exec."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _can_be_root() -> bool:
    try:
        os.setuid(0)
    except PermissionError:
        return False
    return True
