"""Hops to the login nodes: reachable, who they say they are, and they let us in."""

from __future__ import annotations

import asyncio

from minihub.checks.bench import Bench
from minihub.checks.model import CheckFailed, Found
from minihub.errors import ConnectFailed, HostKeyMismatch, HubError, TransportError
from minihub.schedulers.slurm import commands, parsers
from minihub.schedulers.slurm.runner import CommandRunner
from minihub.transports.dialing import Dialer, LoginNode, parse_login_node
from minihub.transports.ssh import SshTransport

LOGIN_TIMEOUT_S = 20.0
TAIL_NO_SUCH_FILE = 1


async def login_nodes(bench: Bench) -> Found:
    """The ssh port of at least one login node takes connections."""
    up: list[str] = []
    down: list[str] = []
    for node in _nodes(bench):
        problem = await _connect(node, bench.settings.ssh.connect_timeout_s)
        (down if problem else up).append(f"{node}: {problem}" if problem else str(node))
    if not up:
        raise CheckFailed(
            "; ".join(down),
            "Is sshd up there, is the name right (ssh.login_nodes), may the hub's machine connect to it?",
        )
    advice = f"Not reachable, and so tried last: {'; '.join(down)}" if down else ""
    return Found(f"{', '.join(up)} reachable", advice)


def _nodes(bench: Bench) -> list[LoginNode]:
    return [parse_login_node(text) for text in bench.settings.ssh.login_nodes]


async def _connect(node: LoginNode, timeout_s: float) -> str:
    """What is wrong, "" if nothing."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(node.host, node.port)
    except TimeoutError:
        return f"no answer on port {node.port} within {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    return ""


async def host_keys(bench: Bench) -> Found:
    """Every login node that answers shows the key that known_hosts has for it."""
    dialer = Dialer(bench.settings.ssh, bench.ground.state_dir, bench.clock, lambda _login: [])
    known, silent, failed = [], [], []
    for node in _nodes(bench):
        try:
            await dialer.verify_host(node)
        except HostKeyMismatch as error:
            failed.append(error)
        except ConnectFailed as error:
            silent.append(f"{node}: {error.detail or error.user_message}")
        else:
            known.append(str(node))
    if failed:
        raise CheckFailed(failed[0].user_message, failed[0].detail)
    if not known:
        raise CheckFailed(
            "; ".join(silent),
            "Put the login nodes' keys into known_hosts; `minihub ca show` says how to get them.",
        )
    advice = f"Not asked, since it does not answer: {'; '.join(silent)}" if silent else ""
    return Found(f"known: {', '.join(known)}", advice)


async def service_login(bench: Bench) -> Found:
    """The service account can log in and run a command."""
    assert bench.transport is not None
    try:
        done = await bench.transport.run(("id", "-un"), user=None, timeout_s=LOGIN_TIMEOUT_S)
    except TransportError as error:
        raise CheckFailed(f"{error.user_message} {error.detail}", _cure_login(bench, service=True)) from error
    if done.exit_status != 0 or done.stdout.strip() != bench.service_user:
        raise CheckFailed(
            f"`id -un` there answers {done.stdout.strip()!r} {done.stderr.strip()!r}",
            f"Does {bench.service_user} have a usual login shell on the login node?",
        )
    return Found(f"{bench.service_user} logs in (in {done.elapsed_s:.2f} s)")


async def acting_as_user(bench: Bench) -> Found:
    """The hub can run a command as the test user."""
    assert bench.transport is not None
    try:
        done = await bench.transport.run(_tail(bench), user=bench.user, timeout_s=LOGIN_TIMEOUT_S)
    except TransportError as error:
        raise CheckFailed(
            f"{error.user_message} {error.detail}", _cure_login(bench, service=False)
        ) from error
    if done.exit_status not in (0, TAIL_NO_SUCH_FILE):
        raise CheckFailed(
            f"tail as {bench.user} ended with {done.exit_status}: {done.stderr.strip()}",
            "Log in there as this user by hand: does a start-up file (.bashrc) fail or hang?",
        )
    how = bench.transport.identity if isinstance(bench.transport, SshTransport) else "local"
    return Found(f"by {how}, a command runs as {bench.user} (in {done.elapsed_s:.2f} s)")


async def every_node(bench: Bench) -> Found:
    """Each login node that is up could serve alone, as it must when the others are down."""
    serving: list[str] = []
    for node in _nodes(bench):
        if await _connect(node, bench.settings.ssh.connect_timeout_s):
            continue  # the hop "login nodes" has told
        transport = _transport_to(node, bench)
        try:
            await _serve(transport, bench)
        except HubError as error:
            raise CheckFailed(
                f"{node}: {error.user_message} {error.detail}",
                "It must be set up as the other login nodes are: the hub goes there when they are down.\n"
                f"Until then, take it out of ssh.login_nodes. {_cure_login(bench, service=False)}",
            ) from error
        finally:
            await transport.close()
        serving.append(str(node))
    return Found(f"Slurm answers, and a command runs as {bench.user}, on {', '.join(serving)}")


def _transport_to(node: LoginNode, bench: Bench) -> SshTransport:
    """The hub's transport, with this login node alone."""
    only = bench.settings.ssh.model_copy(update={"login_nodes": (str(node),)})
    return SshTransport(
        bench.settings.model_copy(update={"ssh": only}),
        bench.clock,
        bench.ground.hub_user,
        bench.ground.state_dir,
        via_ssh=bench.settings.servers.via == "ssh",
        runtime_dir=bench.ground.runtime_dir,
    )


async def _serve(transport: SshTransport, bench: Bench) -> None:
    """Return if it does; raises what the transport or the scheduler's parsers raise."""
    runner = CommandRunner(transport, bench.settings.slurm.command_timeout_s)
    parsers.parse_config(await runner.ask(commands.build_show_config()))
    await transport.run(_tail(bench), user=bench.user, timeout_s=LOGIN_TIMEOUT_S)


def _tail(bench: Bench) -> tuple[str, ...]:
    """The end of a log that need not be there: a command that every identity may run as the test user."""
    path = bench.settings.slurm.log_path.format(home=bench.home, user=bench.user).replace("%j", "0")
    return ("tail", "-c", "1", "--", path)


def _cure_login(bench: Bench, *, service: bool) -> str:
    """What to look at, by identity."""
    transport = bench.transport
    account = bench.service_user if service else bench.user
    if not isinstance(transport, SshTransport):
        return "On this host the hub acts for users as root, or with slurm.identity = 'sudo'."
    if transport.identity == "sudo" and not service:
        return (
            "On the login node: install configs/minihub-job as slurm.wrapper (owner root, mode 755) and\n"
            f"configs/sudoers.d/minihub; {account} must be in the group that it names. Test there, as\n"
            f"{transport.service_user}:  sudo -n -l -U {transport.service_user}"
        )
    if service and _logs_in_by_key(bench, transport):
        return (
            f"The service key's public half must stand in ~{account}/.ssh/authorized_keys on the login node,\n"
            "and the account must have a shell. sshd's log there says why it refuses."
        )
    return (
        "On the login node, compare /etc/ssh/minihub_user_ca.pub and sshd's Match blocks with `minihub ca show`\n"
        f"(the group that {account} is in, the hub's address, AllowUsers/AllowGroups); check that both clocks agree.\n"
        "sshd's log there says why it refuses."
    )


def _logs_in_by_key(bench: Bench, transport: SshTransport) -> bool:
    """Whether the service account has a key of its own; else it gets certificates as users do."""
    own_key = bench.ground.state_dir / "service_key"
    return transport.identity == "sudo" or bool(bench.settings.ssh.service_key) or own_key.exists()
