"""What the helper lets itself be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from minihub.helper import rules
from minihub.helper.rules import Refused


@pytest.mark.parametrize("name", ["alice", "a.b@site", "u12", "12ab", "_x", "Alice", "a+b", "a-b"])
def test_user_names(name):
    assert rules.check_user(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".x",
        "-x",
        "a/b",
        "a b",
        " alice",
        "alice ",
        "a\n",
        "a\0",
        "1000",
        "é",
        "a" * 65,
        "a\\b",
        None,
        3,
        ["a"],
    ],
)
def test_no_user_names(name):
    with pytest.raises(Refused):
        rules.check_user(name)


@pytest.mark.parametrize("name", ["alice", "a.b@site", "DOM\\x", "é", "a b"])
def test_names_worth_asking_about(name):
    assert rules.is_login_name(name)


@pytest.mark.parametrize(
    "name", ["", " alice", "alice ", "\talice", "a\0b", "a\nb", "x" * 257, None, "\ud800", "a\x85"]
)
def test_names_not_worth_asking_about(name):
    assert not rules.is_login_name(name)


@pytest.mark.parametrize(
    ("password", "may"),
    [
        ("x", True),
        (" ", True),
        ("é" * 10, True),
        ("x" * 4096, True),
        ("", False),
        ("a\0", False),
        ("x" * 4097, False),
        (None, False),
        (b"x", False),
        ("\ud800", False),
    ],
)
def test_passwords(password, may):
    assert rules.is_password(password) is may


@pytest.mark.parametrize(
    ("uid", "own", "words"),
    [
        (0, 0, "root"),
        (999, 0, "System"),
        (65534, 0, "System"),
        (2**32 - 1, 0, "System"),
        (1500, 0, "own account"),
        (1001, 1000, "without root"),
        (0, 1000, "without root"),
    ],
)
def test_uids_never_acted_for(uid, own, words):
    with pytest.raises(Refused, match=words):
        rules.check_uid(uid, uid_min=1000, own_uid=own, hub_uid=1500)


@pytest.mark.parametrize(("uid", "own"), [(1000, 0), (1000, 1000), (500, 500), (2_000_000_000, 0)])
def test_uids_acted_for(uid, own):
    rules.check_uid(uid, uid_min=1000, own_uid=own, hub_uid=1500)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        "squeue",
        None,
        ["sh", "-c", "id"],
        ["/usr/bin/squeue"],
        ["../squeue"],
        ["squeue", 1],
        ["squeue", "a\nb"],
        ["squeue", "a\0b"],
        ["squeue", "\ud800"],
        ["squeue", "x" * 100_001],
        ["SBATCH"],
    ],
)
def test_commands_never_run(argv):
    with pytest.raises(Refused):
        rules.check_argv(argv)


def test_a_command():
    assert rules.check_argv(["sbatch", "--parsable", "--job-name=é x;y"])


@pytest.mark.parametrize("path", ["x", "", "~/x", None, "/a\0", "/a\nb", "/" + "x" * 4096])
def test_no_paths(path):
    with pytest.raises(Refused):
        rules.check_path(path)


@pytest.mark.parametrize("value", [0, -1, True, "5", None, float("nan"), float("inf"), 601])
def test_no_seconds(value):
    with pytest.raises(Refused):
        rules.check_seconds(value, "timeout_s", 600)


@pytest.mark.parametrize("job_id", ["", "1", "1-", "a-1", "../1-1", "1-1\n", None, 5])
def test_no_job_ids(job_id):
    with pytest.raises(Refused):
        rules.check_job_id(job_id)


def test_a_job_id_is_accepted():
    assert rules.check_job_id(rules.build_job_id(1_800_000_000.9, 3)) == "1800000000-3"


def test_a_socket_lies_in_its_users_directory():
    assert rules.socket_path(Path("/run/minihub"), "alice", "minihub-ab12-0123456789ab") == Path(
        "/run/minihub/users/alice/0123456789ab.sock"
    )
    for user, tag in (("../x", "t"), ("alice", "../t"), ("alice", "a/b"), ("alice", "")):
        with pytest.raises(Refused):
            rules.socket_path(Path("/run"), user, tag)


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("UID_MIN\t\t 1000\nUID_MAX 60000", 1000),
        ("#UID_MIN 500\nUID_MIN 2000 # ours", 2000),
        ("SYS_UID_MIN 100", 1000),
        ("", 1000),
        ("UID_MIN 0", 1),
        ("UID_MIN many", 1000),
    ],
)
def test_uid_min(text, least):
    assert rules.parse_uid_min(text) == least
