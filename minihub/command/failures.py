"""What can go wrong with a command, each with the exit status that docs/commands.md promises. Pure."""

from __future__ import annotations

from typing import ClassVar

from minihub.errors import HubError

DONE = 0
FAILED = 1
"""The hub refused, or it did not work."""
WRONG_USAGE = 2
"""argparse's own."""
UNREACHABLE = 3
NOT_FOUND = 4
NOT_PERMITTED = 5


class CommandFailed(HubError):
    """A command did not do its work; says why and what to do next."""

    exit_status: ClassVar[int] = FAILED


class WrongUsage(CommandFailed):
    """The command was called wrongly."""

    exit_status = WRONG_USAGE


class Unreachable(CommandFailed):
    """No hub answers, or what answers is none, or cannot be trusted."""

    exit_status = UNREACHABLE


class NotRunning(Unreachable):
    """No hub runs on this machine with these settings: its store may be used."""


class NotThere(CommandFailed):
    """The hub knows no such thing."""

    exit_status = NOT_FOUND


class NotPermitted(CommandFailed):
    """Whoever runs the command may not do this."""

    exit_status = NOT_PERMITTED
