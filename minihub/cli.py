"""The command line; nothing else reads argv.

Heavy imports stand inside the commands: `serve` forks the privileged helper before any of them, and `config` needs none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minihub import __version__
from minihub.errors import HubError

if TYPE_CHECKING:
    from minihub.config import Settings

EXIT_FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _build_parser().parse_args(argv)
    try:
        return int(options.run(options) or 0)
    except HubError as error:
        print(f"minihub: {error.user_message}", file=sys.stderr)
        if error.detail:
            print(f"minihub: {error.detail}", file=sys.stderr)
        return EXIT_FAILED
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
    check.set_defaults(run=_check)

    ca = commands.add_parser("ca", help="the ssh user certificate authority")
    ca.add_argument("what", choices=("init", "show"), help="make the CA, or show what login nodes need")
    ca.add_argument("--group", default="minihub-users", help="Unix group of the hub's users")
    ca.set_defaults(run=_ca)

    token_actions = _add_tokens(commands)

    verify = commands.add_parser(
        "verify", help="log in, run a notebook cell, log out; the password comes on stdin"
    )
    verify.add_argument("--url", default="http://127.0.0.1:8000/", help="the hub's URL")
    verify.add_argument("--user", required=True, help="whom to log in")
    verify.add_argument(
        "--insecure", action="store_true", help="take any TLS certificate, such as a self-signed one"
    )
    verify.set_defaults(run=_verify)
    # After the command too: `minihub serve --config FILE` is what people type.
    for command in (*commands.choices.values(), *token_actions.choices.values()):
        command.add_argument(
            "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    return parser


def _add_tokens(commands: Any) -> Any:
    tokens = commands.add_parser("tokens", help="API tokens: create, list, revoke (on the hub's machine)")
    actions = tokens.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token; it is shown this once")
    create.add_argument("--user", required=True, help="whose token it is")
    create.add_argument("--note", default="", help="what it is for")
    create.add_argument(
        "--scope", action="append", default=[], help="what it may do (default: self); may be repeated"
    )
    create.add_argument("--days", type=float, default=None, help="valid for so many days")
    create.set_defaults(run=_tokens_create)
    listing = actions.add_parser("list", help="show tokens, without their secrets")
    listing.add_argument("--user", default=None, help="of this user only")
    listing.set_defaults(run=_tokens_list)
    revoke = actions.add_parser("revoke", help="end a token")
    revoke.add_argument("--user", required=True, help="whose token it is")
    revoke.add_argument("id", help="as `list` shows it")
    revoke.set_defaults(run=_tokens_revoke)
    return actions


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
    from minihub.building import find_hub_user, make_directory  # noqa: PLC0415
    from minihub.transports import ca  # noqa: PLC0415

    settings = _load(options)
    state = _state_dir(settings)
    path = Path(settings.ssh.ca_key) if settings.ssh.ca_key else state / "user_ca"
    if options.what == "init":
        make_directory(path.parent, 0o700, find_hub_user(settings) if os.geteuid() == 0 else None)
        authority = ca.create_ca(path)
        if os.geteuid() == 0:
            for file in (path, path.with_name(path.name + ".pub")):
                shutil.chown(file, find_hub_user(settings))
    else:
        authority = ca.load_ca(path)
    addresses = [a.strip() for a in settings.ssh.source_address.split(",") if a.strip()]
    known_hosts = Path(settings.ssh.known_hosts) if settings.ssh.known_hosts else state / "known_hosts"
    print(
        ca.sshd_lines(
            authority.public_line(),
            addresses,
            options.group,
            service_user=settings.slurm.service_user,
            forwarding=settings.servers.via == "ssh",
        )
    )
    print(ca.known_hosts_advice(settings.ssh.login_nodes, known_hosts), end="")
    return 0


def _check(options: argparse.Namespace) -> int:
    # First of all, as for `serve`.
    from minihub.helper.parent import fork_helper  # noqa: PLC0415

    handle = fork_helper()
    from minihub.checks.bench import Wish  # noqa: PLC0415
    from minihub.checks.run import run_checks  # noqa: PLC0415

    password = sys.stdin.readline().rstrip("\n") if options.password_stdin else None
    return run_checks(handle, options.config, Wish(options.user, not options.no_job, password))


def _verify(options: argparse.Namespace) -> int:
    from minihub.verify import verify  # noqa: PLC0415

    password = sys.stdin.readline().rstrip("\n")
    asyncio.run(verify(options.url, options.user, password, insecure=options.insecure))
    return 0


def _tokens_create(options: argparse.Namespace) -> int:
    from minihub.tokens import create_token  # noqa: PLC0415

    settings = _load(options)
    state = _own_store(settings)
    lifetime_s = None if options.days is None else options.days * 86400
    scopes = options.scope or ["self"]
    print(asyncio.run(create_token(settings, state, options.user, options.note, scopes, lifetime_s)))
    return 0


def _tokens_list(options: argparse.Namespace) -> int:
    from minihub.tokens import list_tokens  # noqa: PLC0415

    settings = _load(options)
    for line in asyncio.run(list_tokens(settings, _own_store(settings), options.user)):
        print(line)
    return 0


def _tokens_revoke(options: argparse.Namespace) -> int:
    from minihub.tokens import revoke_token  # noqa: PLC0415

    settings = _load(options)
    asyncio.run(revoke_token(settings, _own_store(settings), options.user, options.id))
    return 0


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
