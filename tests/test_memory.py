"""One heap for all threads."""

from __future__ import annotations

import re
import subprocess
import sys

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
