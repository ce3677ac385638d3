"""Stand-ins that implement our protocols: scripted, exact, fast. The real things have tests of their own."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

from minihub.errors import SchedulerUnavailable, StoreError
from minihub.schedulers.base import (
    Association,
    Endpoint,
    Estimate,
    GpuType,
    Job,
    JobEnding,
    JobPhase,
    Limits,
    Listing,
    Partition,
)

LIMITS = Limits(
    partitions=(
        Partition("compute", default=True, max_time=timedelta(hours=8), max_cores=8, max_memory_mib=16000),
        Partition(
            "gpu",
            max_time=timedelta(hours=4),
            max_cores=8,
            max_memory_mib=16000,
            gpus=(GpuType("v100", 2),),
            allow_accounts=("rrg-b",),
        ),
        Partition("closed", up=False, max_cores=8, max_memory_mib=16000),
    ),
    associations=(
        Association("rrg-b", qos=("normal", "high"), max_time=timedelta(hours=6)),
        Association("def-a", qos=("normal",), max_cores=4, max_memory_mib=8000, default=True),
    ),
)


class FakeScheduler:
    """Jobs change only as the test says."""

    name = "fake"

    def __init__(self, clock):
        self.clock = clock
        self.jobs: dict[str, Job] = {}
        self.submitted = []
        self.cancelled = []
        self.submit_error = None
        self.submit_gate = None
        """An asyncio.Event that submit waits for."""
        self.listing_error = None
        self.cancel_error = None
        self.cancel_works = True
        self.endings: dict[str, JobEnding] = {}
        self.logs: dict[str, str] = {}
        self.limits_error = None
        self.sees_all_users = True
        self.hidden = False
        """Listings are good, but lack every job."""
        self.tells_of_one_job = True
        self.listings = 0
        self._ids = itertools.count(1)

    async def start(self):
        pass

    async def close(self):
        pass

    async def warm(self, user):
        pass

    async def submit(self, request):
        self.submitted.append(request)
        if self.submit_gate is not None:
            await self.submit_gate.wait()
        if self.submit_error is not None:
            raise self.submit_error
        return self.add_job(request.user, request.tag)

    def add_job(self, user, name, phase=JobPhase.WAITING, state="PENDING", **more):
        job_id = str(next(self._ids))
        self.jobs[job_id] = Job(job_id, user, name, state, phase, submitted_at=self.clock.wall(), **more)
        return job_id

    def change(self, job_id, phase, state, **more):
        old = self.jobs[job_id]
        values = {name: getattr(old, name) for name in Job.__slots__}
        self.jobs[job_id] = Job(**{**values, "phase": phase, "state": state, **more})

    def run_all(self, node="n1"):
        for job_id in self.jobs:
            self.change(job_id, JobPhase.RUNNING, "RUNNING", node=node)

    async def cancel(self, user, job_id):
        self.cancelled.append((user, job_id))
        if self.cancel_error is not None:
            raise self.cancel_error
        if self.cancel_works:
            self.jobs.pop(job_id, None)

    async def list_jobs(self):
        self.listings += 1
        asked_at = self.clock.wall()
        if self.listing_error is not None:
            raise self.listing_error
        return Listing(asked_at, 0.0, () if self.hidden else tuple(self.jobs.values()), self.sees_all_users)

    async def lives(self, user, job_id):
        return job_id in self.jobs if self.tells_of_one_job else None

    async def ending(self, user, job_id):
        return self.endings.get(job_id)

    async def log_tail(self, user, path, *, max_bytes=16384):
        return self.logs.get(path, "")

    async def limits(self, user):
        if self.limits_error is not None:
            raise self.limits_error
        return LIMITS

    async def estimate(self, request):
        return Estimate(self.clock.wall() + 60)

    def socket_path(self, user, tag):
        return None

    def endpoint(self, job, port):
        return Endpoint(host=job.node, port=port) if job.node and port else None


class FakeStore:
    """Rows in a dictionary; can be told to fail."""

    def __init__(self):
        self.rows = {}
        self.options = {}
        self.broken = False
        self.saves = 0
        self.together = None
        """A barrier: nothing is written before so many wait for it."""

    async def save(self, row):
        await asyncio.sleep(0)
        if self.together is not None:
            await self.together.wait()
        if self.broken:
            raise StoreError(None, "disk full")
        self.saves += 1
        self.rows[row.id] = row

    async def get(self, attempt_id):
        return self.rows.get(attempt_id)

    async def newest_per_user(self):
        newest = {}
        for row in sorted(self.rows.values(), key=lambda r: r.created_at):
            newest[row.user] = row
        return list(newest.values())

    async def history(self, user, limit, offset):
        rows = [r for r in self.rows.values() if user in (None, r.user)]
        return sorted(rows, key=lambda r: -r.created_at)[offset : offset + limit]

    async def last_options(self, user):
        return self.options.get(user)

    async def set_last_options(self, user, options):
        self.options[user] = options


class FakeProver:
    """Answers as the test says."""

    def __init__(self):
        self.error = None
        self.asked = []

    async def verify(self, route):
        self.asked.append(route)
        if self.error is not None:
            raise self.error


OUTAGE = SchedulerUnavailable("slurmctld does not answer.")


async def until(condition, timeout_s=8):
    """Wait until `condition()` is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)
