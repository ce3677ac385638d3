"""The command line of `scripts/bench proxy`."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import time
from contextlib import closing
from fnmatch import fnmatchcase

from benchmarks import figures

from .cases import CASES, Case
from .peers import PEERS, install
from .proof import NotProven, prove, prove_all_answer
from .report import build_section
from .run import CACHE, run_rounds
from .stage import OURS, Stage, choose_cores

_FILES = 16384


def main(arguments: list[str]) -> int:
    """Measure what is asked for; return the exit status: 1 if our proxy made errors."""
    options = _parse(arguments)
    try:
        return _measure(options)
    except KeyboardInterrupt:
        return 130  # All that was started has been ended on the way here.


def _measure(options: argparse.Namespace) -> int:
    cases = _choose(options.cases)
    _raise_limit()
    signal.signal(signal.SIGTERM, lambda *_: _stop())
    cores = choose_cores()
    if options.nice:
        os.setpriority(os.PRIO_PROCESS, 0, options.nice)  # All that is started inherits it.
    os.sched_setaffinity(0, {cores.load})  # The proxy's core is for the proxy.
    if set(options.targets) & {"chp", "traefik"}:
        install(CACHE)
    began = time.monotonic()
    with closing(Stage(CACHE, cores)) as stage:
        try:
            prove(stage, ours=OURS in options.targets)
            prove_all_answer(stage, cases, options.targets)
        except NotProven as problem:
            print(f"bench proxy: {problem}")
            return 1
        samples = run_rounds(stage, cases, options.targets, rounds=options.rounds, seconds=options.seconds)
    section = build_section(cases, samples, rounds=options.rounds, seconds=options.seconds)
    if options.nice:
        section.notes.append(f"Everything ran with niceness {options.nice}.")
    if options.write:
        figures.write(section)
    else:
        print(section.text(), flush=True)
    print(f"measured in {time.monotonic() - began:.0f} s")
    return int(any(one.errors for found in samples.values() for one in found.get(OURS, ())))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench proxy", description="Measures our proxy beside others; they are installed if missing."
    )
    targets = ["direct", OURS, *PEERS, "aiohttp"]
    names = " ".join(case.name for case in CASES)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)"
    )
    parser.add_argument(
        "--nice",
        type=int,
        default=0,
        metavar="N",
        help="niceness of all that is started; -15 (as root) where others use the machine, too",
    )
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="CASE", help=f"of: {names}; may have *")
    parser.add_argument(
        "--targets", nargs="+", default=targets, choices=targets, help="who is measured (default: all)"
    )
    parser.add_argument("--write", action="store_true", help="put the figures into BENCHMARKS.md")
    options = parser.parse_args(arguments)
    if not _choose(options.cases):
        parser.error(f"no such case; there are: {names}")
    if options.write and (len(_choose(options.cases)) < len(CASES) or set(options.targets) != set(targets)):
        parser.error("--write is for all cases and targets")
    return options


def _choose(patterns: list[str]) -> list[Case]:
    return [case for case in CASES if any(fnmatchcase(case.name, pattern) for pattern in patterns)]


def _raise_limit() -> None:
    """A thousand websockets are two thousand open files in each proxy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stop() -> None:
    raise SystemExit(143)
