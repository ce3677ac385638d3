"""Chooses the hops that these settings have, runs them, prints them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from minihub import places
from minihub.building import Ground, build_scheduler, build_transport, prepare_ground, uses_ssh
from minihub.checks import hub, slurm
from minihub.checks.bench import Bench, Wish
from minihub.checks.model import Found, Hop, Result, exit_status, run_hops
from minihub.checks.onward import Onward
from minihub.checks.printing import build_json, format_result, format_summary
from minihub.checks.public import Public
from minihub.clock import SystemClock
from minihub.config import Settings
from minihub.errors import HubError
from minihub.helper.client import HelperClient
from minihub.helper.parent import HelperHandle
from minihub.settings_file import load_settings, settings_paths
from minihub.tasks import TaskKeeper

RUNTIME_NAME = "check"
"""Our directory below the hub's runtime directory: a running hub's sockets and records are not touched."""

Say = Callable[[str], None]


def run_checks(
    handle: HelperHandle, path: Path | None, wish: Wish, say: Say = print, *, as_json: bool = False
) -> int:
    """Test every hop; returns the exit status.

    Args:
        handle: A helper that was forked first of all; it ends with us.
        path: The settings file; None: searched for.
        wish: What was asked for.
        say: Takes one text after the other.
        as_json: Say it all at the end, as one JSON object.
    """
    results: list[Result] = []
    aside: Say = _say_nothing if as_json else say

    def tell(result: Result) -> None:
        results.append(result)
        aside(format_result(result))

    try:
        ground = _prepare(handle, path, tell)
        if ground is not None:
            # asyncssh and others tell their own of every failure; here the results do.
            logging.disable(logging.ERROR)
            asyncio.run(_run(ground, wish, tell, aside))
    finally:
        handle.close()
    say(build_json(results) if as_json else format_summary(results))
    return exit_status(results)


def _prepare(handle: HelperHandle, path: Path | None, tell: Callable[[Result], None]) -> Ground | None:
    """The two hops before the event loop: they end with root given up for good."""
    hop = "settings"
    try:
        found = path or next((p for p in settings_paths() if p.is_file()), None)
        settings = load_settings(path)
        tell(Result(hop, True, f"{found or 'no file, all defaults'}; {_describe(settings)}"))
        hop = "user and directories"
        started_as = pwd.getpwuid(os.geteuid()).pw_name
        ground = prepare_ground(settings, handle, below=RUNTIME_NAME)
    except HubError as error:
        first, _, rest = f"{error.user_message} {error.detail}".strip().partition("\n")
        cure = rest or _CURES.get(hop, "")
        tell(Result(hop, False, first, cure))
        return None
    root = ground.helper_info.root
    who = f"started as {started_as}, runs as {ground.hub_user}{'' if root else ', without root'}"
    tell(Result(hop, True, f"{who}; state in {ground.state_dir}"))
    return ground


_CURES = {
    "settings": "`minihub config --reference` shows every setting.",
    "user and directories": "Run this as root or as the hub's own user, or set hub.state_dir and hub.runtime_dir.",
}


def _describe(settings: Settings) -> str:
    if places.scheduler_name(settings) == "local":
        return "servers run on this machine"
    where = f"ssh to {', '.join(settings.ssh.login_nodes)}" if uses_ssh(settings) else "commands on this host"
    return f"Slurm, {where}"


async def _run(ground: Ground, wish: Wish, tell: Callable[[Result], None], say: Say) -> None:
    # The test job is cancelled on the way out, also when somebody ends us.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        helper = await HelperClient.connect(ground.helper)
        stack.push_async_callback(helper.close)
        keeper = TaskKeeper()
        stack.push_async_callback(keeper.close)
        try:
            transport = build_transport(ground, clock, helper)
        except HubError as error:
            tell(Result("settings fit together", False, error.user_message, _CURES["settings"]))
            return
        if transport is not None:
            stack.push_async_callback(transport.close)
        scheduler = build_scheduler(ground, clock, helper, transport)
        stack.push_async_callback(scheduler.close)
        bench = Bench(ground, wish, clock, keeper, stack, helper, transport, scheduler, _mention(say))
        await run_hops(choose_hops(bench), tell)


def _say_nothing(_: str) -> None:
    """For JSON, which comes at the end."""


def _mention(say: Say) -> Callable[[str], None]:
    return lambda text: say(f"...      {text}")


def choose_hops(bench: Bench) -> Sequence[Hop]:
    """The hops of these settings, in the order in which a start meets them."""
    here = [
        Hop("key files", partial(hub.key_files, bench), cure=hub.CURE_KEYS),
        Hop("store", partial(hub.store, bench), ("key files",), cure=hub.CURE_STORE),
        Hop("PAM", partial(hub.pam, bench)),
    ]
    user = Hop("test user", partial(hub.test_user, bench))
    onward = Onward(bench)
    if bench.is_local:
        jupyter = Hop("Jupyter's folder", partial(hub.jupyter_here, bench), ("test user",))
        first = Hop("test server", onward.job, ("test user", "Jupyter's folder"), cure=_CURE_SUBMIT)
        return [*here, user, jupyter, *_onward_hops(onward, first), *_public_hops(bench)]
    to_slurm = _ssh_hops(bench) if uses_ssh(bench.settings) else []
    acting = Hop("acting as the test user", _acting(bench), ("login nodes", "host keys", "test user"))
    asked = [
        Hop("Slurm's commands", partial(slurm.programs, bench), ("service account",)),
        Hop("Slurm answers", partial(slurm.answers, bench), ("Slurm's commands",), cure=_CURE_SILENT),
        Hop("listing", partial(slurm.listing, bench), ("Slurm answers",), cure=_CURE_SILENT),
        Hop("accounts", partial(slurm.accounts, bench), ("Slurm answers", "test user"), cure=_CURE_SILENT),
    ]
    if uses_ssh(bench.settings) and len(bench.settings.ssh.login_nodes) > 1:
        asked.append(_each_node(bench))
    first = Hop("test job", onward.job, ("acting as the test user", "listing", "accounts"), cure=_CURE_SUBMIT)
    return [*here, *to_slurm, user, acting, *asked, *_onward_hops(onward, first), *_public_hops(bench)]


def _ssh_hops(bench: Bench) -> list[Hop]:
    from minihub.checks import ssh  # noqa: PLC0415 - asyncssh is big

    return [
        Hop("login nodes", partial(ssh.login_nodes, bench)),
        Hop("host keys", partial(ssh.host_keys, bench), ("login nodes",)),
        Hop("service account", partial(ssh.service_login, bench), ("host keys",)),
    ]


def _acting(bench: Bench) -> Callable[[], Awaitable[Found]]:
    from minihub.checks import ssh  # noqa: PLC0415

    return partial(ssh.acting_as_user, bench)


def _each_node(bench: Bench) -> Hop:
    from minihub.checks import ssh  # noqa: PLC0415

    return Hop(
        "each login node", partial(ssh.every_node, bench), ("acting as the test user", "Slurm answers")
    )


def _onward_hops(onward: Onward, first: Hop) -> list[Hop]:
    bench = onward.bench
    jupyter = "Jupyter" if bench.is_local else "Jupyter on the node"
    name = [] if bench.is_local else [Hop("node name", onward.node_name, (first.name,))]
    reach = Hop("hub to server", onward.reach, (jupyter, "node name"))
    return [
        first,
        *name,
        Hop(jupyter, onward.jupyter, (first.name,)),
        Hop("report of the port", onward.report, (jupyter,)),
        reach,
        Hop("Jupyter's pages", onward.pages, (reach.name,)),
        Hop("log", onward.log, (first.name,)),
    ]


def _public_hops(bench: Bench) -> list[Hop]:
    public = Public(bench)
    first, socket = "public URL", "websocket"
    return [
        Hop(first, public.reach, ("key files",)),
        Hop("forwarded headers", public.headers, (first,)),
        Hop(socket, public.open_websocket, (first,)),
        Hop("silent websocket", public.stay_idle, (socket,)),
        Hop("event stream", public.stream, (first,)),
    ]


_CURE_SUBMIT = "Try the same by hand as this user: sbatch with the account, partition and size of [options]."
_CURE_SILENT = "Is slurmctld up (scontrol ping), and is munge running on the host of the commands?"
