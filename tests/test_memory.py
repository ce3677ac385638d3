"""One heap for all threads, and a garbage collector that does not stop everybody."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import pytest

from minihub import memory

PROGRAM = """
import ctypes, sys, threading
from minihub.memory import keep_small
if "small" in sys.argv:
    keep_small()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(5)
def work():
    libc.malloc(100)
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
barrier.wait()
libc.malloc_stats()
"""


def arenas(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    return len(re.findall(r"^Arena \d+:", done.stderr, re.MULTILINE))


def test_threads_share_one_heap():
    assert arenas("small") == 1
    assert arenas() > 1


START = """
import gc
from minihub.memory import begin_start, end_start, tidy
begin_start()
assert not gc.isenabled()
old = [[] for _ in range(1000)]
end_start()
assert gc.isenabled()
class Loop:
    ended = 0
    def __init__(self): self.me = self
    def __del__(self): Loop.ended += 1
Loop()
tidy()
print(gc.get_freeze_count() > 1000, len(gc.get_objects()) < 500, Loop.ended)
"""


def test_the_collector_looks_only_at_what_came_after_the_start():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "1"]


async def test_tidying_goes_on_and_takes_little_of_the_time(monkeypatch):
    pauses = []
    clock = iter([0.0, 0.001, 1.0, 1.1])

    async def sleep(pause_s):
        pauses.append(pause_s)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(memory.asyncio, "sleep", sleep)
    monkeypatch.setattr(memory.time, "perf_counter", lambda: next(clock))
    with pytest.raises(asyncio.CancelledError):
        await memory.tidy_now_and_then()
    assert pauses == [20.0, 20.0, pytest.approx(200.0)]
