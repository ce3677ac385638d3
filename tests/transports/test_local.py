"""Commands as processes of this host."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from pathlib import Path

import pytest

from minihub.clock import SystemClock
from minihub.config import SlurmSettings
from minihub.errors import CommandTimedOut, ConnectFailed
from minihub.transports.base import CommandResult, Transport
from minihub.transports.local import LocalTransport, build_environment
from tests.fakes import until
from tests.helper.machine import children_of

ME = pwd.getpwuid(os.geteuid())
OTHER = "nobody" if ME.pw_name != "nobody" else "daemon"


def make(**settings):
    run_as = settings.pop("run_as", None)
    return LocalTransport(SlurmSettings(**settings), SystemClock(), run_as=run_as)


def is_alive(pid):
    """Zombies that this process has not reaped are dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_dead(pid):
    await until(lambda: not is_alive(pid), 30)


def test_it_is_a_transport():
    made: Transport = make()
    assert made


async def test_answers():
    result = await make().run(
        ["sh", "-c", "cat; echo é; echo oops >&2; exit 3"], user=None, stdin=b"in\n", timeout_s=30
    )

    assert (result.exit_status, result.stdout, result.stderr) == (3, "in\né\n", "oops\n")
    assert 0 < result.elapsed_s < 30


async def test_own_user_by_name_needs_nobody():
    assert (await make().run(["id", "-un"], user=ME.pw_name, timeout_s=30)).stdout == f"{ME.pw_name}\n"


async def test_a_signal_is_told_as_a_shell_tells_it():
    assert (await make().run(["sh", "-c", "kill -9 $$"], user=None, timeout_s=30)).exit_status == 137


async def test_output_that_is_no_utf8():
    assert (await make().run(["printf", r"a\377b"], user=None, timeout_s=30)).stdout == "a\ufffdb"


async def test_no_shell_reads_the_arguments():
    words = ["$HOME", "`id`", "a b", "*", "", "\x1f", "é"]
    result = await make().run(["printf", "%s|", *words], user=None, timeout_s=30)
    assert result.stdout == "".join(f"{word}|" for word in words)


async def test_the_environment_is_explicit(monkeypatch):
    monkeypatch.setenv("SECRET", "hush")
    shown = await make(conf="/etc/x/slurm.conf", bin_dir="/opt/slurm/bin").run(
        ["env"], user=None, timeout_s=30
    )

    assert dict(line.split("=", 1) for line in shown.stdout.splitlines()) == {
        "PATH": "/opt/slurm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": ME.pw_dir,
        "USER": ME.pw_name,
        "LOGNAME": ME.pw_name,
        "LANG": "C.UTF-8",
        "SLURM_CONF": "/etc/x/slurm.conf",
    }
    assert "SLURM_CONF" not in build_environment(SlurmSettings(), "a", "/a")


async def test_a_program_of_the_sites_directory(tmp_path):
    (tmp_path / "squeue").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "squeue").chmod(0o755)
    assert (await make(bin_dir=str(tmp_path)).run(["squeue"], user=None, timeout_s=30)).stdout == "mine\n"


async def test_a_program_that_does_not_exist():
    with pytest.raises(ConnectFailed) as caught:
        await make().run(["no-such-program"], user=None, timeout_s=30)
    assert "no-such-program cannot be run" in caught.value.user_message


async def test_stdin_that_nobody_reads():
    result = await make().run(["true"], user=None, stdin=b"x" * 10_000_000, timeout_s=30)
    assert result.exit_status == 0


async def test_much_output():
    result = await make().run(["head", "-c", "20000000", "/dev/zero"], user=None, timeout_s=60)
    assert len(result.stdout) == 20_000_000


async def test_a_timeout_ends_the_whole_group(tmp_path):
    script = (
        f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent; trap '' TERM; wait; sleep 300"
    )
    with pytest.raises(CommandTimedOut):
        await make().run(["sh", "-c", script], user=None, timeout_s=2)

    for name in ("child", "parent"):
        await until_dead(int((tmp_path / name).read_text()))


async def test_a_cancelled_call_leaves_no_process(tmp_path):
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60"
    call = asyncio.get_running_loop().create_task(make().run(["sh", "-c", script], user=None, timeout_s=60))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await until_dead(int((tmp_path / "pid").read_text()))


async def test_a_call_cancelled_while_its_process_starts_leaves_no_process(tmp_path):
    """The process runs already, while the loop has not yet come to hearing that it was started."""
    script = f"sleep 300 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/child; wait"
    before = children_of(os.getpid())
    call = asyncio.get_running_loop().create_task(make().run(["sh", "-c", script], user=None, timeout_s=60))
    while children_of(os.getpid()) == before:
        await asyncio.sleep(0)
    while not (tmp_path / "child").exists():
        time.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await until_dead(int((tmp_path / "child").read_text()))


async def test_a_timeout_with_a_child_that_ran_away_holding_the_pipes(tmp_path):
    script = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' & wait"
    with pytest.raises(CommandTimedOut):
        await make().run(["sh", "-c", script], user=None, timeout_s=2)

    # Nobody waited for its end.
    runaway = int((tmp_path / "pid").read_text())
    assert is_alive(runaway)
    os.kill(runaway, 9)


async def test_another_user_through_the_helper():
    calls = []

    async def run_as(argv, user, stdin, timeout_s):
        calls.append((argv, user, stdin, timeout_s))
        return CommandResult(0, "17\n", "")

    transport = make(run_as=run_as)
    assert (await transport.run(["sbatch"], user=OTHER, stdin=b"#!", timeout_s=3)).stdout == "17\n"
    assert calls == [(["sbatch"], OTHER, b"#!", 3)]


async def test_the_service_account():
    asked = []

    async def run_as(argv, user, stdin, timeout_s):
        asked.append(user)
        return CommandResult(0, "", "")

    await make(run_as=run_as, service_user=OTHER).run(["squeue"], user=None, timeout_s=3)
    assert asked == [OTHER]
    own = await make(service_user=ME.pw_name).run(["id", "-un"], user=None, timeout_s=30)
    assert own.stdout == f"{ME.pw_name}\n"


async def test_another_user_without_a_way():
    with pytest.raises(ConnectFailed):
        await make().run(["sbatch"], user=OTHER, timeout_s=3)


class TestSudo:
    """With a sudo of our own that only shows what it was given; the real one is tested on the cluster."""

    @pytest.fixture
    def sudo(self, tmp_path):
        def write(body):
            (tmp_path / "sudo").write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / "sudo").chmod(0o755)
            return make(identity="sudo", bin_dir=str(tmp_path), wrapper="/w")

        return write

    async def test_the_wrapper_gets_the_words_and_the_time(self, sudo):
        transport = sudo(
            'echo note >&2; echo "minihub-job: ready" >&2; printf "%s|" "$@"; cat; echo end >&2; exit 4'
        )
        result = await transport.run(["sbatch", "--x=a b"], user=OTHER, stdin=b"in", timeout_s=29.5)

        assert result.stdout == f"-n|-u|{OTHER}|--|/w|--ready|--timeout=30|sbatch|--x=a b|in"
        assert (result.exit_status, result.stderr) == (4, "end\n")

    async def test_where_the_wrapper_did_not_start_nothing_ran(self, sudo):
        with pytest.raises(ConnectFailed) as caught:
            await sudo('echo "sudo: a password is required" >&2; exit 1').run(
                ["sbatch"], user=OTHER, timeout_s=30
            )
        assert "a password is required" in caught.value.detail

    async def test_a_command_that_the_wrapper_does_not_know_is_not_even_tried(self, sudo, tmp_path):
        with pytest.raises(ConnectFailed):
            await sudo(f'touch {tmp_path}/ran; echo "minihub-job: ready" >&2').run(
                ["squeue"], user=OTHER, timeout_s=2
            )
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(("status", "lasts"), [(124, 0), (137, 1.1)])
    async def test_the_wrappers_time_limit(self, sudo, status, lasts):
        with pytest.raises(CommandTimedOut):
            await sudo(f'echo "minihub-job: ready" >&2; sleep {lasts}; exit {status}').run(
                ["sbatch"], user=OTHER, timeout_s=1
            )

    async def test_a_kill_before_the_time_is_up_is_an_answer(self, sudo):
        result = await sudo('echo "minihub-job: ready" >&2; exit 137').run(
            ["sbatch"], user=OTHER, timeout_s=30
        )
        assert result.exit_status == 137


async def test_there_is_no_forwarding():
    with pytest.raises(ConnectFailed):
        await make().open_forward("alice", "node1", 1)
    await make().close_forward("alice", "node1", 1)
    await make().warm("alice")
    await make().close()
