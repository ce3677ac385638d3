"""`run`: programs of a fixed list, as their users."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from minihub.errors import CommandTimedOut, ConnectionLost, HelperError
from minihub.helper.commands import Commands
from minihub.helper.rules import Refused
from tests.fakes import until
from tests.helper.machine import processes_of

pytestmark = pytest.mark.real


@pytest.fixture
def programs(machine):
    """A directory in which the allowed names are scripts of ours."""
    directory = machine.base / "programs"
    directory.mkdir(exist_ok=True)

    def write(name, text):
        path = directory / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    write(
        "squeue",
        'id -un; id -gn; id -Gn; pwd; umask; env | sort; printf "%s|" "$@"; cat; echo oops >&2; exit 3\n',
    )
    write("sinfo", "trap '' TERM; sleep 300 & sleep 300\n")
    write("sacct", "head -c 6000000 /dev/zero\n")
    write("scontrol", "kill -9 $$\n")
    write(
        "scancel",
        'exec 3>"$HOME/fds"; ls -l /proc/$$/fd >&3; grep -E "Groups|CapEff|CapPrm|NoNew" /proc/self/status >&3\n',
    )
    return str(directory)


async def test_a_command_runs_as_the_user_in_a_minimal_environment(machine, start_helper, programs):
    os.environ["MH_LEAK"] = "leak"
    helper = await start_helper(bin_dir=programs, slurm_conf="/x/slurm.conf")
    result = await helper.run(["squeue", "a b", "$(id)"], user="mh-alice", stdin=b"the script", timeout_s=30)
    home = str(machine.base / "home/mh-alice")
    lines = result.stdout.splitlines()
    assert lines[:5] == ["mh-alice", "users", "users", home, "0077"]
    environment = dict(line.split("=", 1) for line in lines[5:-1])
    environment.pop("_", None)
    assert environment == {
        "HOME": home,
        "LANG": "C.UTF-8",
        "LOGNAME": "mh-alice",
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "PWD": home,
        "SHELL": "/bin/sh",
        "SLURM_CONF": "/x/slurm.conf",
        "USER": "mh-alice",
    }
    assert lines[-1] == "a b|$(id)|the script"
    assert (result.exit_status, result.stderr) == (3, "oops\n")


async def test_nothing_of_the_helper_goes_along(machine, start_helper, programs):
    helper = await start_helper(bin_dir=programs)
    assert (await helper.run(["scancel"], user="mh-alice", timeout_s=30)).exit_status == 0
    text = (machine.base / "home/mh-alice/fds").read_text()
    assert "socket" not in text
    assert "CapEff:\t0000000000000000" in text
    assert "CapPrm:\t0000000000000000" in text


async def test_a_signal_is_told_as_a_shell_does(start_helper, programs):
    helper = await start_helper(bin_dir=programs)
    assert (await helper.run(["scontrol"], user="mh-alice", timeout_s=30)).exit_status == 137


async def test_a_command_that_takes_too_long_is_ended_with_its_group(machine, start_helper, programs):
    helper = await start_helper(bin_dir=programs)
    began = time.monotonic()
    with pytest.raises(CommandTimedOut):
        await helper.run(["sinfo"], user="mh-user1", timeout_s=0.3)
    assert time.monotonic() - began < 60, "nobody waited for its own end"
    # Killed at once, but the kernel takes its time to clear away when it is busy.
    async with asyncio.timeout(30):
        while processes_of(machine):
            await asyncio.sleep(0.02)


async def test_too_much_output_is_refused(start_helper, programs):
    helper = await start_helper(bin_dir=programs)
    with pytest.raises(HelperError, match="too much output"):
        await helper.run(["sacct"], user="mh-alice", timeout_s=30)


async def test_many_at_once(start_helper, programs):
    helper = await start_helper(bin_dir=programs)
    results = await asyncio.gather(
        *(helper.run(["squeue", str(n)], user=f"mh-user{1 + n % 30}", timeout_s=20) for n in range(60))
    )
    for n, result in enumerate(results):
        assert result.stdout.startswith(f"mh-user{1 + n % 30}\n")
        assert result.stdout.endswith(f"{n}|")


@pytest.mark.parametrize(
    "user", ["root", "mh-hub", "mh-system", "nobody", "daemon", "mh-nobody-there", "MH-ALICE"]
)
async def test_nobody_else_is_acted_for(start_helper, programs, user):
    helper = await start_helper(bin_dir=programs)
    with pytest.raises(HelperError):
        await helper.run(["squeue"], user=user, timeout_s=30)


@pytest.mark.parametrize("argv", [["sh", "-c", "id"], ["env"], ["/bin/tail"], ["tail", "a\nb"], []])
async def test_no_other_programs(start_helper, programs, argv):
    helper = await start_helper(bin_dir=programs)
    with pytest.raises((HelperError, IndexError)):
        await helper.run(argv, user="mh-alice", timeout_s=30)


def test_a_missing_program_is_named():
    with pytest.raises(Refused, match="sbatch-that-is-not-there was not found"):
        Commands(None, None, bin_dir="/nonexistent", env={})._find("sbatch-that-is-not-there")


async def test_a_command_survives_the_hub_and_the_helper_waits_for_it(machine, start_helper, programs):
    helper = await start_helper(bin_dir=programs)
    (machine.base / "programs/sbatch").write_text(
        '#!/bin/sh\ntouch "$HOME/begun"; until [ -e "$HOME/go-on" ]; do sleep 0.1; done; touch "$HOME/submitted"\n'
    )
    (machine.base / "programs/sbatch").chmod(0o755)
    asked = asyncio.get_running_loop().create_task(helper.run(["sbatch"], user="mh-user2", timeout_s=30))
    home = machine.base / "home/mh-user2"
    await until((home / "begun").exists, 30)
    await helper.close()
    with pytest.raises(ConnectionLost):
        await asked
    (home / "go-on").touch()
    await until((home / "submitted").exists, 30)
