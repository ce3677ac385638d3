"""The words and options of the commands that ask a hub, for argparse. Imports nothing big: `serve` loads it too."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minihub.command.times import parse_moment, parse_span

STATES = ("submitting", "queued", "starting", "ready", "stopping")
SERVER_ORDER = ("user", "state", "node", "created", "last_activity")
USER_ORDER = ("id", "name", "last_activity")
SHELLS = ("bash", "tcsh", "zsh")
HUB_GROUP = "which hub, and how it is shown"

Run = Callable[[argparse.Namespace], int]


def add_hub_commands(commands: Any, run: Run) -> None:
    """Add them all.

    Args:
        commands: What `add_subparsers` returned.
        run: Runs any of them; `command` in its options says which ("servers.show").
    """
    _add_servers(_Group(commands, "servers", "users' servers: see them, stop them", run))
    _add_users(_Group(commands, "users", "the users whom the hub knows", run))
    _add_tokens(_Group(commands, "tokens", "API tokens", run))
    alone = _Group(commands, "", "", run)
    _add_records(alone)
    _add_announce(alone)
    alone.add("scheduler", "scheduler.show", "how the scheduler does: last listing, outage, stray jobs", "")


class _Group:
    """Actions of one command, or commands that have none."""

    def __init__(self, commands: Any, name: str, help_text: str, run: Run) -> None:
        self._run = run
        self._name = name
        self._actions = commands
        if name:
            group = commands.add_parser(name, help=help_text, description=f"{_sentence(help_text)}.")
            self._actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(self, word: str, command: str, help_text: str, example: str) -> argparse.ArgumentParser:
        """One action; `example` is what follows it on a line that somebody could type."""
        line = " ".join(part for part in ("minihub", self._name, word, example) if part)
        parser: argparse.ArgumentParser = self._actions.add_parser(
            word,
            help=help_text,
            description=f"{_sentence(help_text)}.",
            epilog=f"example:\n  {line}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # `--token SECRET` is not to be taken for --token-file.
            allow_abbrev=False,
        )
        parser.set_defaults(run=self._run, command=command)
        _add_hub_options(parser)
        return parser


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _add_hub_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(HUB_GROUP)
    group.add_argument("--json", action="store_true", help="print JSON, for scripts")
    group.add_argument(
        "--url", metavar="URL", help="a hub elsewhere, with a token (default: the one on this machine)"
    )
    group.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file that holds the token for --url, - for stdin (default: the variable MINIHUB_TOKEN)",
    )
    group.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="trust these certificates (PEM) for --url"
    )
    group.add_argument("--insecure", action="store_true", help="trust any certificate, or none, for --url")


def _span(text: str) -> float:
    try:
        return parse_span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(text: str) -> str:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _order(words: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.removeprefix("-") not in words:
            raise argparse.ArgumentTypeError(
                f"{text!r}: sort by {', '.join(words)}; -WORD the other way round"
            )
        return text

    return parse


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")


def _add_servers(group: _Group) -> None:
    listing = group.add("list", "servers.listing", "show the servers that live", "--idle-longer 2h")
    listing.add_argument("--user", help="of this user")
    _add_choice(listing)
    listing.add_argument(
        "--sort",
        type=_order(SERVER_ORDER),
        metavar="WORD",
        help=f"by {', '.join(SERVER_ORDER)}; --sort=-created: newest first",
    )
    show = group.add("show", "servers.show", "show all about one user's server", "alice")
    show.add_argument("user", metavar="USER", help="whose it is")
    stop = group.add("stop", "servers.stop", "stop servers and cancel their jobs", "--node node7")
    stop.add_argument("user", metavar="USER", nargs="*", help="stop the servers of these users")
    stop.add_argument("--all", action="store_true", help="stop them all")
    _add_choice(stop)
    stop.add_argument("--dry-run", action="store_true", help="only show which ones it would be")
    stop.add_argument(
        "--wait", type=_span, metavar="SPAN", help="until they have ended, for at most 90s, 5m ..."
    )
    _add_yes(stop)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", choices=STATES, help="in this state")
    parser.add_argument("--node", help="on this node")
    parser.add_argument("--account", help="charged to this Slurm account")
    parser.add_argument("--partition", help="in this partition")
    parser.add_argument(
        "--older-than", type=_span, metavar="SPAN", help="started longer ago than 12h, 3d ..."
    )
    parser.add_argument(
        "--idle-longer", type=_span, metavar="SPAN", help="unused for longer than 30m, 2h ..."
    )


def _add_users(group: _Group) -> None:
    listing = group.add("list", "users.listing", "show the users whom the hub knows", "--state active")
    listing.add_argument("--state", choices=("active", "ready", "inactive"), help="by what their server does")
    listing.add_argument("--filter", metavar="TEXT", help="whose name contains this")
    listing.add_argument(
        "--sort", type=_order(USER_ORDER), metavar="WORD", help=f"by {', '.join(USER_ORDER)}"
    )
    show = group.add("show", "users.show", "show all about one user", "alice")
    show.add_argument("user", metavar="USER", help="who")
    revoke = group.add("revoke", "users.revoke", "end all login sessions and API tokens of users", "alice")
    admit = group.add(
        "admit", "users.admit", "let users in beyond the allow lists of the settings", "alice bob"
    )
    forget = group.add(
        "forget", "users.forget", "stop, revoke and forget users (no Unix account is touched)", "alice"
    )
    for parser in (revoke, admit, forget):
        parser.add_argument("user", metavar="USER", nargs="+", help="whom")
    for parser in (revoke, forget):
        _add_yes(parser)


def _add_tokens(group: _Group) -> None:
    create = group.add(
        "create", "tokens.create", "make a token; it is shown this once", "--user alice --days 30"
    )
    create.add_argument("--user", help="whose token it is (with --url: the owner of the token that asks)")
    create.add_argument("--note", default="", help="what it is for")
    create.add_argument(
        "--scope", action="append", default=[], help="what it may do (default: self); may be repeated"
    )
    create.add_argument("--days", type=float, help="valid for so many days (default: as long as may be)")
    listing = group.add("list", "tokens.listing", "show tokens, without their secrets", "--user alice")
    listing.add_argument("--user", help="of this user only")
    revoke = group.add("revoke", "tokens.revoke", "end a token", "--user alice 3f9c01ab22de")
    revoke.add_argument("--user", required=True, help="whose token it is")
    revoke.add_argument("id", metavar="ID", help="as `minihub tokens list` shows it")


def _add_records(alone: _Group) -> None:
    history = alone.add(
        "history", "records.history", "show past and present servers", "--since 7d --user alice"
    )
    history.add_argument("--user", help="of this user")
    history.add_argument("--csv", action="store_true", help="print CSV, for spreadsheets")
    audit = alone.add(
        "audit", "records.audit", "show who did what: logins, starts, stops, tokens", "--about alice"
    )
    audit.add_argument("--about", metavar="USER", help="done by or to this user")
    audit.add_argument("--actor", metavar="USER", help="done by this user")
    audit.add_argument("--action", metavar="WORD", help="only these acts, such as login or stop")
    for parser in (history, audit):
        parser.add_argument("--since", type=_moment, metavar="WHEN", help="from then on: 7d, 24h, 2026-11-26")
        parser.add_argument("--until", type=_moment, metavar="WHEN", help="until then")
        parser.add_argument(
            "--limit",
            type=_count,
            metavar="N",
            help="so many, the newest; 0: all (default: 100 for people, all for --json and --csv)",
        )


def _add_announce(alone: _Group) -> None:
    announce = alone.add(
        "announce",
        "announcements.announce",
        "tell users something on every page",
        '--for 2h "Slurm is down at noon."',
    )
    announce.add_argument(
        "text", metavar="TEXT", nargs="?", help="what to tell; without it, or -, it comes on stdin"
    )
    announce.add_argument("--level", choices=("info", "warning"), default="info", help="how it looks")
    announce.add_argument(
        "--for",
        dest="span",
        type=_span,
        metavar="SPAN",
        help="take it down after 2h, 3d ... (default: never)",
    )
    announce.add_argument("--list", action="store_true", dest="listing", help="show what is told now")
    announce.add_argument(
        "--delete", metavar="ID", type=_count, help="take this one down, as --list shows it"
    )
