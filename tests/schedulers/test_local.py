"""The embedded scheduler: on a scripted helper for its decisions, on the real one for the whole way."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from minihub.clock import ManualClock, SystemClock
from minihub.config import Settings, parse_settings
from minihub.errors import ConnectionLost, HelperError, SchedulerUnavailable, SubmitDoubtful, SubmitRejected
from minihub.helper.client import LocalJob, RunResult
from minihub.schedulers.base import Endpoint, Job, JobPhase, JobRequest
from minihub.schedulers.local import LocalScheduler, final_state
from tests.helper.machine import all_gone

NOW = 1_800_000_000.0
REQUEST = JobRequest(
    user="mh-alice",
    home="/home/mh-alice",
    tag="minihub-ab12-0123456789ab",
    script="sleep 300",
    time_limit=timedelta(minutes=10),
    cores=1,
    memory_mib=256,
)


def job_of(**changes):
    own = LocalJob("1-1", "alice", 1001, "minihub-ab12-0123456789ab", NOW - 100, 600, "/home/alice/log")
    return replace(own, **changes)


class ScriptedHelper:
    """Has jobs, notes what is asked of it."""

    def __init__(self):
        self.known = [job_of()]
        self.asked = []
        self.error = None
        self.first_asked = NOW
        self.result = RunResult(0, "the end\n", "", 0.0)

    def note(self, *what):
        self.asked.append(what)
        if self.error:
            raise self.error

    async def start_job(self, **wanted):
        self.note("start", wanted)
        return job_of(user=wanted["user"], tag=wanted["tag"])

    async def jobs(self):
        if self.error:
            raise self.error
        return tuple(self.known)

    async def kill_job(self, job_id, *, force=False, cause="cancel"):
        self.note("kill", job_id, force, cause)
        return self.first_asked

    async def forget_job(self, job_id):
        self.note("forget", job_id)

    async def prepare(self, user):
        self.note("prepare", user)
        return 1001, "/home/alice"

    async def run(self, argv, *, user, stdin=b"", timeout_s):
        self.note("run", tuple(argv), user)
        return self.result


@pytest.fixture
def helper():
    return ScriptedHelper()


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def scheduler(helper, clock):
    return LocalScheduler(Settings(), helper, clock, Path("/run/minihub"))


async def test_a_listing_shows_what_runs(scheduler):
    listing = await scheduler.list_jobs()
    assert listing.sees_all_users
    [job] = listing.jobs
    assert (job.id, job.user, job.name, job.state, job.phase) == (
        "1-1",
        "alice",
        "minihub-ab12-0123456789ab",
        "RUNNING",
        JobPhase.RUNNING,
    )
    assert (job.submitted_at, job.ends_at) == (NOW - 100, NOW + 500)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"exit": "0"}, "COMPLETED"),
        ({"exit": "1"}, "FAILED"),
        ({"exit": ""}, "FAILED"),
        ({"exit": "124", "ended_at": NOW + 500}, "TIMEOUT"),
        ({"exit": "124", "ended_at": NOW + 499.99}, "TIMEOUT"),
        ({"exit": "137", "ended_at": NOW + 510}, "TIMEOUT"),
        ({"exit": "124"}, "FAILED"),
        ({"exit": "0", "cancel_cause": "cancel"}, "CANCELLED"),
        ({"exit": "", "cancel_cause": "cancel"}, "CANCELLED"),
        ({"exit": "", "cancel_cause": "time_limit"}, "TIMEOUT"),
        ({"exit": "", "same_boot": False}, "NODE_FAIL"),
    ],
)
async def test_how_a_job_ended(scheduler, helper, changes, state):
    helper.known = [job_of(**{"alive": False, "ended_at": NOW - 5, **changes})]
    assert final_state(helper.known[0]) == state
    [job] = (await scheduler.list_jobs()).jobs
    assert (job.state, job.phase) == (state, JobPhase.ENDED)
    ending = await scheduler.ending("alice", "1-1")
    assert ending.state == state
    assert ending.exit_status == (int(changes["exit"]) if changes["exit"] else None)


async def test_nobody_knows_the_ending_of_what_runs_or_never_was(scheduler, helper):
    assert await scheduler.ending("alice", "1-1") is None
    assert await scheduler.ending("alice", "9-9") is None
    helper.known = [job_of(alive=False, ended_at=NOW)]
    assert await scheduler.ending("bob", "1-1") is None
    helper.error = HelperError("gone")
    assert await scheduler.ending("alice", "1-1") is None


async def test_cancelling_asks_first_and_forces_later(scheduler, helper, clock):
    await scheduler.cancel("alice", "1-1")
    assert helper.asked == [("kill", "1-1", False, "cancel")]
    clock.advance(10)
    await scheduler.cancel("alice", "1-1")
    assert helper.asked[1:] == [("kill", "1-1", False, "cancel"), ("kill", "1-1", True, "cancel")]


async def test_a_listing_forces_the_end_of_what_does_not_heed_it(scheduler, helper, clock):
    helper.known = [job_of(cancelled_at=NOW, cancel_cause="cancel")]
    [job] = (await scheduler.list_jobs()).jobs
    assert (job.state, job.phase, helper.asked) == ("COMPLETING", JobPhase.ENDING, [])
    clock.advance(10)
    await scheduler.list_jobs()
    assert helper.asked == [("kill", "1-1", True, "cancel")]


async def test_a_listing_ends_what_outlived_its_time_limit(scheduler, helper, clock):
    clock.advance(514)
    await scheduler.list_jobs()
    assert helper.asked == []
    clock.advance(2)
    await scheduler.list_jobs()
    assert helper.asked == [("kill", "1-1", False, "time_limit")]


async def test_what_ended_long_ago_is_forgotten(scheduler, helper, clock):
    helper.known = [job_of(alive=False, exit="0", ended_at=NOW)]
    clock.advance(300)
    await scheduler.list_jobs()
    assert helper.asked == []
    clock.advance(1)
    assert len((await scheduler.list_jobs()).jobs) == 1
    assert helper.asked == [("forget", "1-1")]


async def test_trouble_with_tidying_does_not_spoil_the_listing(scheduler, helper, clock, monkeypatch):
    async def fail(job_id, **_):
        raise HelperError("no")

    monkeypatch.setattr(helper, "kill_job", fail)
    clock.advance(1000)
    assert len((await scheduler.list_jobs()).jobs) == 1


@pytest.mark.parametrize("error", [HelperError("gone"), ConnectionLost("gone")])
async def test_a_silent_helper_concludes_nothing(scheduler, helper, error):
    helper.error = error
    with pytest.raises(SchedulerUnavailable):
        await scheduler.list_jobs()
    with pytest.raises(SchedulerUnavailable):
        await scheduler.cancel("alice", "1-1")
    with pytest.raises(SchedulerUnavailable):
        await scheduler.start()
    assert await scheduler.log_tail("alice", "/x") == ""
    await scheduler.warm("alice")


async def test_submitting(scheduler, helper):
    assert await scheduler.submit(REQUEST) == "1-1"
    [(_, wanted)] = helper.asked
    assert wanted == {
        "user": "mh-alice",
        "tag": REQUEST.tag,
        "script": "sleep 300",
        "log_path": "/dev/null",
        "limit_s": 600,
    }
    helper.error = HelperError("System accounts cannot use this hub.")
    with pytest.raises(SubmitRejected, match="System accounts"):
        await scheduler.submit(REQUEST)
    helper.error = ConnectionLost("gone")
    with pytest.raises(SubmitDoubtful) as caught:
        await scheduler.submit(REQUEST)
    assert caught.value.settles_after_s > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu_count": 1}, "GPU"),
        ({"cores": 100_000}, "cores"),
        ({"memory_mib": 10**9}, "memory"),
        ({"time_limit": timedelta(hours=25)}, "24 hours"),
        ({"tag": "../x"}, "tag"),
        ({"user": "../x"}, "user"),
        ({"tag": "m-" + "x" * 100}, "too long"),
    ],
)
async def test_what_this_machine_does_not_have(scheduler, helper, changes, words):
    for ask in (scheduler.submit, scheduler.estimate):
        with pytest.raises(SubmitRejected, match=words):
            await ask(replace(REQUEST, **changes))
    assert helper.asked == []


async def test_limits_are_the_machines_and_the_settings():
    helper, clock = ScriptedHelper(), ManualClock(NOW)
    settings = parse_settings({"local": {"max_cores": 1, "max_memory_mb": 512, "max_time_hours": 2}})
    limits = await LocalScheduler(settings, helper, clock, Path("/run")).limits("alice")
    assert not limits.uses_accounts
    assert limits.max_time == timedelta(hours=2)
    [machine] = limits.partitions
    assert (machine.default, machine.max_cores, machine.max_memory_mib, machine.gpus) == (True, 1, 512, ())
    [whole] = (await LocalScheduler(Settings(), helper, clock, Path("/run")).limits("alice")).partitions
    assert whole.max_cores >= 1
    assert whole.max_memory_mib > 512


async def test_a_log_is_read_by_the_user(scheduler, helper):
    assert await scheduler.log_tail("alice", "/home/alice/log", max_bytes=99) == "the end\n"
    assert helper.asked == [("run", ("tail", "-c", "99", "--", "/home/alice/log"), "alice")]
    helper.result = RunResult(1, "", "no such file", 0.0)
    assert await scheduler.log_tail("alice", "/x") == ""


async def test_an_endpoint_is_known_once_reported_or_seen(helper, clock, tmp_path):
    short = Path("/tmp") / f"mh-{time.time_ns():x}"
    (short / "users/alice").mkdir(parents=True)
    scheduler = LocalScheduler(Settings(), helper, clock, short)
    job = Job("1-1", "alice", REQUEST.tag, "RUNNING", JobPhase.RUNNING)
    path = scheduler.socket_path("alice", REQUEST.tag)
    expected = Endpoint(path=str(path), uid=1001)
    try:
        assert scheduler.endpoint(job, 0) is None  # nobody knows yet whose it is
        await scheduler.list_jobs()
        assert scheduler.endpoint(job, None) is None
        assert scheduler.endpoint(job, 0) == expected
        path.touch()
        assert scheduler.endpoint(job, None) is None
        path.unlink()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
        assert scheduler.endpoint(job, None) == expected
        assert scheduler.endpoint(replace(job, phase=JobPhase.ENDED), 0) is None
    finally:
        subprocess.run(["rm", "-r", short], check=True)


@pytest.mark.real
class TestRealHelper:
    """The whole way, with processes of real users."""

    async def phases(self, scheduler, job_id, wanted, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while True:
            job = next(j for j in (await scheduler.list_jobs()).jobs if j.id == job_id)
            if job.phase is wanted:
                return job
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.05)

    @pytest.fixture
    def request_for(self, machine):
        def build(script, **changes):
            tag = f"minihub-ab12-{time.time_ns() % 16**12:012x}"
            log = str(machine.base / "home/mh-alice/.minihub-%j.log")
            return replace(REQUEST, tag=tag, script=script, log_path=log, **changes)

        return build

    async def test_from_start_to_end(self, machine, start_helper, request_for):
        scheduler = LocalScheduler(Settings(), await start_helper(), SystemClock(), machine.runtime_dir)
        await scheduler.start()
        await scheduler.warm("mh-alice")
        request = request_for("echo hello from the job\nsleep 300\n")
        job_id = await scheduler.submit(request)
        await self.phases(scheduler, job_id, JobPhase.RUNNING)
        log = request.log_path.replace("%j", job_id)
        while "hello from the job" not in await scheduler.log_tail("mh-alice", log):
            await asyncio.sleep(0.05)
        assert await scheduler.log_tail("mh-user1", log) == ""
        await scheduler.cancel("mh-alice", job_id)
        job = await self.phases(scheduler, job_id, JobPhase.ENDED)
        assert job.state == "CANCELLED"
        await all_gone(machine)
        assert (await scheduler.ending("mh-alice", job_id)).cancelled_by == "mh-alice"
        await scheduler.cancel("mh-alice", job_id)

    async def test_a_job_outlives_hub_and_helper_and_is_adopted(self, machine, start_helper, request_for):
        first = await start_helper()
        job_id = await LocalScheduler(Settings(), first, SystemClock(), machine.runtime_dir).submit(
            request_for("sleep 300")
        )
        await first.close()
        scheduler = LocalScheduler(Settings(), await start_helper(), SystemClock(), machine.runtime_dir)
        await scheduler.start()
        job = await self.phases(scheduler, job_id, JobPhase.RUNNING)
        assert scheduler.endpoint(job, 0).uid == machine.uid()
        await scheduler.cancel("mh-alice", job_id)
        await self.phases(scheduler, job_id, JobPhase.ENDED)

    async def test_the_time_limit(self, machine, start_helper, request_for):
        scheduler = LocalScheduler(Settings(), await start_helper(), SystemClock(), machine.runtime_dir)
        job_id = await scheduler.submit(request_for("sleep 300", time_limit=timedelta(seconds=1)))
        assert (await self.phases(scheduler, job_id, JobPhase.ENDED)).state == "TIMEOUT"

    async def test_a_server_on_its_socket_is_the_hubs_to_reach_and_nobody_elses(
        self, machine, start_helper, request_for
    ):
        scheduler = LocalScheduler(Settings(), await start_helper(), SystemClock(), machine.runtime_dir)
        request = request_for("")
        path = scheduler.socket_path("mh-alice", request.tag)
        serve = (
            "import os, socket; s = socket.socket(socket.AF_UNIX); "
            f"s.bind('{path}'); os.chmod('{path}', 0o660); s.listen(); s.accept()[0].sendall(b'hi')"
        )
        job_id = await scheduler.submit(replace(request, script=f'/usr/bin/python3 -c "{serve}"\n'))
        job = await self.phases(scheduler, job_id, JobPhase.RUNNING)
        while scheduler.endpoint(job, None) is None:
            await asyncio.sleep(0.05)
        reach = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{path}'); print(s.recv(9))"

        def connect(uid):
            who = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
            run = machine.enter([*who, sys.executable, "-c", reach], stdout=-1, stderr=-1)
            return run.communicate(timeout=60)[0]

        assert connect(machine.uid(1)) == b""
        assert connect(machine.hub_uid) == b"b'hi'\n"
        await self.phases(scheduler, job_id, JobPhase.ENDED)
