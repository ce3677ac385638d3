"""Argv through real login shells: what goes in comes out, whatever it holds and whatever start-up files do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minihub.transports.framing import (
    REMOTE_COMMAND,
    STANDARD_PATH,
    WRAPPER_READY,
    AfterMarker,
    build_env_words,
    build_environment,
    build_header,
    build_marker,
    build_sudo,
    build_timed,
    build_words,
    is_overdue,
    program_of,
    split_wrapper,
)

NONCE = "0123456789abcdef"
MARKER = build_marker(NONCE)

# sh, bash and dash are everywhere; the others are tested where they are installed (scripts/test installs them).
SHELLS = [
    path
    for name in ("sh", "bash", "dash", "bsd-csh", "tcsh", "fish", "zsh", "ksh")
    if (path := shutil.which(name))
]
PRINT_ARGV = ["/usr/bin/printf", "%s\\0"]

# The cluster's /bin/sh may be any of these; the constant program is run by it.
PROGRAM = REMOTE_COMMAND.removeprefix("exec /bin/sh -c '").removesuffix("'")
POSIX_SHELLS = [
    ["dash"],
    ["bash"],
    ["bash", "--posix"],
    *([["busybox", "sh"]] if shutil.which("busybox") else []),
]

words = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=30)


def run(
    command: list[str], argv: list[str], stdin: bytes = b"", **options
) -> subprocess.CompletedProcess[bytes]:
    data = build_header(NONCE, argv) + build_words(argv) + stdin
    return subprocess.run(command, input=data, capture_output=True, timeout=20, check=False, **options)


def after(data: bytes) -> bytes:
    before, marker, rest = data.partition(MARKER)
    assert marker, before
    return rest


def test_the_constant_is_safe_in_every_shell():
    assert REMOTE_COMMAND.count("'") == 2
    assert not set("\\!\n") & set(REMOTE_COMMAND)
    assert len(REMOTE_COMMAND) < 1024  # a word of csh


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_carries_argv_and_stdin(shell):
    hostile = [
        "",
        " a  b ",
        "$(touch x)",
        "`id`",
        "'",
        '"',
        "\\",
        "a\\",
        "!!",
        "*",
        "~",
        "%s",
        "-n",
        "é\u2028x",
        "#",
        "a\tb\r",
    ]
    done = run([shell, "-c", REMOTE_COMMAND], [*PRINT_ARGV, *hostile])
    assert after(done.stdout).split(b"\0")[:-1] == [word.encode() for word in hostile]
    assert after(done.stderr) == b""
    assert done.returncode == 0

    script = b"#!/bin/sh\n\xff\x00\n  last line without end"
    assert after(run([shell, "-c", REMOTE_COMMAND], ["/bin/cat"], script).stdout) == script


@pytest.mark.parametrize("shell", POSIX_SHELLS, ids=" ".join)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argv=st.lists(words, min_size=1, max_size=6), stdin=st.binary(max_size=200))
def test_any_argument_survives(shell, argv, stdin):
    done = run(
        [*shell, "-c", PROGRAM], ["/bin/sh", "-c", 'printf "%s\\0" "$@"; exec cat', "sh", *argv], stdin
    )
    assert after(done.stdout) == b"".join(word.encode() + b"\0" for word in argv) + stdin


def test_the_environment_is_exactly_what_we_say():
    environment = build_environment("alice", slurm_conf="/etc/slurm/x.conf")
    done = run(
        ["/bin/bash", "-c", REMOTE_COMMAND],
        build_env_words(environment, ["/usr/bin/env"]),
        env={
            "HOME": "/home/alice",
            "PATH": "/opt/slurm/bin",
            "LD_PRELOAD": "",
            "SHLVL": "1",
            "USER": "mallory",
        },
    )
    assert sorted(after(done.stdout).decode().splitlines()) == [
        "HOME=/home/alice",
        "LANG=C.UTF-8",
        "LOGNAME=alice",
        f"PATH=/opt/slurm/bin:{STANDARD_PATH}",
        "SLURM_CONF=/etc/slurm/x.conf",
        "USER=alice",
    ]


def test_bin_dir_comes_first_and_the_login_path_goes():
    environment = build_environment("alice", bin_dir="/opt/slurm/bin")
    done = run(
        ["/bin/bash", "-c", REMOTE_COMMAND],
        build_env_words(environment, ["env"]),
        env={"PATH": "/home/alice/evil"},
    )
    assert f"PATH=/opt/slurm/bin:{STANDARD_PATH}\n" in after(done.stdout).decode()


@pytest.mark.parametrize("cut", range(4))
def test_arguments_cut_short_run_nothing(tmp_path: Path, cut):
    lines = [build_header(NONCE, ["touch", "x", "y"]), b"touch\n", b"x\n", b""]
    done = subprocess.run(
        ["sh", "-c", REMOTE_COMMAND],
        input=b"".join(lines[:cut]),
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode in (97, 98)
    assert os.listdir(tmp_path) == []


def test_a_lost_first_line_runs_nothing(tmp_path: Path):
    done = subprocess.run(
        ["bash", "-c", "read x; " + REMOTE_COMMAND],
        input=build_header(NONCE, ["touch", "x"]) + b"touch\nx\n",
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout, os.listdir(tmp_path)) == (97, b"", [])


def test_timeout_ends_the_command_and_its_stubborn_child():
    done = run(["sh", "-c", REMOTE_COMMAND], build_timed(["sleep", "30"], 1))
    assert done.returncode == 124


@pytest.mark.parametrize("word", ["a\nb", "a\0b", "\udcff"])
def test_an_argument_that_no_line_can_carry_is_refused(word):
    with pytest.raises(ValueError):
        build_words(["sbatch", word])


def test_a_time_limit_is_never_zero():
    assert build_timed(["x"], 0.2)[3] == "1"
    assert build_timed(["x"], 2.2)[3] == "3"
    assert [is_overdue(*case) for case in ((124, 0, 9), (137, 9, 9), (137, 8, 9), (0, 99, 9))] == [
        *(True, True, False, False)
    ]


def test_sudo_runs_the_wrapper_and_its_verbs_only():
    assert build_sudo("/w", "alice", ["scancel", "7"], 20) == [
        *("sudo", "-n", "-u", "alice", "--", "/w", "--ready", "--timeout=20"),
        *("scancel", "7"),
    ]
    with pytest.raises(ValueError, match="squeue"):
        build_sudo("/w", "alice", ["squeue"], 20)


def test_without_the_wrappers_line_nothing_ran():
    assert split_wrapper("sudo: a password is required\n") == (False, "sudo: a password is required\n")
    assert split_wrapper("sudo: unable to resolve host x\n" + WRAPPER_READY + "sbatch: error\n") == (
        True,
        "sbatch: error\n",
    )


@given(
    noise=st.binary(max_size=600),
    payload=st.binary(max_size=50),
    pieces=st.lists(st.integers(1, 40), min_size=1),
)
def test_the_marker_is_found_however_the_stream_is_cut(noise, payload, pieces):
    stream, data, place = AfterMarker(MARKER), noise + MARKER + payload, 0
    for turn in range(len(data)):
        size = pieces[turn % len(pieces)]
        if data[place : place + size]:
            stream.feed(data[place : place + size])
        place += size
    assert stream.seen
    assert stream.text() == payload.decode("utf-8", "replace")
    assert len(stream.noise) <= 400


def test_an_echo_of_our_own_line_is_no_marker():
    stream = AfterMarker(MARKER)
    stream.feed(build_header(NONCE, ["x"]))
    assert not stream.seen


@pytest.mark.parametrize(
    ("argv", "program"),
    [(("squeue", "-h"), "squeue"), (("env", "TZ=UTC", "squeue", "-o", "%A=x"), "squeue"), (("env",), "env")],
)
def test_the_program_is_named_without_its_environment(argv, program):
    assert program_of(argv) == program
