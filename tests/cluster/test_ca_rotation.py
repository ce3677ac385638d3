"""A change of the ssh CA's key on a real sshd, with the very lines that the command prints, while a transport goes on."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from minihub.clock import SystemClock
from minihub.errors import ConnectFailed
from minihub.settings_file import load_settings
from minihub.transports.ssh import SshTransport
from tests.cluster.sshd import own_sshd
from tests.e2e.kit import ROOT, dump_toml

pytestmark = pytest.mark.cluster


@pytest.fixture
def command(tmp_path, cluster):
    """`command(*words, **ssh)`: runs `minihub ca ...` with the settings at `tmp_path`."""
    config = tmp_path / "minihub.toml"

    def write(node, known_hosts):
        config.write_text(
            dump_toml(
                {
                    "hub": {"state_dir": str(tmp_path / "state"), "run_as": "minihub"},
                    "servers": {"scheduler": "slurm"},
                    "slurm": {"identity": "certificate", "service_user": cluster.facts["service_user"]},
                    "ssh": {
                        "login_nodes": [node],
                        "known_hosts": str(known_hosts),
                        "source_address": "127.0.0.1",
                    },
                }
            )
        )

    def run(*words):
        argv = [sys.executable, "-m", "minihub", "ca", *words, "--group", cluster.facts["users_group"]]
        return subprocess.run(
            [*argv, "--config", str(config)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )

    run.write, run.config = write, config
    return run


def lay(printed, trusted):
    """What an admin does with the lines: the keys into the file."""
    keys = re.search(r"(?ms)^#   ---\n(.*?)^#   ---\n", printed)[1]
    trusted.write_text(keys.replace("#   ", ""))


@asynccontextmanager
async def hub_of(config, tmp_path):
    transport = SshTransport(
        load_settings(config), SystemClock(), "minihub", tmp_path / "state", via_ssh=False
    )
    try:
        yield transport
    finally:
        await transport.close()


async def who(transport, user):
    return (await transport.run(["id", "-un"], user=user, timeout_s=20)).stdout.strip()


async def test_users_and_hub_go_on_through_all_steps(cluster, command, tmp_path):
    trusted = tmp_path / "trusted.pub"
    tmp_path.chmod(0o755)
    command.write("127.0.0.1:1", tmp_path / "known_hosts")
    made = command("init")
    assert made.returncode == 0, made.stderr
    lay(made.stdout, trusted)
    async with own_sshd(cluster.facts, tmp_path, trusted=trusted) as sshd:
        command.write(sshd.node, sshd.known_hosts)
        async with hub_of(command.config, tmp_path) as hub:
            assert await who(hub, "alice") == "alice"
            begun = command("rotate")
            assert begun.returncode == 0, begun.stderr
            # Too early: no login node trusts the new key yet, and nothing has changed.
            early = command("rotate", "--finish")
            assert early.returncode == 1
            assert f"{sshd.node} does not let" in early.stderr
            assert "so the old one stays" in early.stderr
            assert await who(hub, "bob") == "bob"
            lay(begun.stdout, trusted)
            assert await who(hub, "carol") == "carol"
            finished = command("rotate", "--finish")
            assert finished.returncode == 0, finished.stderr
            assert "takes the new key" in finished.stderr
            lay(finished.stdout, trusted)
            # The connection of before, and new ones by the new key.
            assert await who(hub, "alice") == "alice"
            async with hub_of(command.config, tmp_path) as next_hub:
                assert await who(next_hub, "alice") == "alice"
            assert await who(hub, None) == cluster.facts["service_user"]
            lay(made.stdout, trusted)
            # The old key alone would not do any more: it is really the new one that signs.
            async with hub_of(command.config, tmp_path) as next_hub:
                with pytest.raises(ConnectFailed):
                    await who(next_hub, "alice")
