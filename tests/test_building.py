"""What is prepared before the hub listens."""

from __future__ import annotations

import os
import pwd

import pytest

from minihub.building import make_directory

NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.mark.real
def test_a_new_or_empty_directory_becomes_the_hubs(tmp_path):
    assert os.geteuid() == 0, "this needs root"
    (tmp_path / "empty").mkdir(mode=0o755)
    for path in (tmp_path / "new" / "deep", tmp_path / "empty"):
        make_directory(path, 0o700, "nobody")

        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (NOBODY, 0o700)
    assert (tmp_path / "new").stat().st_uid == 0


@pytest.mark.real
def test_a_directory_in_use_stays_as_it_is(tmp_path):
    """`hub.runtime_dir = "/tmp"` or `ssh.ca_key = "/etc/user_ca"` must not hand these over."""
    path = tmp_path / "etc"
    path.mkdir(mode=0o755)
    (path / "passwd").touch()
    for owner in ("nobody", None):
        make_directory(path, 0o700, owner)

        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o755)
