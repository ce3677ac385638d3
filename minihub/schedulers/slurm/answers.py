"""What sbatch and scancel answered, and what a failed command of Slurm means. Pure.

The question behind each error text is not "what went wrong?" but "can there be a job now?". The client says "connect
failure" when it never got through; "timed out" and "receive failure" come after the request was sent.
"""

from __future__ import annotations

import re
from datetime import UTC, tzinfo

from minihub.errors import SchedulerError, SchedulerUnavailable, SubmitDoubtful, SubmitRejected
from minihub.schedulers.base import Estimate
from minihub.schedulers.slurm.reasons import explain_refusal
from minihub.schedulers.slurm.values import not_understood, parse_timestamp
from minihub.transports.base import CommandResult

SILENT = "Slurm does not answer right now."

_PARSABLE = re.compile(r"([1-9][0-9]{0,9})(;[^;\s]+)?", re.ASCII)
_START = re.compile(r"Job \d+ to start at (\S+) using .*", re.ASCII)
_SAYS_NO = re.compile(r"^(?:sbatch: (?:error|fatal): .+|allocation failure: .+)$", re.MULTILINE)
_PREFIX = re.compile(
    r"^(?:sbatch: )?(?:error: |fatal: )?(?:Batch job submission failed: |allocation failure: )?"
)

_SENT = (
    "timed out on send/recv",
    "socket timed out",
    "zero bytes were transmitted or received",
    "receive failure",
    "send failure",
    "shutdown failure",
    "unexpected message received",
    "munge decode failed",
    "unspecified error",
    "header lengths are longer than data received",
    "insane message length",
    "incompatible versions of client and server code",
)
"""The request may have reached the controller."""

_NOT_SENT = (
    "connect failure",
    "connection refused",
    "no route to host",
    "munge encode failed",
    "unable to process configuration file",
    "could not establish a configuration source",
    "failed to fetch config",
    "unable to resolve",
    "unable to establish controller machine",
    "primary slurmctld",
    "controller is in standby mode",
    "configuration file doesn't exist",
    "s_p_parse_file: cannot stat file",
)
"""The request did not get out of the client, or the controller was not there to take it."""

_EITHER = ("protocol authentication error", "temporarily unable to accept job")
"""Said of requests that were sent and of those that were not: it depends on what stands beside it."""

_NO_COMMAND = (126, 127)
"""What env(1), timeout(1) and shells exit with where a program cannot be executed, or is not there."""

_GONE = ("invalid job id", "already completing or completed", "job/step already completing")
"""What scancel says where there is nothing left to cancel."""


def last_words(stderr: str) -> str:
    """The last line of an error text that says something, for the log and the admin."""
    lines = [line.strip() for line in stderr.split("\n") if line.strip()]
    return lines[-1][:300] if lines else ""


def _mentions(stderr: str, texts: tuple[str, ...]) -> bool:
    low = stderr.lower()
    return any(text in low for text in texts)


def parse_submitted(result: CommandResult, settle_s: float = 15) -> str:
    """Parse sbatch's answer into a job id.

    Args:
        result: How sbatch ended.
        settle_s: How long slurmctld may still chew on a request whose client is gone.

    Raises:
        SubmitRejected: There is certainly no job: Slurm refused this request.
        SchedulerUnavailable: There is certainly no job: nobody could be asked.
        SubmitDoubtful: There may be one.
    """
    lines = [line.strip() for line in result.stdout.split("\n") if line.strip()]
    match = _PARSABLE.fullmatch(lines[-1]) if lines else None
    if result.exit_status == 0 and match is not None:
        return match[1]
    if result.exit_status == 0 or match is not None or _killed(result.exit_status):
        raise _doubtful(result, settle_s)
    raise _explain(result, settle_s)


def _killed(exit_status: int) -> bool:
    """Ended by a signal or by timeout(1): sbatch may have done its work before."""
    return exit_status == 124 or 128 < exit_status <= 192  # 255 is sbatch's own, for options it cannot read


def _doubtful(result: CommandResult, settle_s: float) -> SubmitDoubtful:
    detail = f"sbatch ended with {result.exit_status}: {last_words(result.stderr)}"
    return SubmitDoubtful("Slurm did not say whether it took the job.", detail, settles_after_s=settle_s)


def _explain(result: CommandResult, settle_s: float = 0) -> SchedulerError:
    """Why sbatch failed; only texts that prove it make it anything but doubtful."""
    words = last_words(result.stderr)
    if _mentions(result.stderr, _SENT):
        return _doubtful(result, settle_s)
    if result.exit_status in _NO_COMMAND:
        return _no_command("sbatch", result)
    if _mentions(result.stderr, _NOT_SENT):
        return SchedulerUnavailable(SILENT, f"sbatch ended with {result.exit_status}: {words}")
    if _mentions(result.stderr, _EITHER):
        return _doubtful(result, settle_s)
    said = _SAYS_NO.findall(result.stderr)
    if said:
        plain = explain_refusal(result.stderr)
        own = _PREFIX.sub("", said[-1])[:300]
        return SubmitRejected(plain or f"Slurm refused the job: {own}", own)
    return _doubtful(result, settle_s)


def _no_command(program: str, result: CommandResult) -> SchedulerUnavailable:
    return SchedulerUnavailable(
        f"There is no working {program} command on the cluster's login node.",
        f"{program} ended with {result.exit_status}: {last_words(result.stderr)}; is slurm.bin_dir right?",
    )


def parse_estimate(result: CommandResult, tz: tzinfo = UTC) -> Estimate:
    """Parse the answer of sbatch --test-only; `tz` is where it ran.

    Raises:
        SubmitRejected: It would be refused.
        SchedulerUnavailable: Nobody answers (with --test-only there is never a job, so nothing is doubtful).
        OutputNotUnderstood: Neither.
    """
    if result.exit_status != 0:
        error = _explain(result)
        if isinstance(error, SubmitDoubtful):
            raise SchedulerUnavailable(SILENT, error.detail)
        raise error
    for line in result.stderr.split("\n"):
        text = line.strip().removeprefix("sbatch: ")
        match = _START.fullmatch(text)
        if match is not None:
            return Estimate(parse_timestamp(match[1], tz), text)
    raise not_understood("estimate", result.stderr)


def verify_cancelled(result: CommandResult) -> None:
    """Check that scancel was heard. Nothing left to cancel is no error.

    Raises:
        SchedulerUnavailable: It was not, or was not allowed: try another way or again.
    """
    if result.exit_status != 0 and not _mentions(result.stderr, _GONE):
        detail = f"scancel ended with {result.exit_status}: {last_words(result.stderr)}"
        raise SchedulerUnavailable("Slurm did not take the cancel.", detail)


def verify_answered(result: CommandResult, program: str) -> str:
    """Return stdout of a command that only asks.

    Raises:
        SchedulerUnavailable: It failed.
    """
    if result.exit_status in _NO_COMMAND:
        raise _no_command(program, result)
    if result.exit_status != 0:
        detail = f"{program} ended with {result.exit_status}: {last_words(result.stderr)}"
        raise SchedulerUnavailable(SILENT, detail)
    return result.stdout
