"""What must hold when a hub was killed and the next one has come to rest. Pure: values in, sentences out."""

from __future__ import annotations

from collections import Counter

from tests.chaos.reading import AnyJob, Row, newest
from tests.chaos.scenarios import AT_REST, Facts, Scenario


def judge_records(rows: list[Row], jobs: list[AnyJob]) -> list[str]:
    """What holds at every moment, even while no hub runs."""
    known = {row.tag: row.user for row in rows}
    broken = [
        f"job {job.id} of {job.user} ({job.state}) is in no record"
        for job in jobs
        if known.get(job.tag) != job.user
    ]
    broken += [
        f"submitted {count} times: {tag}"
        for tag, count in Counter(job.tag for job in jobs).items()
        if count > 1
    ]
    for user, count in Counter(job.user for job in jobs if job.is_live).items():
        if count > 1:
            broken.append(f"{user} has {count} live jobs")
    for user, count in Counter(row.user for row in rows if row.live).items():
        if count > 1:
            broken.append(f"{user} has {count} live attempts")
    return broken


def judge_rest(facts: Facts, scenario: Scenario, rows: list[Row], jobs: list[AnyJob]) -> list[str]:
    """What holds for one user once his server is at rest again."""
    row = newest(rows, facts.user)
    mine = [job for job in jobs if job.user == facts.user]
    live = [job for job in mine if job.is_live]
    broken: list[str] = []
    if (row is None or row.id == facts.before) and "start" in facts.acknowledged:
        broken.append("the start was acknowledged and is forgotten")
    if row is None:
        return [*broken, *(f"job {job.id} lives and nobody knows it" for job in live)]
    if row.state not in AT_REST:
        return [*broken, f"never came to rest: {row.state}"]
    if row.state == "ready":
        if [job.id for job in live] != [row.job_id]:
            broken.append(f"ready with job {row.job_id}, but squeue has {[job.id for job in live]}")
    else:
        broken += [f"job {job.id} lives on after {row.state}" for job in live]
    if row.state == "failed" and not row.data["failure"]["message"]:
        broken.append("failed without a reason")
    return broken + _judge_wait(facts, scenario, row, any(job.tag == row.tag for job in jobs))


def _judge_wait(facts: Facts, scenario: Scenario, row: Row, had_job: bool) -> list[str]:
    """Was the wait resumed, or did it fail honestly?"""
    stops = {"stop", "logout"}
    if facts.acknowledged & stops:
        return [] if row.state != "ready" else ["the stop was acknowledged and the server runs on"]
    if facts.asked & stops and row.state == "stopped":
        return []
    if row.id == facts.before and scenario.starts:
        return []  # killed before the new one was written down, and nobody was told otherwise
    if row.failure == "doubtful":
        return ["failed as if there had been no job, but there was one"] if had_job else []
    return [] if (row.failure or row.state) == (scenario.ends or "ready") else [_odd(row)]


def _odd(row: Row) -> str:
    failure = row.data.get("failure") or {}
    return f"ended as {row.state} {row.failure or row.cause}: {failure.get('message', '')} {failure.get('reason', '')}".strip()
