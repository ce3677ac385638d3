"""Slurm's commands as argv. Pure. Every word is verified before it becomes part of an argument.

Nothing here ever passes through a shell, and all values ride behind "--option=", so that none can be taken for an
option; the patterns keep out what Slurm itself would read as more than one value (commas, percent signs, brackets).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from minihub.errors import ConfigError, OptionsError
from minihub.schedulers.base import JobRequest

Argv = tuple[str, ...]

_PATTERNS = {
    "account": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=:-]{0,127}", re.ASCII),
    "qos": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=:-]{0,127}", re.ASCII),
    "partition": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}", re.ASCII),
    "reservation": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=:-]{0,127}", re.ASCII),
    "gpu_type": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}", re.ASCII),
}
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@+-]{0,255}\$?", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_JOB_ID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
# It starts with a sign that it does not hold again: text that ends like its beginning then shifts nothing.
_SEPARATOR = re.compile(r"<[A-Za-z0-9]{8,64}>", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOG_PERCENT = re.compile(r"%(?!j)")
MAX_COUNT = 1_000_000
MAX_MEMORY_MIB = 1 << 40

LISTING_FIXED = ("%A", "%u", "%T", "%N", "%V", "%S", "%e", "%P", "%a")
"""Fields without free text: job id, user, state, nodes, submitted, starts, ends, partition, account."""
LISTING_FREE = ("%r", "%j", "%k")
"""Reason, name and comment: other people's text, which may hold anything, newlines too."""
NODE_FIELDS = "%R|%T|%c|%m|%G|%C|%D"
USER_FIELDS = "user,defaultaccount,adminlevel,cluster,account,partition,qos,defaultqos,maxwall,maxtres,maxtrespernode,grptres"
ACCOUNT_FIELDS = "cluster,account,user,parentname,partition,maxwall,maxtres,maxtrespernode,grptres"
QOS_FIELDS = "name,maxwall,maxtres,maxtrespernode,maxtresperuser,grptres"
ENDING_FIELDS = "jobid,user,state,exitcode,elapsed,maxrss,nodelist"


def verify_word(option: str, value: str) -> str:
    """Return `value` if it may stand for `option` (account, qos, partition, reservation, gpu_type).

    Raises:
        OptionsError: It holds a character that no such name has.
    """
    if _PATTERNS[option].fullmatch(value) is None:
        raise OptionsError({option: "This name holds characters that Slurm does not use."})
    return value


def verify_user(name: str) -> str:
    """Return `name` if it looks like a Unix user.

    Raises:
        OptionsError: It does not.
    """
    if _USER.fullmatch(name) is None:
        raise OptionsError({"": "This is no user name."})
    return name


def verify_job_id(job_id: str) -> str:
    """Return `job_id` if it is one job's number.

    Raises:
        OptionsError: It is not.
    """
    if _JOB_ID.fullmatch(job_id) is None:
        raise OptionsError({"": "This is no job id."})
    return job_id


def verify_tag(tag: str) -> str:
    """Return `tag` if it may be a job's name and comment.

    Raises:
        OptionsError: It may not.
    """
    if _TAG.fullmatch(tag) is None:
        raise OptionsError({"": "This is no tag."})
    return tag


def verify_path(path: str) -> str:
    """Return `path` if it is absolute and without control characters.

    Raises:
        OptionsError: It is not.
    """
    if not path.startswith("/") or _CONTROL.search(path):
        raise OptionsError({"": "A path must be absolute and without control characters."})
    return path


def verify_log_path(path: str) -> str:
    """Return `path` if Slurm would replace nothing in it but %j.

    Raises:
        OptionsError: It is no absolute path, or holds another pattern (or a backslash, which switches patterns off).
    """
    if _LOG_PERCENT.search(path) or "\\" in path:
        raise OptionsError({"": "The path of the log may hold %j and no other pattern."})
    return verify_path(path)


def verify_count(option: str, value: int, *, least: int = 1, most: int = MAX_COUNT) -> int:
    """Return `value` if it is a whole number from `least` to `most`.

    Raises:
        OptionsError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OptionsError({option: f"This must be a whole number, {least} or more."})
    return value


def verify_extra_args(extra_args: Iterable[str]) -> Argv:
    """Return the site's own sbatch arguments if each is one long option.

    Raises:
        ConfigError: One is not, or holds control characters.
    """
    checked = tuple(extra_args)
    for arg in checked:
        if not re.match(r"--[a-z]", arg) or _CONTROL.search(arg):
            raise ConfigError(f"slurm.extra_args: {arg[:60]!r} is not of the form --option=value.")
    return checked


def build_sbatch(request: JobRequest, *, extra_args: Sequence[str] = (), test_only: bool = False) -> Argv:
    """Build the submission; the script goes to stdin. With `test_only` Slurm only says when it would start.

    --export=ALL: NONE, NIL and lists all make Slurm load the login environment on the node.

    Raises:
        OptionsError: A word or number of the request is not of its kind.
    """
    argv = ["sbatch", "--parsable", *(["--test-only"] if test_only else []), "--export=ALL"]
    argv += ["--nodes=1", "--ntasks=1", f"--cpus-per-task={verify_count('cores', request.cores)}"]
    argv.append(f"--mem={verify_count('memory_mb', request.memory_mib, most=MAX_MEMORY_MIB)}M")
    argv.append(f"--time={_minutes(request)}")
    for option in ("account", "partition", "qos", "reservation"):
        value = getattr(request, option)
        if value is not None:
            argv.append(f"--{option}={verify_word(option, value)}")
    if verify_count("gpu_count", request.gpu_count, least=0):
        kind = f"{verify_word('gpu_type', request.gpu_type)}:" if request.gpu_type else ""
        argv.append(f"--gres=gpu:{kind}{request.gpu_count}")
    tag = verify_tag(request.tag)
    argv += ["--no-requeue", f"--chdir={verify_path(request.home)}"]
    argv += [f"--output={verify_log_path(request.log_path)}", f"--job-name={tag}", f"--comment={tag}"]
    return (*argv, *verify_extra_args(extra_args))


def _minutes(request: JobRequest) -> int:
    """The time limit in whole minutes, Slurm's own grain, rounded up."""
    minutes = math.ceil(request.time_limit.total_seconds() / 60)
    return verify_count("time_hours", minutes, most=MAX_COUNT * 60)


def build_squeue(separator: str) -> Argv:
    """Build the listing of all jobs.

    `separator` is random and new for every listing: it starts each line and encloses each field of free text, so that
    no name or comment, whatever it holds, can look like a line or a field. It is no secret from those who watch the
    process list, therefore `parse_listing` also refuses a listing that names a job twice.

    The heading stays on: an answer without it is no listing, and "no jobs" differs from "no answer". --all also lists
    hidden partitions, --local keeps a federation's other clusters out. TZ=UTC makes times unambiguous.
    """
    if _SEPARATOR.fullmatch(separator) is None:
        raise OptionsError({"": "This is no separator."})
    free = separator.join(LISTING_FREE)
    line = f"{separator}{'|'.join(LISTING_FIXED)}{separator}{free}{separator}"
    return ("env", "TZ=UTC", "squeue", "--all", "--local", "--states=all", "-o", line)


def build_scancel(job_id: str, user: str) -> Argv:
    """Build the cancel of one job, if it is `user`'s: an id that Slurm gave away anew hits nobody else."""
    return ("scancel", f"--user={verify_user(user)}", verify_job_id(job_id))


def build_sacct(job_id: str) -> Argv:
    """Build the question how a job ended, to accounting."""
    return ("sacct", "-n", "-P", f"--jobs={verify_job_id(job_id)}", f"--format={ENDING_FIELDS}")


def build_show_job(job_id: str) -> Argv:
    """Build the question how a job ended, to the controller, which remembers for MinJobAge."""
    return ("scontrol", "show", "job", verify_job_id(job_id))


def build_show_config() -> Argv:
    """Build the question for slurm.conf as it is in effect (PrivateData, accounting, cluster name)."""
    return ("scontrol", "show", "config")


def build_show_partitions() -> Argv:
    """Build the question for all partitions, those included that are closed to the asker."""
    return ("scontrol", "--all", "--oneliner", "show", "partition")


def build_show_reservations() -> Argv:
    """Build the question for all reservations."""
    return ("scontrol", "--all", "--oneliner", "show", "reservation")


def build_sinfo() -> Argv:
    """Build the question for node sizes, GRES and idle cores per partition; --exact never merges unlike nodes."""
    return ("sinfo", "--all", "--exact", "--noheader", "-o", NODE_FIELDS)


def build_show_user(user: str) -> Argv:
    """Build the question for one user's associations; sacctmgr shows inherited per-job limits in them."""
    name = verify_user(user)
    return ("sacctmgr", "-n", "-P", "show", "user", name, "withassoc", f"format={USER_FIELDS}")


def build_show_accounts() -> Argv:
    """Build the question for the limits of accounts themselves (an association without a user)."""
    return ("sacctmgr", "-n", "-P", "show", "assoc", "where", "user=", f"format={ACCOUNT_FIELDS}")


def build_show_qos() -> Argv:
    """Build the question for each QOS's limits."""
    return ("sacctmgr", "-n", "-P", "show", "qos", f"format={QOS_FIELDS}")


def build_tail(path: str, max_bytes: int) -> Argv:
    """Build the reading of a log's end."""
    return ("tail", "-c", str(verify_count("", max_bytes, most=1 << 30)), "--", verify_path(path))


def build_user_name(uid: int) -> Argv:
    """Build the question for a uid's name where the commands run."""
    return ("id", "-n", "-u", str(verify_count("", uid, least=0, most=1 << 32)))
