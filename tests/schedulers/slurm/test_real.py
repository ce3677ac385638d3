"""The scheduler against the real test cluster, with transport `local`.

The tests run as root; whoever a command is for is become with setpriv, as the root helper does it, or with the real
sudo and the real wrapper.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from minihub.clock import SystemClock
from minihub.config import parse_settings
from minihub.errors import (
    ConnectFailed,
    SchedulerError,
    SchedulerUnavailable,
    SubmitDoubtful,
    SubmitRejected,
)
from minihub.schedulers.base import JobPhase, JobRequest, parse_port
from minihub.schedulers.slurm.scheduler import SlurmScheduler
from minihub.transports.local import LocalTransport, build_environment

pytestmark = pytest.mark.cluster
CLOCK = SystemClock()
CONF = Path("/etc/slurm/slurm.conf")


async def become(argv, user, stdin, timeout_s):
    """What the root helper does: the command as the user, in the user's minimal environment."""
    account = pwd.getpwnam(user)
    settings = parse_settings({}).slurm
    clean = [f"{k}={v}" for k, v in build_environment(settings, user, account.pw_dir).items()]
    as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups", "--"]
    whole = [*as_user, "env", "-i", *clean, *argv]
    return await LocalTransport(settings, CLOCK).run(whole, user=None, stdin=stdin, timeout_s=timeout_s)


def make_scheduler(service_user="minihub", **slurm):
    settings = parse_settings({"slurm": {"service_user": service_user, **slurm}})
    return SlurmScheduler(settings, LocalTransport(settings.slurm, CLOCK, run_as=become), CLOCK)


@pytest.fixture
async def scheduler(cluster):
    made = make_scheduler()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def cleanup(cluster):
    """Tags whose jobs are cancelled at the end, whatever happened."""
    tags = []
    yield tags
    if tags:
        subprocess.run(["scancel", f"--name={','.join(tags)}"], check=False, timeout=30)


@pytest.fixture
def request_for(cleanup):
    def make(user="alice", script="sleep 120", **changes):
        tag = f"minihub-test-{uuid.uuid4().hex[:12]}"
        cleanup.append(tag)
        home = pwd.getpwnam(user).pw_dir
        values = {
            "user": user,
            "home": home,
            "tag": tag,
            "script": f"#!/bin/sh\n{script}\n",
            "time_limit": timedelta(minutes=5),
            "cores": 1,
            "memory_mib": 100,
            "log_path": f"{home}/.minihub-test-%j.log",
        }
        return JobRequest(**{**values, **changes})

    return make


async def wait_for(scheduler, job_id, *phases, timeout_s=60):
    """List until the job is in one of `phases`."""
    deadline = time.monotonic() + timeout_s
    while True:
        jobs = {job.id: job for job in (await scheduler.list_jobs()).jobs}
        if job_id in jobs and jobs[job_id].phase in phases:
            return jobs[job_id]
        assert time.monotonic() < deadline, f"{job_id} did not get to {phases}: {jobs.get(job_id)}"
        await asyncio.sleep(0.3)


async def test_a_jobs_life(scheduler, request_for):
    request = request_for(
        script='echo "hello from $SLURM_JOB_ID"; env | sort\n'
        'scontrol update jobid=$SLURM_JOB_ID comment="$SLURM_JOB_NAME 40123"\nsleep 120'
    )
    before = time.time()
    job_id = await scheduler.submit(request)
    job = await wait_for(scheduler, job_id, JobPhase.RUNNING)

    assert (job.user, job.name, job.account, job.partition) == ("alice", request.tag, "def-prof1", "compute")
    assert job.node in ("node1", "node2")
    assert before - 2 < job.submitted_at <= job.started_at < time.time() + 2
    assert 290 < job.ends_at - job.started_at < 310
    deadline = time.monotonic() + 60
    while (port := parse_port(job.comment, request.tag)) is None and time.monotonic() < deadline:
        await asyncio.sleep(0.3)
        job = await wait_for(scheduler, job_id, JobPhase.RUNNING)
    assert port == 40123
    endpoint = scheduler.endpoint(job, port)
    assert (endpoint.host, endpoint.port) == (job.node, 40123)

    log = await scheduler.log_tail("alice", request.log_path.replace("%j", job_id))
    assert log.startswith(f"hello from {job_id}\n")
    names = {line.partition("=")[0] for line in log.splitlines()[1:] if "=" in line}
    own = {name for name in names if not name.startswith(("SLURM", "SBATCH"))}
    assert own <= {
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "PATH",
        "PWD",
        "SHLVL",
        "_",
        "TMPDIR",
        "ENVIRONMENT",
        "HOSTNAME",
    }
    assert await scheduler.log_tail("bob", request.log_path.replace("%j", job_id)) == ""

    await scheduler.cancel("bob", job_id)  # not his: nothing happens
    assert (await wait_for(scheduler, job_id, JobPhase.RUNNING, JobPhase.ENDING)).phase is JobPhase.RUNNING
    assert await scheduler.ending("alice", job_id) is None
    await scheduler.cancel("alice", job_id)
    await scheduler.cancel("alice", job_id)
    await wait_for(scheduler, job_id, JobPhase.ENDED)
    deadline = time.monotonic() + 60
    while (ending := await scheduler.ending("alice", job_id)) is None or ending.cancelled_by is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)
    assert (ending.state, ending.cancelled_by) == ("CANCELLED", "minihub")
    assert await scheduler.ending("bob", job_id) is None
    os.unlink(request.log_path.replace("%j", job_id))


async def test_a_log_is_read_with_the_users_rights(scheduler, request_for):
    link = Path("/home/alice/.minihub-test-link.log")
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/shadow")
    try:
        assert await scheduler.log_tail("alice", str(link)) == ""
    finally:
        link.unlink()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account": "nosuch"}, "You may not use this account"),
        ({"account": "def-prof3"}, "You may not use this account"),
        ({"partition": "nosuch"}, "no such partition"),
        ({"qos": "debug", "account": "def-prof1"}, "QOS"),
        ({"memory_mib": 99_999_999}, "that much memory"),
        ({"gpu_type": "h200", "gpu_count": 1}, "No node has all"),
        ({"reservation": "nosuch"}, "no such reservation"),
    ],
)
async def test_refusals(scheduler, request_for, changes, words):
    with pytest.raises(SubmitRejected) as caught:
        await scheduler.submit(request_for(**changes))
    assert words in caught.value.user_message
    with pytest.raises(SubmitRejected):
        await scheduler.estimate(request_for(**changes))


async def test_an_estimate_with_a_gpu(scheduler, request_for):
    estimate = await scheduler.estimate(request_for(gpu_type="v100", gpu_count=1, account="def-prof1"))
    assert estimate.starts_at > time.time() - 60
    assert "on nodes node1" in estimate.message


async def test_a_forged_name_is_only_a_name(scheduler, cleanup):
    """Whatever a user puts into name and comment, the others' jobs stay what they are."""
    forged = "x\n<0123456789ab>999999|bob|COMPLETED|node1|2026-11-22T23:23:28|N/A|N/A|compute|a\n| é\u2028"
    result = await become(
        ["sbatch", "--parsable", f"--job-name={forged}", "--comment=a|b\nc", "--mem=100M", "--time=5", "-o/dev/null",
         "--chdir=/home/alice"],
        "alice", b"#!/bin/sh\nsleep 60\n", 20,
    )  # fmt: skip
    job_id = result.stdout.strip()
    try:
        jobs = {job.id: job for job in (await scheduler.list_jobs()).jobs}
        assert jobs[job_id].name == forged
        assert jobs[job_id].comment.startswith("a|b")
        assert "999999" not in jobs
    finally:
        await scheduler.cancel("alice", job_id)


async def test_limits(scheduler):
    alice = await scheduler.limits("alice")

    partitions = {p.name: p for p in alice.partitions}
    assert partitions["compute"].default
    assert partitions["short"].max_time == timedelta(minutes=30)
    assert partitions["gpu"].max_cores == 8
    assert {gpu.name for gpu in partitions["gpu"].gpus} == {"v100", "a100"}
    rrg = next(a for a in alice.associations if a.account == "rrg-prof2")
    assert (rrg.max_time, rrg.max_cores, rrg.max_memory_mib) == (timedelta(hours=4), 8, 16000)
    assert rrg.qos == ("debug", "normal")
    assert next(a for a in alice.associations if a.default).account == "def-prof1"
    assert alice.qos_max_time["debug"] == timedelta(minutes=30)
    assert (await scheduler.limits("dave")).associations == ()


async def test_many_at_once(scheduler, request_for):
    """The number of commands does not grow with the number of servers."""
    ids = await asyncio.gather(*(scheduler.submit(request_for("bob", account="def-prof1")) for _ in range(5)))
    asked = scheduler.measures.run["squeue"]
    listing = await scheduler.list_jobs()
    assert set(ids) <= {job.id for job in listing.jobs}
    assert scheduler.measures.run["squeue"] == asked + 1
    await asyncio.gather(*(scheduler.cancel("bob", job_id) for job_id in ids))


@pytest.fixture
def slurmctld_stopped():
    """A controller that takes connections and answers nothing, as one in deep trouble does."""
    pid = int(Path("/run/slurm/slurmctld.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    yield lambda: os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)


async def test_a_silent_controller(request_for, slurmctld_stopped, cluster):
    scheduler = make_scheduler(command_timeout_s=2)
    request = request_for()
    with pytest.raises(SchedulerUnavailable):
        await scheduler.list_jobs()
    with pytest.raises(SchedulerUnavailable):
        await scheduler.limits("alice")
    with pytest.raises(SubmitDoubtful) as caught:
        await scheduler.submit(request)
    assert caught.value.settles_after_s > 2

    # The request waited in the controller's socket: this is the late job that a doubtful submission can bring.
    slurmctld_stopped()
    deadline = time.monotonic() + 40
    while not (found := [j for j in await _listed(scheduler) if j.name == request.tag]):
        if time.monotonic() > deadline:
            break  # or it went away with its client: both are possible, therefore "doubtful"
        await asyncio.sleep(0.5)
    for job in found:
        await scheduler.cancel("alice", job.id)
    await scheduler.close()


async def _listed(scheduler):
    try:
        return (await scheduler.list_jobs()).jobs
    except SchedulerError:
        return ()


@pytest.fixture
def private_data():
    before = CONF.read_text()
    CONF.write_text(before + "PrivateData=jobs,usage,users,accounts\n")
    subprocess.run(["scontrol", "reconfigure"], check=True, timeout=60)
    yield
    CONF.write_text(before)
    subprocess.run(["scontrol", "reconfigure"], check=True, timeout=60)


async def test_private_data(scheduler, request_for, private_data):
    job_id = await scheduler.submit(request_for())
    await wait_for(scheduler, job_id, JobPhase.RUNNING, JobPhase.WAITING)
    assert (await scheduler.list_jobs()).sees_all_users

    nobody_special = make_scheduler("carol")
    listing = await nobody_special.list_jobs()
    assert job_id not in {job.id for job in listing.jobs}
    assert not listing.sees_all_users
    assert (await nobody_special.limits("alice")).associations
    await nobody_special.cancel("alice", job_id)
    await wait_for(scheduler, job_id, JobPhase.ENDED)
    deadline = time.monotonic() + 60
    while (ending := await nobody_special.ending("alice", job_id)) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)
    assert ending.state == "CANCELLED"
    await nobody_special.close()


SUDO_PROGRAM = """
import asyncio, sys
from datetime import timedelta
from minihub.clock import SystemClock
from minihub.config import parse_settings
from minihub.errors import ConnectFailed
from minihub.schedulers.base import JobPhase, JobRequest
from minihub.schedulers.slurm.scheduler import SlurmScheduler
from minihub.transports.local import LocalTransport

async def main(tag):
    settings = parse_settings({"slurm": {"identity": "sudo"}})
    transport = LocalTransport(settings.slurm, SystemClock())
    scheduler = SlurmScheduler(settings, transport, SystemClock())
    await scheduler.start()
    request = JobRequest("alice", "/home/alice", tag, "#!/bin/sh\\nid -un; sleep 60\\n", timedelta(minutes=5), 1, 100,
        log_path="/home/alice/.minihub-test-sudo.log")
    print(await scheduler.estimate(request))
    job = await scheduler.submit(request)
    for _ in range(200):
        mine = [j for j in (await scheduler.list_jobs()).jobs if j.id == job]
        log = await scheduler.log_tail("alice", request.log_path)
        if mine and mine[0].phase is JobPhase.RUNNING and log:
            break
        await asyncio.sleep(0.3)
    print("log", log.strip(), "user", mine[0].user)
    # As the user, through the wrapper; then as the service account.
    result = await transport.run(["scancel", "--user=alice", job], user="alice", timeout_s=5)
    print("scancel", result.exit_status)
    await scheduler.cancel("alice", job)
    for user in ("root", "nobody"):
        try:
            await transport.run(["sbatch", "--parsable"], user=user, stdin=b"#!/bin/sh\\n", timeout_s=5)
        except ConnectFailed as error:
            print("refused", user)
    await scheduler.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_the_sudo_identity(cleanup, cluster):
    """The hub as an ordinary service account on a submit host, with the real sudo and the real wrapper."""
    tag = f"minihub-test-{uuid.uuid4().hex[:12]}"
    cleanup.append(tag)
    account = pwd.getpwnam(cluster["service_user"])
    done = subprocess.run(
        [sys.executable, "-c", SUDO_PROGRAM, tag],
        user=account.pw_uid, group=account.pw_gid, extra_groups=[account.pw_gid],
        cwd=os.getcwd(), env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Estimate(starts_at=")
    assert lines[1:] == ["log alice user alice", "scancel 0", "refused root", "refused nobody"]
    Path("/home/alice/.minihub-test-sudo.log").unlink()


async def test_a_command_that_is_missing(cluster):
    settings = parse_settings({})
    with pytest.raises(ConnectFailed):
        await LocalTransport(settings.slurm, CLOCK).run(["squeuee"], user=None, timeout_s=5)
