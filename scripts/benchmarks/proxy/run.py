"""Rounds: in each, every case visits every target in turn, and each round begins with another one."""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cases import Case
from .processes import on_core, python
from .quiet import Watch, our_turn
from .stage import Stage, Standing

WARM_S = 0.25
_TIMEOUT_S = 90.0
QUIET = 0.1
"""Others may have a tenth of a core. Where they have more, the measurement is repeated, and the quietest one counts."""
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement."""

    rate: float
    """Units per second (idle: none)."""
    cpu_us: float
    """CPU of the proxy per unit."""
    others: float
    """Share of the time in which others were in the way; see `quiet.Watch.others`."""
    errors: dict[str, int]
    p50_us: float = 0.0
    p99_us: float = 0.0
    kb_each: float = 0.0
    paced_mb_s: float = 0.0
    """What the downloads beside came to."""
    tls: str = ""


Samples = dict[str, dict[str, list[Sample]]]
"""By case and target, one for each round."""


def _run_quietly(
    stage: Stage, standing: Standing, case: Case, seconds: float
) -> tuple[dict[str, Any], float]:
    """Run a load, again if others were in the way; returns what it found, and how much they were."""
    best: tuple[dict[str, Any], float] | None = None
    for _ in range(1 if case.fresh else _TRIES):
        with our_turn():
            watch = Watch(stage.cores, standing.pids, stage.backend_pids)
            found = run_load(stage, standing, case.load, seconds)
            others = watch.others(found["tool_waited_ns"] / 1e9)
        if best is None or others < best[1]:
            best = found, others
        if others <= QUIET:
            break
        time.sleep(0.5)
    assert best is not None
    return best


def run_load(stage: Stage, standing: Standing, load: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Run the load tool once; returns what it printed."""
    stage.let_backend_wait(wait=load["kind"] != "beside")
    site = standing.site
    spec = {
        "port": site.port,
        "cookie": site.cookie,
        "ca": standing.ca,
        "pids": standing.pids,
        "seconds": seconds,
        "warm_s": WARM_S,
        **load,
    }
    with on_core(stage.cores.load):
        done = subprocess.run(
            python("load", json.dumps(spec)),
            env=stage.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + _TIMEOUT_S,
            check=False,
            start_new_session=True,
        )
    if done.returncode:
        raise RuntimeError(f"the load tool ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(stage: Stage, case: Case, target: str, seconds: float) -> Sample:
    """One case against one target."""
    variant = case.variant_of(target)
    if case.fresh:
        with stage.fresh(target, variant) as standing:
            found, others = _run_quietly(stage, standing, case, seconds)
    else:
        found, others = _run_quietly(stage, stage.get(target, variant), case, seconds)
    units = found["done"] / case.per
    return Sample(
        rate=units / found["seconds"],
        cpu_us=found["ran_ns"] / 1e3 / units if units else float("inf"),
        others=others,
        errors=found["errors"],
        p50_us=found.get("p50_s", 0.0) * 1e6,
        p99_us=found.get("p99_s", 0.0) * 1e6,
        kb_each=found.get("kb_each", 0.0),
        paced_mb_s=found.get("paced_mb_s", 0.0),
        tls=found.get("tls", ""),
    )


def run_rounds(
    stage: Stage, cases: Sequence[Case], targets: Sequence[str], *, rounds: int, seconds: float
) -> Samples:
    """Measure everything, and print each sample as it comes."""
    samples: Samples = {case.name: defaultdict(list) for case in cases}
    for number in range(rounds):
        for place, case in enumerate(cases):
            if number >= case.most_rounds:
                continue
            those = [target for target in case.targets if target in targets]
            first = (number + place) % len(those) if those else 0
            for target in those[first:] + those[:first]:
                sample = measure(stage, case, target, seconds)
                samples[case.name][target].append(sample)
                print(f"  {number + 1} {case.name:10} {target:8} {_line(case, sample)}", flush=True)
    return samples


def _line(case: Case, sample: Sample) -> str:
    if case.load["kind"] == "idle":
        words = f"{sample.kb_each:10.1f} kB each"
    elif case.load["kind"] == "beside":
        words = (
            f"p50 {sample.p50_us:6,.0f}, p99 {sample.p99_us:6,.0f} us; downloads {sample.paced_mb_s:.0f} MB/s"
        )
    else:
        words = f"{sample.rate:10,.0f} {case.unit:12} {sample.cpu_us:8.1f} us"
    words += f"  others {sample.others:4.0%}"
    return f"{words}  ERRORS {sample.errors}" if sample.errors else words


CACHE = Path(__file__).resolve().parents[3] / ".cache" / "bench"
