"""Processes as /proc shows them."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from minihub.helper.processes import is_computing, read_start_time, signal_job
from tests.helper.machine import children_of


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_name_with_blanks_and_parentheses_confuses_nobody(tmp_path):
    odd = tmp_path / "a) Z (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([odd, "300"])
    try:
        first = read_start_time(process.pid)
        assert first is not None
        assert abs(first - read_start_time(os.getpid())) < 100 * 3600
        wait_until(lambda: not is_computing(process.pid))
    finally:
        process.kill()
        process.wait()
    assert read_start_time(process.pid) is None


def test_who_computes():
    process = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        wait_until(lambda: is_computing(process.pid))
    finally:
        process.kill()
        process.wait()


def test_only_the_very_process_is_signalled():
    process = subprocess.Popen(["sh", "-c", "sleep 300; :"], start_new_session=True)
    try:
        wait_until(lambda: children_of(process.pid))
        start = read_start_time(process.pid)
        signal_job(process.pid, start + 1, signal.SIGKILL)
        assert process.poll() is None
        signal_job(process.pid, start, signal.SIGTERM)
        assert process.wait(30) == 0  # its child was ended, it went on to its own end
        signal_job(process.pid, start, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
