"""Keeps the process small: has the C library give memory back instead of holding it ready for many threads."""

from __future__ import annotations

import ctypes

# Source: mallopt(3), <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8

_TRIM_BYTES = 64 * 1024


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
