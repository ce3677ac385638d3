"""What others name like ours, what records do not know, what listings do not show: nobody gains, nobody loses a job."""

from __future__ import annotations

import asyncio
import contextlib
import pwd
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.kit import PATIENCE_S, jobs, person, slurm
from tests.e2e.outages.conf import slurm_conf

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


def as_user(name: str, *argv: str, stdin: str = "") -> str:
    home = f"HOME=/home/{name}"
    become = ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "env", home]
    return slurm(*become, *argv, stdin=stdin)


@contextlib.contextmanager
def a_job_named(user: str, account: str, name: str, comment: str) -> Iterator[str]:
    """Somebody's own job, named as he likes."""
    words = ("-A", account, "-D", "/", "-o", "/dev/null", "-t", "10", "--mem=100")
    tag = (f"--job-name={name}", f"--comment={comment}")
    job = as_user(user, "sbatch", "--parsable", *words, *tag, stdin="#!/bin/sh\nsleep 600\n")
    try:
        yield job
    finally:
        slurm("scancel", job)


def is_there(job_id: str) -> bool:
    return slurm("squeue", "-h", "-j", job_id, "-t", "PD,R", "-o", "%A") == job_id


async def test_names_and_comments_like_ours(hub, alice, bob, carol, moods, undisturbed, page_says):
    [hers] = jobs(hub, "alice")
    async with undisturbed(alice):
        with a_job_named("bob", "def-prof1", hers.name, f"{hers.name} 22") as forged:
            await page_says(carol, "/hub/home", "unknown-jobs", f"<td>{forged}</td>")
            assert "unknown-jobs" not in (await alice.get("/hub/home"))[1]
            # It is not bob's server, and a stop of his stops nothing of hers.
            assert (await bob.server()).get("state") not in ("queued", "starting", "ready")
            # She rewrites her own job: another's tag, another's port.
            as_user("alice", "scontrol", "update", f"JobId={hers.id}", f"JobName={hers.name[:-1]}x")
            as_user("alice", "scontrol", "update", f"JobId={hers.id}", f"comment={hers.name} 22")
            await moods.wait_asked("squeue", 3)
            as_user("alice", "scontrol", "update", f"JobId={hers.id}", f"JobName={hers.name}")
            assert is_there(forged), "only its owner cancels it"


async def test_a_comment_that_points_at_anothers_server(hub, alice, carol, cluster, moods, undisturbed):
    """carol's job says that her Jupyter listens where alice's does."""
    hold = moods.folder / "hold-carol"
    hold.touch()
    [hers] = jobs(hub, "alice")
    port = jupyters_port(cluster, "alice", hers.node)
    try:
        async with undisturbed(alice):
            await carol.start(time_hours="0.5")
            await carol.wait_state("starting")
            [job] = jobs(hub, "carol")
            assert job.node == hers.node
            as_user("carol", "scontrol", "update", f"JobId={job.id}", f"comment={job.name} {port}")
            failed = await carol.wait_state("failed")
            assert failed["failure"]["kind"] == "unsafe"
            assert "is not your server" in failed["failure"]["reason"]
            status, _ = await carol.get("/user/carol/api/status", headers={"Accept": "*/*"})
            assert status == 424
            assert jobs(hub, "carol") == []
    finally:
        hold.unlink()


def jupyters_port(cluster, user: str, node: str) -> str:
    """Where a user's Jupyter listens."""
    uid = f"uid:{pwd.getpwnam(user).pw_uid} "
    sockets = [
        line.split() for line in cluster.output(["ss", "-Hltne"], host=node).splitlines() if uid in line
    ]
    [port] = {words[3].rpartition(":")[2] for words in sockets if not words[3].startswith("127.")}
    return port


@contextlib.contextmanager
def jobs_hidden() -> Iterator[None]:
    """PrivateData=jobs, and the service account is no Operator any more."""
    level = ("sacctmgr", "-i", "modify", "user", "minihub", "set")
    slurm(*level, "adminlevel=None")
    try:
        with slurm_conf("PrivateData=jobs"):
            yield
    finally:
        slurm(*level, "adminlevel=Operator")


async def test_a_listing_that_hides_others_jobs(hub, alice, bob, carol, moods, undisturbed, page_says):
    async with undisturbed(alice):
        with jobs_hidden():
            await page_says(bob, "/hub/spawn", 'id="problem"', "hides users&#39; jobs from the hub")
            await page_says(carol, "/hub/home", 'id="trouble"', "adminlevel=Operator")
            await moods.wait_asked("squeue", 4)
            status, _, _ = await bob.post("/hub/spawn", time_hours="0.5")
            assert status == 503
        async with asyncio.timeout(PATIENCE_S):
            while 'id="problem"' in (await bob.get("/hub/spawn"))[1]:
                await asyncio.sleep(0.1)


async def test_an_emptied_and_a_restored_store(hub, alice, carol, moods, passwords, page_says):
    before = await alice.server()
    state = hub.directory / "state"
    kept = hub.directory / "kept"
    hub.end()
    kept.mkdir()
    for file in state.glob("minihub.sqlite*"):
        file.rename(kept / file.name)
    hub.start()
    # Nobody is logged in, nobody has a server: the jobs are what is left.
    async with person(hub, "carol", passwords["carol"]) as admin:
        await page_says(admin, "/hub/home", "unknown-jobs", f"<td>{before['job']['id']}</td>")
        await moods.wait_asked("squeue", 3)
    assert is_there(before["job"]["id"])
    hub.end()
    for file in kept.iterdir():
        file.rename(state / file.name)
    shutil.rmtree(kept)
    hub.start()
    assert (await alice.server())["state"] == "ready"
    status, _ = await alice.get("/user/alice/api/status", headers={"Accept": "*/*"})
    assert status == 200


async def test_a_second_hub_on_the_same_cluster(hub, make_hub, alice, passwords, undisturbed, page_says):
    [hers] = jobs(hub, "alice")
    with make_hub(slurm={"listing_quiet_s": 0.2}) as second:
        second.start()
        async with undisturbed(alice):
            async with person(second, "carol", passwords["carol"]) as admin:
                await page_says(admin, "/hub/home", "unknown-jobs", f"<td>{hers.id}</td>")
            # The same user, there too: each hub starts and stops its own.
            async with person(second, "alice", passwords["alice"]) as elsewhere:
                await elsewhere.start(time_hours="0.5")
                await elsewhere.wait_state("starting", "ready")
                assert len(jobs(second, "alice")) == 1
                await elsewhere.stop()
            assert jobs(second) == []
