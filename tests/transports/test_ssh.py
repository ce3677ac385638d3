"""The ssh transport against a real ssh server in this process: what every kind of trouble is called, and what survives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import stat
from pathlib import Path

import asyncssh
import pytest

from minihub.clock import SystemClock
from minihub.config import parse_settings
from minihub.errors import CommandTimedOut, ConfigError, ConnectFailed, ConnectionLost, HostKeyMismatch
from minihub.transports import dialing
from minihub.transports import link as link_module
from minihub.transports import ssh as ssh_module
from minihub.transports.ca import PrincipalPolicy, create_ca
from minihub.transports.dialing import LoginNode, parse_login_node
from minihub.transports.ssh import SshTransport, resolve_identity
from tests.transports.sshserver import FakeLoginNode

UIDS = {"alice": 1000, "bob": 1001, "minihub": 998, "root": 0, "daemon": 1}


def lookup(name: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", UIDS[name], 1, "", "/", "/bin/sh"))


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
async def node(tmp_path: Path, state_dir: Path):
    authority = create_ca(state_dir / "user_ca")
    home = tmp_path / "home"
    home.mkdir()
    node = FakeLoginNode(home)
    node.authorized = f"cert-authority {authority.public_line()}\n"
    await node.start()
    (state_dir / "known_hosts").write_text(node.known_hosts_line())
    yield node
    await node.stop()


@pytest.fixture
async def make(node: FakeLoginNode, state_dir: Path):
    made: list[SshTransport] = []

    def make(*, slurm=None, nodes=None, via_ssh: bool = False, **ssh) -> SshTransport:
        raw = {
            "ssh": {"login_nodes": nodes or [f"127.0.0.1:{node.port}"], "connect_timeout_s": 20, **ssh},
            "slurm": slurm or {},
        }
        made.append(
            SshTransport(
                parse_settings(raw),
                SystemClock(),
                "minihub",
                state_dir,
                via_ssh=via_ssh,
                policy=PrincipalPolicy("minihub", 1000, lookup),
            )
        )
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


async def run(
    transport: SshTransport, *argv: str, user: str | None = "alice", timeout_s: float = 30, stdin: bytes = b""
):
    return await transport.run(argv, user=user, timeout_s=timeout_s, stdin=stdin)


async def until(condition, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def slow_until(file: Path) -> str:
    """A shell's command that says "slow" once `file` is there."""
    return f"until [ -e {file} ]; do sleep 0.05; done; echo slow"


# -- the ordinary way


async def test_argv_stdin_and_status_travel(make, node):
    transport = make()
    script = b"#!/bin/sh\n" + bytes(range(256)) * 2000
    done = await run(
        transport, "sh", "-c", 'wc -c; echo "$1" >&2; exit 3', "sh", "it's $(here) ü", stdin=script
    )
    assert (done.exit_status, done.stdout.strip(), done.stderr) == (3, str(len(script)), "it's $(here) ü\n")
    assert done.elapsed_s > 0


async def test_one_connection_per_login_name(make, node):
    transport = make()
    await asyncio.gather(*(run(transport, "true") for _ in range(20)), run(transport, "true", user="bob"))
    await run(transport, "true", user=None)
    assert sorted(node.logins) == ["alice", "bob", "minihub"]


async def test_no_more_commands_at_once_than_sshd_allows(make, node):
    transport = make(max_commands=3)
    go_on = node.home / "go-on"
    wait = f"until [ -e {go_on} ]; do sleep 0.05; done"
    running = asyncio.gather(*(run(transport, "sh", "-c", wait) for _ in range(12)))
    await until(lambda: node.open_now == 3)
    go_on.touch()
    await running
    assert node.most_open == 3


async def test_much_output_arrives_whole(make):
    done = await run(make(), "seq", "1", "300000")
    assert done.stdout.splitlines()[-1] == "300000"
    assert len(done.stdout.splitlines()) == 300000


async def test_the_persons_own_ssh_configuration_is_not_read(make, node, tmp_path, monkeypatch):
    home = tmp_path / "hubhome"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n  ProxyCommand false\n  User mallory\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
    assert (await run(make(), "echo", "ok")).stdout == "ok\n"
    assert node.logins == ["alice"]


# -- start-up files


async def test_what_start_up_files_print_is_dropped(make, node):
    node.startup = "echo Welcome; echo oops >&2; printf 'no end of line'"
    done = await run(make(), "sh", "-c", "echo 42; echo real >&2")
    assert (done.stdout, done.stderr) == ("42\n", "real\n")


async def test_a_start_up_file_that_echoes_its_input_is_noise(make, node):
    node.startup = 'IFS= read -r line; echo "$line"; printf \'%s\\n\' "$line" >&2'
    with pytest.raises(ConnectFailed, match="start-up files"):
        await run(make(), "touch", str(node.home / "ran"), timeout_s=1)
    assert not (node.home / "ran").exists()


async def test_a_slow_start_up_file_is_named_and_nothing_runs_later(make, node):
    node.startup = "echo thinking; sleep 5"
    transport = make()
    with pytest.raises(ConnectFailed, match=r"longer than 3 s.*bashrc.*thinking"):
        await run(transport, "touch", str(node.home / "ran"), timeout_s=3)
    node.startup = ""
    assert (await run(transport, "echo", "still here")).stdout == "still here\n"
    await until(lambda: node.open_now == 0)
    assert not (node.home / "ran").exists()
    assert node.logins == ["alice"]


async def test_a_start_up_file_that_leaves_is_named(make, node):
    node.startup = "echo 'conda: broken' >&2; exit 7"
    with pytest.raises(ConnectFailed, match=r"start-up files.*exit status 7.*conda: broken"):
        await run(make(), "true")
    assert len(node.commands) == 1


async def test_a_slow_start_up_file_only_delays(make, node):
    node.startup = "sleep 1"
    assert (await run(make(), "echo", "there")).stdout == "there\n"


# -- time limits


async def test_a_command_over_its_limit_is_ended_there(make, node):
    done_file = node.home / "done"
    with pytest.raises(CommandTimedOut, match="sh on the cluster"):
        await run(make(), "sh", "-c", f"sleep 60; touch {done_file}", timeout_s=3)
    await until(lambda: node.open_now == 0)
    assert not done_file.exists()


async def test_our_own_patience_ends_too(make, node, monkeypatch):
    """The remote timeout is not obeyed (a hung file system, say): we stop waiting, and the connection lives on."""
    monkeypatch.setattr("minihub.transports.command.KILL_AFTER_S", 0)
    monkeypatch.setattr("minihub.transports.command.GRACE_S", 0.3)
    transport = make()
    with pytest.raises(CommandTimedOut, match="in time"):
        # timeout(1) ends the shell it started; what that left behind keeps the channel open
        await run(transport, "sh", "-c", "setsid sleep 20 & sleep 30", timeout_s=3)
    assert (await run(transport, "echo", "ok")).stdout == "ok\n"
    assert node.logins == ["alice"]


async def test_giving_up_a_command_closes_its_channel_only(make, node):
    transport = make()
    waiting = asyncio.ensure_future(run(transport, "sleep", "20", timeout_s=30))
    await until(lambda: node.open_now == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await run(transport, "echo", "ok")).stdout == "ok\n"
    assert node.logins == ["alice"]


@pytest.mark.parametrize("after_s", [0, 0.001, 0.003, 0.01, 0.03])
async def test_giving_up_while_a_channel_opens_leaves_none_behind(make, node, after_s):
    transport = make(max_commands=1)
    await run(transport, "true")
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after_s):
                await run(transport, "sleep", "9", timeout_s=20)
    await until(lambda: all(channel.is_closing() for channel in node.channels))
    assert (await run(transport, "echo", "ok")).stdout == "ok\n"
    assert node.logins == ["alice"]


# -- broken connections


async def test_a_connection_lost_while_a_command_runs_says_that_it_may_have_run(make, node):
    transport = make()
    started = node.home / "started"
    running = asyncio.ensure_future(run(transport, "sh", "-c", f"touch {started}; sleep 60"))
    await until(started.exists)
    node.drop()
    with pytest.raises(ConnectionLost):
        await running
    assert (await run(transport, "echo", "again")).stdout == "again\n"
    assert node.logins == ["alice", "alice"]


async def test_a_connection_lost_before_the_arguments_went_is_tried_once_more(make, node):
    transport = make()
    node.startup = f"[ -e {node.home}/second ] || {{ touch {node.home}/second; sleep 60; }}"
    running = asyncio.ensure_future(run(transport, "echo", "whole"))
    await until((node.home / "second").exists)
    node.drop()
    assert (await running).stdout == "whole\n"
    assert node.logins == ["alice", "alice"]


async def test_refused_channels_are_tried_on_a_new_connection(make, node):
    transport = make(max_commands=4)
    await run(transport, "true")
    node.max_sessions = 1
    slow = asyncio.ensure_future(run(transport, "sh", "-c", slow_until(node.home / "go-on")))
    await until(lambda: node.open_now == 1)
    with pytest.raises(ConnectFailed, match="cannot be reached"):
        await run(transport, "echo", "refused")
    assert len(node.logins) == ssh_module.CONNECTIONS, "here all of them count as one"
    # Retired, not cut: what ran there ends in peace.
    (node.home / "go-on").touch()
    assert (await slow).stdout == "slow\n"
    assert (await run(transport, "echo", "ok")).stdout == "ok\n"
    await until(lambda: len(node.connections) == 1)


async def test_a_dead_path_is_noticed_before_keepalive(make, node):
    transport = make(connect_timeout_s=3)
    await run(transport, "true")
    node.deaf_channels = True
    running = asyncio.ensure_future(run(transport, "echo", "ok"))
    await until(lambda: node.unheard == 1)
    node.deaf_channels = False
    assert (await running).stdout == "ok\n"
    assert node.logins == ["alice", "alice"]


async def test_while_the_node_is_down_callers_hear_at_once_and_the_first_retry_is_quick(
    make, node, monkeypatch
):
    monkeypatch.setattr(link_module, "FIRST_RETRY_S", 2.0)  # else it may come before the second question
    transport = make()
    port = node.port
    await node.stop()
    with pytest.raises(ConnectFailed, match="cannot be reached"):
        await run(transport, "true")
    with pytest.raises(ConnectFailed, match="next try in"):
        await run(transport, "true")
    await node.start(port)
    await asyncio.sleep(1.5 * link_module.FIRST_RETRY_S)
    assert (await run(transport, "echo", "back")).stdout == "back\n"


def test_backoff_doubles_up_to_a_minute_and_is_jittered():
    middle = [link_module.backoff_s(n, 0.5) for n in range(1, 12)]
    assert middle == [0.25, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert (link_module.backoff_s(3, 0), link_module.backoff_s(3, 1)) == (1, 3)


async def test_the_next_login_node_is_tried(make, node):
    dead = FakeLoginNode(node.home)
    await dead.start()
    dead_port = dead.port
    await dead.stop()
    transport = make(nodes=[f"127.0.0.1:{dead_port}", f"127.0.0.1:{node.port}"])
    assert (await run(transport, "echo", "second")).stdout == "second\n"


async def test_a_silent_login_node_costs_its_timeout_once(make, node):
    over, calls = asyncio.Event(), []

    async def swallow(reader, writer):
        calls.append(writer)
        await over.wait()
        writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    transport = make(nodes=[f"127.0.0.1:{port}", f"127.0.0.1:{node.port}"], connect_timeout_s=2)
    await run(transport, "true")
    await run(transport, "true", user="bob")
    assert len(calls) == 1
    assert node.logins == ["alice", "bob"]
    over.set()
    silent.close()
    await asyncio.sleep(0.05)


class Door:
    """A port that drops the first connections, as sshd does beyond MaxStartups, and leads to sshd afterwards."""

    def __init__(self, drops: int, node: FakeLoginNode) -> None:
        self.drops = drops
        self.node = node
        self.dropped = 0
        self.pumps: list[asyncio.Task] = []

    async def open(self) -> str:
        self.server = await asyncio.start_server(self.enter, "127.0.0.1", 0)
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def enter(self, reader, writer) -> None:
        if self.dropped < self.drops:
            self.dropped += 1
            writer.transport.abort()
            return
        there = await asyncio.open_connection("127.0.0.1", self.node.port)
        for one, other in ((reader, there[1]), (there[0], writer)):
            self.pumps.append(asyncio.ensure_future(self.pump(one, other)))

    @staticmethod
    async def pump(reader, writer) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def close(self) -> None:
        self.server.close()
        await asyncio.gather(*self.pumps)


@pytest.fixture
async def behind(make, node, state_dir):
    doors = []

    async def behind(drops: int) -> tuple[Door, SshTransport]:
        doors.append(Door(drops, node))
        name = await doors[-1].open()
        key = node.known_hosts_line().partition(" ")[2]
        host, _, port = name.partition(":")
        (state_dir / "known_hosts").write_text(f"[{host}]:{port} {key}")
        return doors[-1], make(nodes=[name])

    yield behind
    await node.stop()
    for door in doors:
        await door.close()


async def test_a_connection_that_sshd_drops_is_made_again(behind):
    door, transport = await behind(3)
    assert (await run(transport, "echo", "in")).stdout == "in\n"
    assert door.dropped == 3


async def test_one_that_is_always_dropped_is_explained(behind):
    door, transport = await behind(1000)
    with pytest.raises(ConnectFailed, match="MaxStartups"):
        await run(transport, "true")
    assert door.dropped == 1 + len(dialing.DROPPED_PAUSES_S)


async def test_a_node_that_does_not_serve_is_left_for_another(make, node, state_dir):
    other = FakeLoginNode(node.home)
    other.authorized = node.authorized
    await other.start()
    (state_dir / "known_hosts").write_text(node.known_hosts_line() + other.known_hosts_line())
    transport = make(nodes=[f"127.0.0.1:{node.port}", f"127.0.0.1:{other.port}"])
    assert not transport.avoid_host("alice"), "nothing is known of any host yet"
    slow = asyncio.ensure_future(run(transport, "sh", "-c", slow_until(node.home / "go-on")))
    await until(lambda: node.open_now == 1)

    assert transport.avoid_host("alice")
    await run(transport, "true")
    await run(transport, "true", user="bob")
    assert (node.logins, other.logins) == (["alice"], ["alice", "bob"])
    # What runs on the old connection ends in peace.
    (node.home / "go-on").touch()
    assert (await slow).stdout == "slow\n"
    # The other one does not serve either: there is nowhere to go.
    assert not transport.avoid_host("alice")
    await run(transport, "true")
    assert len(other.logins) == 2
    await transport.close()
    await other.stop()


async def test_a_single_node_is_never_left(make):
    transport = make()
    await run(transport, "true")
    assert not transport.avoid_host("alice")


async def test_an_idle_connection_is_closed_and_made_anew(make, node):
    transport = make(idle_close_s=1)
    assert (await run(transport, "sh", "-c", "sleep 2; echo done")).stdout == "done\n"
    assert node.logins == ["alice"], "busy, it was left open"
    await until(lambda: not node.connections)
    await run(transport, "true")
    assert node.logins == ["alice", "alice"]


async def test_few_idle_connections_are_kept_and_the_one_unused_longest_goes(make, node):
    transport = make(max_idle=1)
    await run(transport, "true", user=None)
    await run(transport, "true", user="alice")
    busy = asyncio.create_task(run(transport, "sh", "-c", slow_until(node.home / "go-on"), user="alice"))
    await until(lambda: len(node.commands) == 3)
    await run(transport, "true", user="bob")
    assert len(node.connections) == 3, "the hub's own and busy ones do not count"
    (node.home / "go-on").touch()
    await busy
    await until(lambda: len(node.connections) == 2)
    await run(transport, "true", user="alice")
    assert node.logins == ["minihub", "alice", "bob"], "bob's was closed"


# -- who the host is


async def test_another_host_key_is_refused_and_explained(make, node, state_dir):
    transport = make()
    port = node.port
    await node.stop()
    node.host_key = asyncssh.generate_private_key("ssh-ed25519")
    await node.start(port)
    with pytest.raises(HostKeyMismatch) as caught:
        await run(transport, "true")
    assert f"127.0.0.1:{port}" in caught.value.user_message
    assert str(state_dir / "known_hosts") in caught.value.detail
    assert "ssh-keygen -R" in caught.value.detail
    with pytest.raises(HostKeyMismatch):
        await run(transport, "true")
    assert node.logins == []


async def test_another_kind_of_host_key_is_refused_and_explained(make, node):
    transport = make()
    port = node.port
    await node.stop()
    node.host_key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    await node.start(port)
    with pytest.raises(HostKeyMismatch):
        await run(transport, "true")


async def test_an_unknown_host_is_never_accepted(make, node, state_dir):
    (state_dir / "known_hosts").write_text("elsewhere " + node.known_hosts_line().split(" ", 1)[1])
    with pytest.raises(HostKeyMismatch):
        await run(make(), "true")
    assert node.logins == []


async def test_without_known_hosts_nothing_is_trusted(make, node, state_dir):
    (state_dir / "known_hosts").unlink()
    with pytest.raises(ConnectFailed, match="nowhere/known_hosts"):
        await run(make(known_hosts="/nowhere/known_hosts"), "true")


async def test_a_corrected_known_hosts_counts_at_once(make, node, state_dir):
    right = (state_dir / "known_hosts").read_text()
    (state_dir / "known_hosts").write_text("elsewhere " + right.split(" ", 1)[1])
    transport = make()
    with pytest.raises(HostKeyMismatch):
        await run(transport, "true")
    (state_dir / "known_hosts").write_text(right)
    await asyncio.sleep(1.5 * link_module.FIRST_RETRY_S)
    assert (await run(transport, "echo", "ok")).stdout == "ok\n"


# -- who we are


@pytest.mark.parametrize("user", ["root", "daemon", "nobody-here", "-x", "alice\n"])
async def test_the_hub_acts_for_no_system_account(make, node, user):
    for identity in ("certificate", "sudo"):
        with pytest.raises(ConnectFailed):
            await run(make(slurm={"identity": identity}), "sbatch", user=user)
    assert node.logins == []


async def test_an_untrusted_ca_is_named(make, node, state_dir):
    (state_dir / "user_ca").unlink()
    (state_dir / "user_ca.pub").unlink()
    create_ca(state_dir / "user_ca")
    with pytest.raises(ConnectFailed, match=r"does not let the hub in as alice.*CA"):
        await run(make(), "true")


async def test_a_missing_ca_is_named(make, state_dir):
    (state_dir / "user_ca").unlink()
    with pytest.raises(ConnectFailed, match="minihub ca init"):
        await run(make(), "true")


async def test_an_expired_certificate_does_not_log_in(make, node, state_dir):
    class OldClock(SystemClock):
        def wall(self) -> float:
            return super().wall() - 3600

    transport = make()
    transport._clock = OldClock()
    with pytest.raises(ConnectFailed, match="clocks"):
        await run(transport, "true")


@pytest.mark.parametrize("word", ["a\nb", "a\0b"])
async def test_an_argument_with_a_line_feed_is_refused(make, node, word):
    with pytest.raises(ConnectFailed, match="line feed"):
        await run(make(), "echo", word)
    assert node.commands == []


def test_helper_is_no_identity_of_ssh():
    with pytest.raises(ConfigError, match="helper"):
        resolve_identity(parse_settings({"slurm": {"identity": "helper"}}))
    assert resolve_identity(parse_settings({})) == "certificate"


async def test_no_login_node_is_a_clear_error(state_dir):
    with pytest.raises(ConfigError, match="login_nodes"):
        SshTransport(parse_settings({}), SystemClock(), "minihub", state_dir, via_ssh=False)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("login", LoginNode("login")),
        ("login:2222", LoginNode("login", 2222)),
        ("[::1]:2222", LoginNode("::1", 2222)),
        ("[::1]", LoginNode("::1")),
        ("2001:db8::7", LoginNode("2001:db8::7")),
    ],
)
def test_login_nodes_are_hosts_with_or_without_port(text, node):
    assert parse_login_node(text) == node


@pytest.mark.parametrize("text", ["", ":22", "login:ssh", "lo gin", "-oProxyCommand=x"])
def test_other_login_nodes_are_refused(text):
    with pytest.raises(ConfigError, match="login_nodes"):
        parse_login_node(text)


# -- sudo (the real sudo is tested on the cluster)


@pytest.fixture
def service_key(node, state_dir) -> Path:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = state_dir / "service_key"
    path.write_bytes(key.export_private_key())
    path.chmod(0o600)
    return path


@pytest.fixture
async def sudo_node(node, state_dir, service_key, tmp_path):
    """A login node that knows the service key only, with a stand-in for sudo on PATH."""
    port = node.port
    await node.stop()
    node.authorized = asyncssh.read_public_key(service_key).export_public_key().decode()
    await node.start(port)
    (tmp_path / "bin").mkdir()
    sudo = tmp_path / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\necho sudo "$@"\nprintf "minihub-job: ready\\n" >&2\necho err >&2\n')
    sudo.chmod(0o755)
    node.bin_dir = str(tmp_path / "bin")
    node.sudo = sudo
    return node


async def test_sudo_runs_the_wrapper_over_one_connection(make, sudo_node):
    transport = make(slurm={"identity": "sudo", "bin_dir": sudo_node.bin_dir, "wrapper": "/x/minihub-job"})
    for user in ("alice", "bob"):
        done = await run(transport, "sbatch", "--parsable", user=user)
        assert done.stdout == f"sudo -n -u {user} -- /x/minihub-job --ready --timeout=30 sbatch --parsable\n"
        assert done.stderr == "err\n"
    assert (await run(transport, "echo", "plain", user=None)).stdout == "plain\n"
    assert sudo_node.logins == ["minihub"]


async def test_other_programs_do_not_go_through_sudo(make, sudo_node):
    with pytest.raises(ConnectFailed, match="squeue"):
        await run(make(slurm={"identity": "sudo"}), "squeue")


async def test_a_refusing_sudo_certainly_ran_nothing(make, sudo_node):
    sudo_node.sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    with pytest.raises(ConnectFailed, match="password is required"):
        await run(make(slurm={"identity": "sudo", "bin_dir": sudo_node.bin_dir}), "sbatch")


async def test_a_service_key_that_others_can_read_is_refused(make, sudo_node, service_key):
    service_key.chmod(0o644)
    with pytest.raises(ConnectFailed, match="chmod 600"):
        await run(make(slurm={"identity": "sudo"}), "true", user=None)


# -- forwards


@pytest.fixture
async def echo_port():
    async def echo(reader, writer):
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def say(path: Path, text: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_forward_leads_to_the_port(make, node, echo_port):
    transport = make(via_ssh=True)
    path = await transport.open_forward("alice", "127.0.0.1", echo_port)
    assert await say(path, b"hello") == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    same = await asyncio.gather(*(transport.open_forward("alice", "127.0.0.1", echo_port) for _ in range(5)))
    assert set(same) == {path}
    assert await transport.open_forward("bob", "127.0.0.1", echo_port) != path
    await transport.close_forward("alice", "127.0.0.1", echo_port)
    await transport.close_forward("alice", "127.0.0.1", echo_port)
    assert not path.exists()


async def test_a_forward_needs_the_permission_in_the_certificate(make, node, echo_port):
    path = await make(via_ssh=False).open_forward("alice", "127.0.0.1", echo_port)
    try:
        answer = await say(path, b"hello")
    except ConnectionError:
        answer = b""
    assert answer == b""


async def test_a_forward_is_made_anew_at_the_same_path(make, node, echo_port):
    transport = make(via_ssh=True)
    path = await transport.open_forward("alice", "127.0.0.1", echo_port)
    node.drop()
    await until(lambda: len(node.logins) == 2 and path.exists())
    assert await say(path, b"again") == b"again"
    assert await transport.open_forward("alice", "127.0.0.1", echo_port) == path


async def test_a_forward_keeps_its_connection_from_idling_out(make, node, echo_port):
    transport = make(via_ssh=True, idle_close_s=0.1)
    path = await transport.open_forward("alice", "127.0.0.1", echo_port)
    await run(transport, "true")
    await asyncio.sleep(0.3)
    assert await say(path, b"still") == b"still"
    assert node.logins == ["alice"]
    await transport.close_forward("alice", "127.0.0.1", echo_port)
    await until(lambda: not node.connections)


async def test_sockets_of_an_earlier_process_are_removed(make, state_dir, echo_port):
    directory = state_dir / "run" / "forwards"
    directory.mkdir(parents=True)
    stale = directory / "fwd-0123456789abcdef.sock"
    stale.touch()
    await make(via_ssh=True).open_forward("alice", "127.0.0.1", echo_port)
    assert not stale.exists()
    assert len(os.listdir(directory)) == 1


# -- warming up and closing


async def test_warm_connects_ahead_and_never_raises(make, node):
    transport = make()
    await transport.warm("alice")
    await transport.warm("root")
    await until(lambda: node.logins == ["alice"] and len(node.connections) == 1)
    await run(transport, "true")
    assert node.logins == ["alice"]
    await node.stop()
    await transport.warm("bob")
    await asyncio.sleep(0.1)


async def test_close_ends_everything_and_may_be_called_twice(make, node, echo_port):
    transport = make(via_ssh=True)
    path = await transport.open_forward("alice", "127.0.0.1", echo_port)
    running = asyncio.ensure_future(run(transport, "sleep", "60"))
    opening = asyncio.ensure_future(run(transport, "sleep", "60", user="bob"))
    await until(lambda: node.open_now == 1)
    await asyncio.gather(transport.close(), transport.close())
    for task in (running, opening):
        with pytest.raises((ConnectionLost, ConnectFailed)):
            await task
    with pytest.raises(ConnectFailed, match="shutting down"):
        await run(transport, "true")
    await until(lambda: not node.connections)
    assert not path.exists()
    assert len(transport._keeper) == 0
