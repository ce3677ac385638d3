"""The command line; nothing else reads argv.

Heavy imports stand inside the commands: `serve` forks the privileged helper before any of them, and `config` needs none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minihub import __version__
from minihub.command.words import SHELLS, add_hub_commands
from minihub.errors import HubError

if TYPE_CHECKING:
    from minihub.config import Settings

EXIT_FAILED = 1
_LONGEST_IDLE_S = 600


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _build_parser().parse_args(argv)
    try:
        return int(options.run(options) or 0)
    except HubError as error:
        print(f"minihub: {error.user_message}", file=sys.stderr)
        if error.detail:
            print(f"minihub: {error.detail}", file=sys.stderr)
        return int(getattr(error, "exit_status", EXIT_FAILED))
    except KeyboardInterrupt:
        return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minihub", description="Gives every user of a Slurm cluster a Jupyter server in the browser."
    )
    parser.add_argument("--version", action="version", version=f"minihub {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); else searched for")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="run the hub")
    serve.set_defaults(run=_serve)

    config = commands.add_parser("config", help="show the settings in effect")
    config.add_argument(
        "--reference", action="store_true", help="show every setting with its meaning instead"
    )
    config.set_defaults(run=_config)

    check = commands.add_parser(
        "check", help="test every hop from login to Jupyter on a node, and say what to cure"
    )
    check.add_argument(
        "--user", default="", help="act as this user for the test job (default: who runs the command)"
    )
    check.add_argument("--no-job", action="store_true", help="submit no test job")
    check.add_argument(
        "--password-stdin", action="store_true", help="try that user's login too; the password comes on stdin"
    )
    check.add_argument(
        "--url", default="", help="the address that users type, if hub.public_url does not say it"
    )
    check.add_argument(
        "--idle",
        type=_idle_seconds,
        default=5.0,
        metavar="SECONDS",
        help="so long a silent websocket has to stay open",
    )
    check.add_argument("--json", action="store_true", help="print JSON at the end, for scripts")
    check.set_defaults(run=_check)

    _add_ca(commands)
    add_hub_commands(commands, _ask_hub)

    verify = commands.add_parser(
        "verify", help="log in, run a notebook cell, log out; the password comes on stdin"
    )
    verify.add_argument("--url", default="http://127.0.0.1:8000/", help="the hub's URL")
    verify.add_argument("--user", required=True, help="whom to log in")
    verify.add_argument(
        "--insecure", action="store_true", help="take any TLS certificate, such as a self-signed one"
    )
    verify.set_defaults(run=_verify)
    completion = commands.add_parser("completion", help="print a shell's completion of these commands")
    completion.add_argument("shell", metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    completion.set_defaults(run=_completion, parser=parser)
    # After the command too: `minihub serve --config FILE` is what people type.
    for command in _leaves(commands):
        command.add_argument(
            "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    return parser


def _idle_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_IDLE_S:
        raise argparse.ArgumentTypeError(f"{text!r}: more than 0 and at most {_LONGEST_IDLE_S} seconds")
    return seconds


def _leaves(commands: Any) -> Iterator[argparse.ArgumentParser]:
    """Every parser below."""
    for parser in commands.choices.values():
        yield parser
        for action in parser._actions:  # noqa: SLF001 - argparse has no other way to its subparsers
            if isinstance(action.choices, dict):
                yield from action.choices.values()


def _add_ca(commands: Any) -> None:
    ca = commands.add_parser("ca", help="the ssh user certificate authority")
    actions = ca.add_subparsers(title="actions", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="make the CA's key and print what login nodes need")
    show = actions.add_parser("show", help="print what login nodes need")
    rotate = actions.add_parser("rotate", help="change to a new key, in steps, while everything runs")
    way = rotate.add_mutually_exclusive_group()
    way.add_argument(
        "--finish", action="store_true", help="the new key signs from now on; the old one is gone"
    )
    way.add_argument("--abandon", action="store_true", help="remove the new key; the old one stays")
    rotate.add_argument(
        "--user", default="", help="--finish: for whom the new key is tried on the login nodes"
    )
    rotate.add_argument("--untested", action="store_true", help="--finish: without trying it there")
    for name, parser in (("init", init), ("show", show), ("rotate", rotate)):
        parser.add_argument("--group", default="minihub-users", help="Unix group of the hub's users")
        parser.set_defaults(run=_ca, what=name)


# ---- serve ----------------------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    # First of all, while this process is small and holds nothing.
    from minihub.helper.parent import fork_helper  # noqa: PLC0415

    handle = fork_helper()
    from minihub.memory import begin_start, keep_small  # noqa: PLC0415

    keep_small()
    begin_start()
    from minihub.building import prepare_ground  # noqa: PLC0415
    from minihub.logs import configure_logging  # noqa: PLC0415

    settings = _load(options)
    configure_logging(settings.hub.log_level, as_json=settings.hub.log_json)
    _check_jupyter(settings)
    ground = prepare_ground(settings, handle)
    from minihub.app import serve  # noqa: PLC0415

    _run(serve(ground), settings)
    return 0


def _check_jupyter(settings: Settings) -> None:
    """Say it now if users cannot reach the Jupyter that is named, rather than fail at each start."""
    folder = Path(settings.jupyter.bin_dir) if settings.jupyter.bin_dir else None
    if folder is None or os.geteuid() != 0:
        return
    closed = [p for p in (folder, *folder.parents) if p.is_dir() and not p.stat().st_mode & 0o001]
    if closed:
        print(
            f"minihub: jupyter.bin_dir: other users cannot enter {closed[0]}; put Jupyter where they can, such as /opt",
            file=sys.stderr,
        )


def _run(main_work: Coroutine[Any, Any, None], settings: Settings) -> None:
    if settings.hub.uvloop:
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: PLC0415

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main_work)
            return
    asyncio.run(main_work)


# ---- the others -----------------------------------------------------------------------------------------------------


def _load(options: argparse.Namespace) -> Settings:
    from minihub.settings_file import load_settings  # noqa: PLC0415

    return load_settings(options.config)


def _config(options: argparse.Namespace) -> int:
    from minihub.reference import build_reference  # noqa: PLC0415

    if options.reference:
        print(build_reference(), end="")
        return 0
    print(json.dumps(_load(options).model_dump(mode="json"), indent=2))
    return 0


def _state_dir(settings: Settings) -> Path:
    from minihub import places  # noqa: PLC0415

    return places.state_dir(settings, as_root=os.geteuid() == 0)


def _ca(options: argparse.Namespace) -> int:
    from minihub.command import authority  # noqa: PLC0415 - asyncssh is big

    settings = _load(options)
    act = {"init": authority.init, "show": authority.show, "rotate": authority.rotate}[options.what]
    return act(options, settings, _state_dir(settings))


def _check(options: argparse.Namespace) -> int:
    # First of all, as for `serve`.
    from minihub.helper.parent import fork_helper  # noqa: PLC0415

    handle = fork_helper()
    from minihub.checks.bench import Wish  # noqa: PLC0415
    from minihub.checks.run import run_checks  # noqa: PLC0415

    password = sys.stdin.readline().rstrip("\n") if options.password_stdin else None
    wish = Wish(options.user, not options.no_job, password, options.url, options.idle)
    return run_checks(handle, options.config, wish, as_json=options.json)


def _verify(options: argparse.Namespace) -> int:
    from minihub.verify import verify  # noqa: PLC0415

    password = sys.stdin.readline().rstrip("\n")
    asyncio.run(verify(options.url, options.user, password, insecure=options.insecure))
    return 0


def _completion(options: argparse.Namespace) -> int:
    import shtab  # noqa: PLC0415

    if options.shell not in SHELLS:
        options.parser.error(f"{options.shell!r}: the shells are {', '.join(SHELLS)}")
    print(shtab.complete(options.parser, shell=options.shell))
    return 0


def _ask_hub(options: argparse.Namespace) -> int:
    from minihub.command.run import run_command  # noqa: PLC0415

    offline = _tokens_in_store if options.command.startswith("tokens.") else None
    return run_command(options, lambda: _load(options), _sockets, offline)


def _sockets(settings: Settings) -> list[Path]:
    """Where a hub with these settings has its admin socket; one that root started has it elsewhere than one of ours."""
    from minihub import places  # noqa: PLC0415

    found = [_state_dir(settings), places.state_dir(settings, as_root=True)]
    return [places.admin_socket(state) for state in dict.fromkeys(found)]


def _tokens_in_store(options: argparse.Namespace) -> int:
    from minihub.command.tokens import without_hub  # noqa: PLC0415

    settings = _load(options)
    return without_hub(options, settings, _own_store(settings))


def _own_store(settings: Settings) -> Path:
    """The state directory; root becomes the hub's user, to whom it belongs."""
    state = _state_dir(settings)
    if os.geteuid() == 0:
        from minihub.building import find_hub_user  # noqa: PLC0415
        from minihub.helper.privileges import drop_to  # noqa: PLC0415

        drop_to(find_hub_user(settings))
    return state


if __name__ == "__main__":
    raise SystemExit(main())
