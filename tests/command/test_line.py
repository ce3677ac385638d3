"""The command line as a whole: what it imports, pipes that end early, completion."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command.conftest import server

ROOT = Path(__file__).parents[2]


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    ).stdout


def test_serve_and_config_pay_nothing_for_the_other_commands():
    """`serve` forks its helper first, while the process is small."""
    big = "{'rich', 'shtab', 'aiohttp', 'asyncssh', 'pydantic', 'sqlalchemy'}"
    parser = "import sys; from minihub.cli import _build_parser; _build_parser()"
    assert run(f"{parser}; print(sorted({big} & set(sys.modules)))") == "[]\n"
    assert run("import sys, minihub.app; print(sorted({'rich', 'shtab'} & set(sys.modules)))") == "[]\n"


async def test_a_pipe_that_ends_early_is_no_error(hub, directory):
    hub.will("GET", "/servers", [server(f"u{number}") for number in range(2000)])
    line = (
        f'"{sys.executable}" -m minihub servers list --json --config "{directory}/minihub.toml" | head -n 1'
    )
    done = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", line], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
async def test_completion(minihub, shell):
    done = await minihub("completion", shell)
    assert (done.status, done.err) == (0, "")
    for word in ("servers", "revoke", "--idle-longer" if shell != "tcsh" else "rotate"):
        assert word in done.out
    if shell == "bash":
        parsed = subprocess.run(["bash", "-n"], input=done.out, capture_output=True, text=True, check=False)
        assert (parsed.returncode, parsed.stderr) == (0, "")


async def test_completion_of_an_unknown_shell(minihub):
    done = await minihub("completion", "fish")
    assert (done.status, "the shells are bash, tcsh, zsh" in done.err) == (2, True)


async def test_no_hub_command_takes_a_token_as_argument(minihub):
    done = await minihub("servers", "list", "--url", "https://hub.example.org", "--token", "mh_secret")
    assert (done.status, "unrecognized arguments: --token" in done.err) == (2, True)
