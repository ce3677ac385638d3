"""Medians, ratios, verdicts: the section of BENCHMARKS.md. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from benchmarks.figures import Section, median

from .cases import Bar, Case, Of
from .peers import versions
from .run import QUIET, Sample, Samples
from .stage import OURS

_WORDS = {"chp": "CHP", "minihub": "minihub"}
_ORDER = ("direct", OURS, "nginx", "haproxy", "chp", "traefik", "aiohttp")
_VALUES: dict[Of, Callable[[Sample], float]] = {
    Of.RATE: lambda one: one.rate,
    Of.CPU: lambda one: one.cpu_us,
    Of.P99: lambda one: one.p99_us,
    Of.KB: lambda one: one.kb_each,
}


def build_section(cases: Sequence[Case], samples: Samples, *, rounds: int, seconds: float) -> Section:
    """All that is to be said of one run."""
    section = Section(
        "proxy",
        "The proxy beside nginx, haproxy, configurable-http-proxy and traefik",
        columns=("case", "bar", "measured", "minihub's rate; us of CPU per unit", ""),
        versions=versions(),
    )
    for case in cases:
        _judge(section, case, samples[case.name])
    present = {target for by_target in samples.values() for target, found in by_target.items() if found}
    targets = [target for target in _ORDER if target in present]
    peers = [target for target in targets if target not in (OURS, "direct")]
    heads = [_WORDS.get(target, target) for target in targets]
    section.table(("median", *heads), (_row(case, samples, targets, _rate) for case in cases))
    worked = [case for case in cases if case.load["kind"] not in ("idle", "beside")]
    section.table(
        ("CPU of the proxy, us per unit: median / lowest round", *heads),
        (_row(case, samples, targets, _cpu) for case in worked),
    )
    if OURS in targets:
        section.table(
            (
                "minihub's rate (CPU: of medians; of lowest rounds) in units of",
                *(_WORDS.get(p, p) for p in peers),
            ),
            (_ratio_row(case, samples, peers) for case in worked),
        )
    section.notes += _notes(cases, samples, rounds, seconds)
    return section


def _judge(section: Section, case: Case, found: dict[str, list[Sample]]) -> None:
    """One line of the verdicts, if all that it compares was measured."""
    if not found.get(OURS) or not case.bars or any(bar.peer and not found.get(bar.peer) for bar in case.bars):
        return
    values = [_value(bar, found) for bar in case.bars]
    clean = not any(one.errors for one in found[OURS])
    met = clean and all(bar.holds(value) for bar, value in zip(case.bars, values, strict=True))
    ours = found[OURS]
    own = _rate(case, ours)
    if case.load["kind"] not in ("idle", "beside"):
        own += f"; {_amount(median([one.cpu_us for one in ours]))}"
    measured = ", ".join(_shown(bar, value) for bar, value in zip(case.bars, values, strict=True))
    section.verdict(
        case.title,
        ", ".join(_asked(bar) for bar in case.bars),
        f"**{measured}**" if clean else f"**{measured}, with errors**",
        own,
        met=met,
    )


def _value(bar: Bar, found: dict[str, list[Sample]]) -> float:
    ours = median([_VALUES[bar.of](one) for one in found[OURS]])
    if not bar.peer:
        return ours
    theirs = median([_VALUES[bar.of](one) for one in found[bar.peer]])
    if bar.more:
        return ours - theirs
    return ours / theirs if theirs else math.inf


def _asked(bar: Bar) -> str:
    peer = _WORDS.get(bar.peer, bar.peer)
    if bar.more:
        return f"at most {bar.factor:g} us of CPU more than {peer}"
    if not bar.peer:
        return f"at most {bar.factor:g} {bar.of}"
    if bar.at_least:
        return f"{bar.factor:g}x {peer}"
    return f"{bar.of} {bar.factor:g}x {peer}"


def _shown(bar: Bar, value: float) -> str:
    if bar.more:
        return f"{value:+.1f} us"
    if not bar.peer:
        return f"{value:.1f} {bar.of}"
    peer = _WORDS.get(bar.peer, bar.peer)
    return f"{value:.2f}x {peer}" if bar.at_least else f"{bar.of} {value:.2f}x"


def _row(
    case: Case, samples: Samples, targets: Iterable[str], cell: Callable[[Case, list[Sample]], str]
) -> list[str]:
    found = samples[case.name]
    return [f"{case.name} ({case.unit})", *(cell(case, found.get(t, [])) for t in targets)]


def _rate(case: Case, found: list[Sample]) -> str:
    if not found:
        return ""
    if case.load["kind"] == "idle":
        text = f"{median([one.kb_each for one in found]):.1f}"
    elif case.load["kind"] == "beside":
        text = f"{median([one.p50_us for one in found]):,.0f} / {median([one.p99_us for one in found]):,.0f}"
    else:
        text = _amount(median([one.rate for one in found]))
    return f"{text} (errors)" if any(one.errors for one in found) else text


def _cpu(_case: Case, found: list[Sample]) -> str:
    values = [one.cpu_us for one in found if one.cpu_us]
    return f"{_amount(median(values))} / {_amount(min(values))}" if values else ""


def _ratio_row(case: Case, samples: Samples, peers: Iterable[str]) -> list[str]:
    return [case.name, *(_ratio(samples[case.name], peer) for peer in peers)]


def _ratio(found: dict[str, list[Sample]], peer: str) -> str:
    ours, theirs = found.get(OURS), found.get(peer)
    if not ours or not theirs:
        return ""
    rate = median([one.rate for one in ours]) / (median([one.rate for one in theirs]) or math.inf)
    mine, other = [one.cpu_us for one in ours], [one.cpu_us for one in theirs]
    return f"{rate:.2f} ({median(mine) / median(other):.2f}; {min(mine) / min(other):.2f})"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _notes(cases: Sequence[Case], samples: Samples, rounds: int, seconds: float) -> list[str]:
    notes = [f"Rounds: {rounds}, {seconds:g} s for each case and proxy."]
    others = [one.others for by_target in samples.values() for found in by_target.values() for one in found]
    if others:
        loud = sum(value > QUIET for value in others)
        notes.append(
            f"Others were in the way for {median(others):.1%} of the time in the median; more than {QUIET:.0%} in {loud} of "
            f"{len(others)} measurements, after up to three tries each (worst {max(others):.0%})."
        )
    for case in cases:
        for target, found in samples[case.name].items():
            wrong: dict[str, int] = {}
            for one in found:
                for what, count in one.errors.items():
                    wrong[what] = wrong.get(what, 0) + count
            if wrong:
                said = ", ".join(f"{what}: {count}" for what, count in sorted(wrong.items()))
                notes.append(f"Errors: {case.name}, {target}: {said}.")
    for case in cases:
        by_target = samples[case.name]
        if case.load["kind"] == "beside":
            rates = ", ".join(
                f"{t} {median([o.paced_mb_s for o in found]):.0f}" for t, found in by_target.items()
            )
            notes.append(f"The four downloads beside the small request came to, in MB/s: {rates}.")
        spoken = [f"{t} {found[-1].tls}" for t, found in sorted(by_target.items()) if found[-1].tls]
        if spoken:
            notes.append(f"{case.title}: {', '.join(spoken)}.")
    return notes
