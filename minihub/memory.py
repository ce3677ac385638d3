"""Keeps the process small and its garbage collector quick.

The C library gives memory back instead of holding it ready for many threads. The collector looks three times a minute
at what came after the start, and never again at the 100,000 objects of the start, which took 40 ms each time: everybody's
page waits.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time

# Source: mallopt(3), <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8

_TRIM_BYTES = 64 * 1024
_TIDY_S = 20.0
_TIDY_SHARE = 0.0005
"""At most this share of a core goes into tidying, however much there is to look through."""


def keep_small() -> None:
    """Have one heap for all threads, trimmed at its end; call it before the first thread.

    The hub's threads wait for files and name services, so one heap serves them as quickly. With glibc's default each thread gets a heap
    of its own: measured with 4 and 30 idle servers, 125 kB more for each server instead of 48 (see BENCHMARKS.md). Does
    nothing where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def begin_start() -> None:
    """Collect nothing while modules are imported: they are no garbage, and looking for some takes 0.1 s."""
    gc.disable()


def end_start() -> None:
    """What is there now stays: the collector looks only at what comes."""
    gc.freeze()
    gc.enable()


def tidy() -> None:
    """Find the garbage that refers to itself, such as closed connections, and give free memory back."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def tidy_now_and_then() -> None:
    """Tidy three times a minute; never returns. Of itself the collector looks at old objects only after many new ones."""
    pause_s = _TIDY_S
    while True:
        await asyncio.sleep(pause_s)
        began = time.perf_counter()
        tidy()
        pause_s = max(_TIDY_S, (time.perf_counter() - began) / _TIDY_SHARE)
