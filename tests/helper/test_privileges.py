"""Giving up root, checked from outside in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from minihub.errors import ConfigError
from minihub.helper.privileges import drop_to

pytestmark = pytest.mark.real

PROBE = """
import os, sys
from minihub.helper.privileges import drop_to
os.environ["HOME"] = "/root"
drop_to("mh-hub")
print(os.getresuid(), os.getresgid(), os.getgroups(), oct(os.umask(0)), os.environ["HOME"], os.environ["USER"])
for attempt in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]),
                lambda: open("/etc/shadow"), lambda: os.chown("/tmp", 0, 0)):
    try:
        attempt()
        print("had it back")
    except PermissionError:
        pass
print([l.split()[1] for l in open("/proc/self/status") if l.startswith(("CapEff", "CapPrm"))])
import ctypes
print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def test_there_is_no_way_back(machine):
    run = machine.enter(
        [sys.executable, "-c", PROBE], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    lines = run.communicate(timeout=20)[0].decode().splitlines()
    uid = machine.hub_uid
    assert lines == [
        f"({uid}, {uid}, {uid}) ({uid}, {uid}, {uid}) [{uid}] 0o77 / mh-hub",
        "['0000000000000000', '0000000000000000']",
        "dumpable 0",
    ]


@pytest.mark.parametrize(
    ("user", "words"), [("root", "must not run as root"), ("mh-nobody-there", "no user")]
)
def test_users_it_does_not_become(user, words):
    with pytest.raises(ConfigError, match=words):
        drop_to(user)
    assert os.getuid() == 0


def test_without_root_only_oneself():
    code = """
import os
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from minihub.errors import ConfigError
from minihub.helper.privileges import drop_to
drop_to("nobody")
try:
    drop_to("daemon")
except ConfigError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert "only root can run the hub as daemon" in run.stdout, run.stderr
