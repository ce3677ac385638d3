"""Whole answers of squeue, sacct and scontrol. Pure. What cannot be read raises; nothing is ever half read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from minihub.schedulers.base import Job, JobEnding, JobPhase
from minihub.schedulers.slurm.answers import verify_answered
from minihub.schedulers.slurm.commands import LISTING_FIXED, LISTING_FREE
from minihub.schedulers.slurm.reasons import explain_reason, never_starts, phase_of
from minihub.schedulers.slurm.values import (
    expand_nodes,
    not_understood,
    parse_memory_mib,
    parse_time_limit,
    parse_timestamp,
)
from minihub.transports.base import CommandResult

_HEADING = (
    "JOBID",
    "USER",
    "STATE",
    "NODELIST",
    "SUBMIT_TIME",
    "START_TIME",
    "END_TIME",
    "PARTITION",
    "ACCOUNT",
)
_PER_LINE = len(LISTING_FREE) + 2  # the fixed fields, each free one, and the line's end
_NO_REASON = frozenset({"", "None", "(null)", "N/A"})
_OOM = 125
"""No signal: what Slurm writes in place of one where a cgroup's memory ran out (SIG_OOM; seen with 22.05)."""
_CANCELLED_BY = re.compile(r"CANCELLED by (\d{1,10})", re.ASCII)
_PAIR = re.compile(r"(\d{1,4}):(\d{1,4})", re.ASCII)


def parse_listing(result: CommandResult, separator: str) -> tuple[Job, ...]:
    """Parse the answer to `commands.build_squeue(separator)` as a whole.

    Raises:
        SchedulerUnavailable: squeue failed.
        OutputNotUnderstood: It is not a heading and whole lines from beginning to end, or a job stands in it twice.
    """
    parts = verify_answered(result, "squeue").split(separator)
    # Before the first separator there is nothing, or the noise of a start-up file. After the last one there is the
    # line's end: a listing that was cut anywhere else lacks it.
    if (
        len(parts) <= _PER_LINE
        or (len(parts) - 1) % _PER_LINE
        or any(p != "\n" for p in parts[_PER_LINE::_PER_LINE])
    ):
        raise not_understood("squeue", separator.join(parts)[-200:])
    lines = [parts[n : n + _PER_LINE] for n in range(1, len(parts), _PER_LINE)]
    if tuple(lines[0][0].split("|")) != _HEADING:
        raise not_understood("squeue's heading", lines[0][0])
    jobs = tuple(_parse_line(line) for line in lines[1:])
    if len({job.id for job in jobs}) != len(jobs):
        raise not_understood("squeue", "a job is listed twice")
    return jobs


def _parse_line(line: list[str]) -> Job:
    fields = line[0].split("|")
    if len(fields) != len(LISTING_FIXED) or not fields[0].isdecimal():
        raise not_understood("squeue's line", line[0])
    job_id, user, state, nodes, submitted, starts, ends, partition, account = fields
    reason, name, comment = line[1 : 1 + len(LISTING_FREE)]
    phase = phase_of(state)
    names = expand_nodes(nodes)
    reason = "" if reason in _NO_REASON else reason
    return Job(
        id=job_id,
        user=user,
        name=name,
        state=state,
        phase=phase,
        reason=reason,
        reason_words=explain_reason(reason),
        hopeless=phase is JobPhase.WAITING and never_starts(reason),
        node=names[0] if len(names) == 1 else None,
        comment="" if comment == "(null)" else comment,
        submitted_at=parse_timestamp(submitted),
        started_at=parse_timestamp(starts),
        ends_at=parse_timestamp(ends) if phase in (JobPhase.RUNNING, JobPhase.ENDING) else None,
        partition=partition,
        account="" if account == "(null)" else account,
    )


def parse_sacct(result: CommandResult, job_id: str, user: str) -> JobEnding | None:
    """Parse the answer to `commands.build_sacct`.

    Returns:
        The ending; None if accounting does not know the job, or does not know (yet) that it ended.
        `cancelled_by` is a uid here.

    Raises:
        SchedulerUnavailable, OutputNotUnderstood: sacct failed, or cannot be read.
    """
    ending: JobEnding | None = None
    peaks: list[int] = []
    for line in verify_answered(result, "sacct").split("\n"):
        if not line:
            continue
        fields = line.split("|")
        if len(fields) != 7:
            raise not_understood("sacct's line", line)
        step, owner, state, exit_code, elapsed, peak, nodes = fields
        if step == job_id:
            if owner != user:
                return None  # the id was given away anew
            ending = _ending(state, exit_code, elapsed, nodes)
            if ending is None:
                return None
        elif step.startswith(f"{job_id}.") and (mib := parse_memory_mib(peak)) is not None:
            peaks.append(mib)
    if ending is None:
        return None
    return replace(ending, max_memory_mib=max(peaks, default=0) or None)


def _ending(state: str, exit_code: str, elapsed: str, nodes: str) -> JobEnding | None:
    match = _CANCELLED_BY.fullmatch(state)
    word = state.split(" ", 1)[0].rstrip("+")
    if phase_of(word) is not JobPhase.ENDED:
        return None
    pair = _PAIR.fullmatch(exit_code)
    if pair is None:
        raise not_understood("exit code", exit_code)
    limit = parse_time_limit(elapsed) if elapsed else None
    names = expand_nodes(nodes)
    return JobEnding(
        state=word,
        exit_status=int(pair[1]),
        signal=signal if 0 < (signal := int(pair[2])) != _OOM else None,
        elapsed_s=None if limit is None else limit.total_seconds(),
        cancelled_by=match[1] if match else None,
        node=names[0] if len(names) == 1 else None,
    )


def parse_show_job(result: CommandResult, user: str) -> JobEnding | None:
    """Parse the answer to `commands.build_show_job`; as `parse_sacct`, without peaks and without who cancelled."""
    if result.exit_status != 0 and "invalid job id" in (result.stderr + result.stdout).lower():
        return None
    text = verify_answered(result, "scontrol")
    if _field(text, "UserId").partition("(")[0] != user:
        return None
    return _ending(
        _field(text, "JobState"), _field(text, "ExitCode"), _field(text, "RunTime"), _field(text, "NodeList")
    )


def parse_lives(result: CommandResult, user: str) -> bool:
    """Parse the answer to `commands.build_show_job`: whether `user`'s job is there and has not ended.

    A state that we do not know counts as alive.

    Raises:
        SchedulerUnavailable: scontrol failed.
    """
    if result.exit_status != 0 and "invalid job id" in (result.stderr + result.stdout).lower():
        return False
    text = verify_answered(result, "scontrol")
    if _field(text, "UserId").partition("(")[0] != user:
        return False
    return phase_of(_field(text, "JobState")) not in (JobPhase.ENDED, JobPhase.ENDING)


def _field(text: str, key: str) -> str:
    """The word after " key=" on a line that Slurm indents; "" if there is none."""
    match = re.search(rf"^   (?:\S+ )*?{key}=(\S*)", text, re.MULTILINE)
    return match[1] if match else ""


def parse_config(result: CommandResult) -> Mapping[str, str]:
    """Parse `scontrol show config` into a table; keys as Slurm spells them.

    Raises:
        SchedulerUnavailable, OutputNotUnderstood: It failed, or is no configuration.
    """
    table = {}
    for line in verify_answered(result, "scontrol").split("\n"):
        key, equals, value = line.partition(" = ")
        if equals and not key.startswith(" "):
            table[key.strip()] = value.strip()
    if "ClusterName" not in table or "PrivateData" not in table:
        raise not_understood("scontrol show config", result.stdout)
    return table
