"""Which job in a listing belongs to which attempt. Pure.

A name or comment can be set by anybody on his own jobs, so neither proves anything alone: a job is ours only if its
owner, as the scheduler reports it, is the attempt's user. Once the id is known, identity is job id + owner + submit
time; the tag is the second way for requeued jobs, whose submit time changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from minihub.schedulers.base import Job
from minihub.servers.model import Attempt

_ATTEMPT_ID = re.compile(r"[0-9a-f]{12}")
_ANY_TAG = re.compile(r"minihub-[0-9a-f]{8}-[0-9a-f]{12}")


def build_tag(hub_id: str, attempt_id: str) -> str:
    """The public name of an attempt."""
    return f"minihub-{hub_id}-{attempt_id}"


def parse_tag(name: str, hub_id: str) -> str | None:
    """The attempt id in a job's name if it carries this hub's tag, else None."""
    prefix = build_tag(hub_id, "")
    rest = name.removeprefix(prefix)
    return rest if name.startswith(prefix) and _ATTEMPT_ID.fullmatch(rest) else None


def is_foreign(name: str, hub_id: str) -> bool:
    """Whether a job's name is the tag of another hub, or of this one before its state was emptied."""
    # Most jobs' names are neither: this runs for every job of the cluster.
    return name.startswith("minihub-") and bool(_ANY_TAG.fullmatch(name)) and parse_tag(name, hub_id) is None


def is_job_of(job: Job, attempt: Attempt) -> bool:
    """Whether `job` is the one of `attempt`."""
    if job.user != attempt.user:
        return False
    if attempt.job_id is None:
        return job.name == attempt.tag
    if job.id != attempt.job_id:
        return False
    # An id may be used again after the scheduler's own state was lost.
    return attempt.submitted_at is None or job.submitted_at == attempt.submitted_at or job.name == attempt.tag


def find_job(attempt: Attempt, by_id: dict[str, Job], by_name: dict[str, list[Job]]) -> Job | None:
    """The attempt's job in an indexed listing, None if it is not there."""
    if attempt.job_id is not None:
        job = by_id.get(attempt.job_id)
        return job if job is not None and is_job_of(job, attempt) else None
    return next((job for job in by_name.get(attempt.tag, []) if is_job_of(job, attempt)), None)


def index_jobs(jobs: Iterable[Job], hub_id: str) -> tuple[dict[str, Job], dict[str, list[Job]]]:
    """Index a listing by job id and, for jobs with this hub's tag, by name."""
    by_id: dict[str, Job] = {}
    by_name: dict[str, list[Job]] = {}
    prefix = build_tag(hub_id, "")
    for job in jobs:
        by_id[job.id] = job
        if job.name.startswith(prefix):
            by_name.setdefault(job.name, []).append(job)
    return by_id, by_name
