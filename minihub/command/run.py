"""Runs one command: finds its way to the hub, asks, returns the exit status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from minihub.command.failures import NotRunning, WrongUsage
from minihub.command.link import Link, open_link
from minihub.command.reach import Way, way_by_socket, way_by_url
from minihub.config import Settings

Command = Callable[[Link, argparse.Namespace], Awaitable[int]]
Offline = Callable[[argparse.Namespace], int]


def run_command(
    options: argparse.Namespace,
    load: Callable[[], Settings],
    sockets: Callable[[Settings], Sequence[Path]],
    offline: Offline | None = None,
) -> int:
    """Run what `options.command` names.

    Args:
        options: As `words` defines them.
        load: Reads this machine's settings; not called with --url.
        sockets: Where a hub with these settings has its admin socket.
        offline: What to do where no hub runs on this machine; None: say so.

    Raises:
        CommandFailed: With its exit status.
    """
    room, _, name = options.command.partition(".")
    command: Command = getattr(importlib.import_module(f"minihub.command.{room}"), name)
    with contextlib.ExitStack() as stack:
        try:
            way = _find_way(options, load, sockets, stack)
        except NotRunning:
            if offline is None:
                raise
            return offline(options)
        try:
            return asyncio.run(_ask(way, command, options))
        except BrokenPipeError:
            # `minihub history | head`: nobody reads on, and Python would complain once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def _find_way(
    options: argparse.Namespace,
    load: Callable[[], Settings],
    sockets: Callable[[Settings], Sequence[Path]],
    stack: contextlib.ExitStack,
) -> Way:
    if options.url:
        return way_by_url(options.url, options.token_file, insecure=options.insecure, ca_file=options.ca_file)
    for name in ("token_file", "ca_file", "insecure"):
        if getattr(options, name):
            raise WrongUsage(
                f"--{name.replace('_', '-')} goes with --url: the hub of this machine needs none"
            )
    settings = load()
    return stack.enter_context(way_by_socket(sockets(settings), settings.hub.base_path))


async def _ask(way: Way, command: Command, options: argparse.Namespace) -> int:
    async with open_link(way) as hub:
        status = await command(hub, options)
    sys.stdout.flush()
    return status
