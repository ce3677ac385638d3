"""From exec to the first 200 on /hub/health, as root with dropped privileges, on a store that exists."""

from __future__ import annotations

import time

from .figures import Section, median, p95
from .hub import Hub
from .site import Site


def measure(site: Site, *, runs: int = 10) -> Section:
    """Measure it."""
    section = Section("boot", "Process start")
    hub = Hub(site, name="boot")
    first = hub.boot()
    hub.end()
    times = []
    for _ in range(runs):
        time.sleep(0.5)
        times.append(hub.boot())
        hub.end()
    print("  " + " ".join(f"{t:.2f}" for t in [first, *times]), flush=True)
    section.verdict(
        "exec -> first 200 on /hub/health",
        "1.2 s",
        f"**{median(times):.2f} s** (p95 {p95(times):.2f}, min {min(times):.2f}, n={len(times)})",
        "2.2 s",
        met=median(times) <= 1.2,
    )
    section.notes.append(f"The very first start, which makes store and keys: {first:.2f} s.")
    return section
