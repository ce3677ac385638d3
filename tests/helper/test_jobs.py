"""Local jobs: started as their user, found again, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from minihub.errors import HelperError
from tests.fakes import until
from tests.helper.machine import all_gone, processes_of

pytestmark = pytest.mark.real


@pytest.fixture
async def start_job(machine, start_helper):
    """`job = await start_job(script)`; what is left is killed at the end."""
    count = 0

    async def start(script, user="mh-alice", helper=None, limit_s=300, log="/dev/null"):
        nonlocal count
        count += 1
        helper = helper or await start_helper()
        tag = f"minihub-test-{time.time_ns():x}{count}"
        job = await helper.start_job(user=user, tag=tag, script=script, log_path=log, limit_s=limit_s)
        return helper, job

    yield start
    for pid in processes_of(machine):
        os.kill(pid, signal.SIGKILL)


async def job_of(helper, job_id):
    return next((job for job in await helper.jobs() if job.job_id == job_id), None)


async def ended(helper, job_id, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while (job := await job_of(helper, job_id)).alive:
        assert time.monotonic() < deadline, "the job goes on"
        await asyncio.sleep(0.05)
    return job


async def test_a_job_runs_as_its_user(machine, start_job):
    home = machine.base / "home/mh-alice"
    script = 'id -un; pwd; umask; env | sort; cat; ls -l /proc/$$/fd | grep -c memfd; ps -o args= $$ 2>&1; ls /proc/self/fd | tr "\\n" " "; exit 5\n'
    helper, job = await start_job(script, log=f"{home}/log-%j")
    done = await ended(helper, job.job_id)
    assert done.exit == "5"
    assert done.log_path == f"{home}/log-{job.job_id}"
    log = Path(done.log_path)
    assert log.stat().st_uid == machine.uid()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    lines = log.read_text().splitlines()
    assert lines[:3] == ["mh-alice", str(home), "0077"]
    names = {line.split("=")[0] for line in lines if "=" in line}
    assert names - {"_", "OLDPWD"} == {
        "HOME",
        "LANG",
        "LOGNAME",
        "MINIHUB_JOB_ID",
        "PATH",
        "PWD",
        "SHELL",
        "USER",
    }
    # What the script starts has standard input, output and error, and the directory that ls reads.
    assert lines[-1].split() == ["0", "1", "2", "3"]


async def test_a_script_is_in_no_argument(machine, start_job):
    await start_job("SECRET=s3cr3t-value\nsleep 300\n")
    await until(lambda: len(processes_of(machine)) >= 4, 30)
    pids = processes_of(machine)
    for pid in pids:
        assert b"s3cr3t" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert "s3cr3t" not in "".join(p.read_text() for p in (machine.runtime_dir / "jobs").iterdir())


async def test_a_long_script_arrives_whole(machine, start_job):
    home = machine.base / "home/mh-alice"
    body = "x" * 300_000
    helper, job = await start_job(f"cat > $HOME/long <<'EOF'\n{body}\nEOF\nexit 7\n")
    assert (await ended(helper, job.job_id)).exit == "7"
    assert (home / "long").read_text() == body + "\n"


async def test_sockets_have_a_directory_for_user_and_hub_only(machine, start_job):
    helper, job = await start_job(
        f"cd {machine.runtime_dir}/users/mh-alice && python3 -c 'import socket;s=socket.socket(socket.AF_UNIX);s.bind(\"x.sock\")'\n"
    )
    assert (await ended(helper, job.job_id)).exit == "0"
    directory = machine.runtime_dir / "users/mh-alice"
    status = directory.stat()
    assert (status.st_uid, status.st_gid) == (machine.uid(), machine.hub_uid)
    assert stat.S_IMODE(status.st_mode) == 0o2710
    assert (directory / "x.sock").stat().st_gid == machine.hub_uid
    (directory / "x.sock").unlink()
    assert stat.S_IMODE((machine.runtime_dir / "jobs").stat().st_mode) == 0o700
    assert (machine.runtime_dir / "jobs").stat().st_uid == 0


async def test_a_socket_directory_that_is_a_trap_is_not_walked_into(machine, start_helper):
    helper = await start_helper()
    users = machine.runtime_dir / "users"
    (users / "mh-user9").symlink_to("/etc")
    try:
        with pytest.raises(HelperError):
            await helper.prepare("mh-user9")
        assert os.stat("/etc").st_uid == 0
    finally:
        (users / "mh-user9").unlink()


async def test_a_job_survives_its_hub_and_its_helper_and_is_found_again(machine, start_job, start_helper):
    go_on = machine.base / "home/mh-alice/go-on"
    helper, job = await start_job("until [ -e $HOME/go-on ]; do sleep 0.1; done; exit 9\n")
    os.kill(helper.pid, signal.SIGKILL)
    await helper.closed
    second = await start_helper()
    assert (await job_of(second, job.job_id)).alive
    go_on.touch()
    # Everything about it is known from the record, and its status comes though both are gone that started it.
    done = await ended(second, job.job_id)
    assert (done.exit, done.user, done.tag, done.submitted_at) == ("9", "mh-alice", job.tag, job.submitted_at)


async def test_another_process_with_the_same_number_is_not_the_job(machine, start_job, start_helper):
    helper, job = await start_job("sleep 300\n")
    await helper.close()
    record = machine.runtime_dir / "jobs" / f"{job.job_id}.json"
    text = record.read_text()
    for old, new in (('"start_time": ', '"start_time": 1'), ('"boot_id": "', '"boot_id": "0')):
        record.write_text(text.replace(old, new))
        second = await start_helper()
        assert not (await job_of(second, job.job_id)).alive
        await second.kill_job(job.job_id, force=True)
        await asyncio.sleep(0.1)
        assert processes_of(machine) != []
        await second.close()


async def test_an_asked_end_lets_the_script_clean_up(machine, start_job):
    home = machine.base / "home/mh-alice"
    script = (
        'trap \'echo bye > "$HOME/bye"; exit 0\' TERM\ntouch "$HOME/trapped"\nwhile :; do sleep 0.1; done\n'
    )
    helper, job = await start_job(script)
    await until((home / "trapped").exists, 30)
    first = await helper.kill_job(job.job_id)
    done = await ended(helper, job.job_id)
    assert (home / "bye").read_text() == "bye\n"
    assert done.cancelled_at == first == await helper.kill_job(job.job_id)


async def test_orphans_in_sessions_of_their_own_do_not_outlive_the_job(machine, start_job):
    helper, job = await start_job(
        "setsid sh -c 'trap : TERM HUP; touch $HOME/orphan; sleep 77; sleep 78' &\nuntil [ -e $HOME/orphan ]; do sleep 0.1; done; exit 0\n"
    )
    assert (await ended(helper, job.job_id)).exit == "0"
    await all_gone(machine)


async def test_a_forced_end_takes_everything(machine, start_job):
    script = (
        "trap '' TERM HUP\nsetsid sh -c 'trap \"\" TERM; touch $HOME/stubborn; sleep 300; sleep 300' &\n"
        "while :; do sleep 5; done\n"
    )
    helper, job = await start_job(script)
    await until((machine.base / "home/mh-alice/stubborn").exists, 30)
    await helper.kill_job(job.job_id)
    await asyncio.sleep(0.3)
    assert (await job_of(helper, job.job_id)).alive
    await helper.kill_job(job.job_id, force=True)
    await ended(helper, job.job_id)
    await all_gone(machine)


async def test_the_time_limit_holds_without_hub_or_helper(machine, start_job, start_helper):
    helper, job = await start_job("sleep 300\n", limit_s=1)
    await helper.close()
    await all_gone(machine)
    assert (await job_of(await start_helper(), job.job_id)).exit == "124"


@pytest.mark.parametrize("log", ["/root/x", "/nonexistent/x", "{home}/pipe", "/etc/passwd"])
async def test_a_log_that_cannot_be_written_keeps_nobody_out(machine, start_job, log):
    home = machine.base / "home/mh-user5"
    if not (home / "pipe").exists():
        os.mkfifo(home / "pipe")
        os.chown(home / "pipe", machine.uid(5), 0)
    helper, job = await start_job("echo hello; exit 3\n", user="mh-user5", log=log.format(home=home))
    assert (await ended(helper, job.job_id)).exit == "3"


async def test_one_job_per_tag(start_helper):
    helper = await start_helper()
    wanted = {
        "user": "mh-user6",
        "tag": "minihub-x-1",
        "script": "sleep 0.2",
        "log_path": "/dev/null",
        "limit_s": 9,
    }
    results = await asyncio.gather(*(helper.start_job(**wanted) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(result, HelperError) for result in results) == 2


async def test_forgetting(machine, start_job):
    helper, job = await start_job("sleep 300")
    with pytest.raises(HelperError, match="still runs"):
        await helper.forget_job(job.job_id)
    await helper.kill_job(job.job_id, force=True)
    await ended(helper, job.job_id)
    path = machine.runtime_dir / "users/mh-alice" / (job.tag.rpartition("-")[2] + ".sock")
    path.touch()
    await helper.forget_job(job.job_id)
    assert not path.exists()
    assert await job_of(helper, job.job_id) is None
    assert [p for p in (machine.runtime_dir / "jobs").iterdir() if job.job_id in p.name] == []


@pytest.mark.parametrize("user", ["root", "mh-hub", "mh-system", "nobody", "mh-nobody-there"])
async def test_nobody_else_gets_a_job(machine, start_helper, user):
    helper = await start_helper()
    with pytest.raises(HelperError):
        await helper.start_job(user=user, tag="minihub-x-2", script="id", log_path="/dev/null", limit_s=9)
    assert not (machine.runtime_dir / "users" / user).exists()
    assert all(job.tag != "minihub-x-2" for job in await helper.jobs())
