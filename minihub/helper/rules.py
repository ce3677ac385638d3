"""What the helper lets itself be asked. Pure.

The hub listens to the network, so the helper believes nothing it says: every name, argument and number is checked here
before a process is started for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAMS = frozenset({"sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "tail"})
"""The only programs that `run` starts."""

MAX_NAME = 256
MAX_PASSWORD = 4096
MAX_ARGV_BYTES = 100_000
MAX_PATH = 4096

# What a name may hold to be safe as a path segment, in a URL and in a Slurm command. Dots, "@" and "+" occur with
# directory services. A first "-" would be read as an option, a first "." hides or climbs.
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,128}")
_JOB_ID = re.compile(r"[0-9]{1,12}-[0-9]{1,9}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# "nobody", and what -1 becomes in 16 and 32 bits.
_NOBODY = frozenset({65534, 65535, 2**32 - 2, 2**32 - 1})


class Refused(Exception):
    """The helper does not do this. The text may be shown to the user and holds no secret."""


def is_user_name(name: str) -> bool:
    """Whether `name` may be a canonical user name here."""
    return _USER.fullmatch(name) is not None and not name.isdigit()


def check_user(name: Any) -> str:
    """A user name as the hub gives it: canonical form only."""
    if not isinstance(name, str) or not is_user_name(name):
        msg = "not a user name"
        raise Refused(msg)
    return name


def is_login_name(name: Any) -> bool:
    """Whether a typed name is worth asking PAM about; no trimming, no folding: another form is another name."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= MAX_NAME
        and name == name.strip()
        and not _CONTROL.search(name)
        and _is_encodable(name)
    )


def is_password(password: Any) -> bool:
    """Whether a password can be right at all."""
    return (
        isinstance(password, str)
        and 0 < len(password) <= MAX_PASSWORD
        and "\0" not in password
        and _is_encodable(password)
    )


def check_uid(uid: int, *, uid_min: int, own_uid: int, hub_uid: int) -> None:
    """Whether the helper, which runs as `own_uid`, may act as `uid`.

    Raises:
        Refused: root, a system account, the hub's own account; without root anybody else than oneself.
    """
    if own_uid != 0:
        if uid != own_uid:
            msg = "The hub runs without root and can start programs only as the user who started it."
            raise Refused(msg)
        return
    if uid == 0:
        msg = "root cannot use this hub."
        raise Refused(msg)
    if uid < uid_min or uid in _NOBODY:
        msg = "System accounts cannot use this hub."
        raise Refused(msg)
    if uid == hub_uid:
        msg = "The hub's own account cannot use the hub."
        raise Refused(msg)


def check_argv(argv: Any) -> list[str]:
    """A command of the fixed list, its arguments plain lines."""
    if not isinstance(argv, list) or not argv or not all(isinstance(arg, str) for arg in argv):
        msg = "not a command"
        raise Refused(msg)
    if argv[0] not in PROGRAMS:
        msg = "not one of the programs that the helper runs"
        raise Refused(msg)
    if any(_CONTROL.search(arg) or not _is_encodable(arg) for arg in argv):
        msg = "an argument holds control characters"
        raise Refused(msg)
    if sum(len(arg) + 1 for arg in argv) > MAX_ARGV_BYTES:
        msg = "the command is too long"
        raise Refused(msg)
    return argv


def check_tag(tag: Any) -> str:
    """The public name of an attempt."""
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        msg = "not a tag"
        raise Refused(msg)
    return tag


def check_job_id(job_id: Any) -> str:
    """An id that `build_job_id` made."""
    if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
        msg = "not a job id"
        raise Refused(msg)
    return job_id


def build_job_id(now: float, number: int) -> str:
    """A job id: wall second and a counter."""
    return f"{int(now)}-{number}"


def check_path(path: Any) -> str:
    """An absolute path that the user himself will open."""
    if not isinstance(path, str) or not path.startswith("/") or len(path) > MAX_PATH:
        msg = "not an absolute path"
        raise Refused(msg)
    if _CONTROL.search(path) or not _is_encodable(path):
        msg = "the path holds control characters"
        raise Refused(msg)
    return path


def check_text(value: Any, what: str, max_length: int) -> str:
    """Any text of bounded length that has a UTF-8 form."""
    if not isinstance(value, str) or len(value) > max_length or not _is_encodable(value):
        msg = f"{what}: not a text, or too long"
        raise Refused(msg)
    return value


def check_seconds(value: Any, what: str, at_most: float) -> float:
    """A positive number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= at_most:
        msg = f"{what}: not a number of seconds"
        raise Refused(msg)
    return float(value)


def socket_path(runtime_dir: Path, user: str, tag: str) -> Path:
    """Where the server of `tag` listens. Short: a unix socket's path has at most 107 bytes."""
    return runtime_dir / "users" / check_user(user) / socket_name(tag)


def socket_name(tag: str) -> str:
    """The socket's name in the user's directory: the attempt's own part of the tag."""
    return check_tag(tag).rpartition("-")[2] + ".sock"


def parse_uid_min(login_defs: str) -> int:
    """UID_MIN of login.defs(5), the least uid of ordinary users; 1000 where it is not set."""
    for line in login_defs.splitlines():
        words: Sequence[str] = line.split("#", 1)[0].split()
        if len(words) == 2 and words[0] == "UID_MIN" and words[1].isdigit():
            return max(int(words[1]), 1)
    return 1000


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
