"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable

from . import boot, burst, figures, idle, load, login, soak, start
from .bare import clean_notes
from .figures import Section
from .proxy import commands as proxy
from .site import Site, prepare
from .slurm import empty

ORDER = ("boot", "login", "idle", "burst", "start")
LONG = ("load", "soak")
"""Not part of `all`: they need more users, or much time."""


def main(arguments: list[str]) -> int:
    """Measure what is asked for, inside the cluster (the proxy: anywhere); return the exit status."""
    if arguments[:1] == ["proxy"]:
        return proxy.main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="bench", description="Measures the hub on the test cluster, beside bare Slurm."
    )
    parser.add_argument(
        "what", choices=[*ORDER, *LONG, "stop", "rpcs", "memory", "all"], help="which numbers"
    )
    parser.add_argument("--pairs", type=int, default=30, help="pairs of starts (default: %(default)s)")
    parser.add_argument("--pulls", type=int, default=8, help="pairs of starts with pull")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 16 at once")
    parser.add_argument("--window", type=float, default=60.0, help="seconds of each idle window")
    parser.add_argument("--servers", type=int, default=1000, help="load: servers in all")
    parser.add_argument("--running", type=int, default=200, help="load: how many of them run")
    parser.add_argument("--watching", type=int, default=200, help="load: people on waiting pages")
    parser.add_argument("--minutes", type=float, default=30.0, help="soak: how long")
    parser.add_argument("--write", action="store_true", help="put the figures into BENCHMARKS.md")
    options = parser.parse_args(arguments)
    name = os.environ["MINIHUB_CLUSTER_NAME"]
    site = prepare(name)
    measures: dict[str, Callable[[Site], Section]] = {
        "boot": boot.measure,
        "login": login.measure,
        "idle": lambda s: idle.measure(s, window_s=options.window),
        "burst": lambda s: burst.measure(s, rounds=options.rounds),
        "load": lambda s: load.measure(
            s,
            servers=options.servers,
            running=options.running,
            watching=options.watching,
            window_s=options.window,
        ),
        "soak": lambda s: soak.measure(s, minutes=options.minutes),
        "start": lambda s: start.measure(s, pairs=options.pairs, pulls=options.pulls),
    }
    alias = {"stop": "start", "rpcs": "idle", "memory": "idle"}
    wanted = ORDER if options.what == "all" else (alias.get(options.what, options.what),)
    began = time.monotonic()
    for what in wanted:
        print(f"{what} (load average {os.getloadavg()[0]:.1f})", flush=True)
        asyncio.run(empty())  # of what an earlier one left behind
        section = measures[what](site)
        if options.write:
            figures.write(section)
        else:
            print(section.text(), flush=True)
    clean_notes(site)
    print(f"measured in {time.monotonic() - began:.0f} s")
    return 0
