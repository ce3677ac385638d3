"""Medians, and the tables that go into BENCHMARKS.md. Touches only that file."""

from __future__ import annotations

import math
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "BENCHMARKS.md"
BEGIN, END = "<!-- figures: {name} -->", "<!-- end of figures: {name} -->"


def p95(values: Sequence[float]) -> float:
    """The 95th percentile (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median and p95 as the tables show them."""
    return f"{median(values):.3f} ({p95(values):.3f}){unit}"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """About where the true median lies (95 %): order statistics, no assumption about the distribution."""
    ordered = sorted(values)
    half = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + half) - 1)
    return ordered[low], ordered[high]


@dataclass(slots=True)
class Section:
    """What one measurement has to say."""

    name: str
    title: str
    verdicts: list[tuple[str, str, str, str, bool]] = field(default_factory=list)
    """(what, target, measured, JupyterHub's, met)"""
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ("number", "target", "measured", "JupyterHub 6.1.1 + batchspawner", "")
    """Heads of the verdicts."""
    versions: str = ""
    """What was measured, in words; "": Slurm and sshd."""

    def verdict(self, what: str, target: str, measured: str, theirs: str, *, met: bool) -> None:
        """Hold one number against its target."""
        self.verdicts.append((what, target, measured, theirs, met))
        print(f"  {'met   ' if met else 'MISSED'} {what}: {measured} (target {target})", flush=True)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table."""
        lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
        self.tables.append("\n".join(lines))

    def text(self) -> str:
        """The section in Markdown."""
        parts = [f"## {self.title}", ""]
        if self.verdicts:
            rows = [(w, t, m, j, "met" if met else "**missed**") for w, t, m, j, met in self.verdicts]
            head = [_row(self.columns), _row(["---"] * len(self.columns))]
            parts += ["\n".join([*head, *(_row(row) for row in rows)]), ""]
        for table in self.tables:
            parts += [table, ""]
        parts += [f"- {note}" for note in self.notes]
        parts += ["", machine(self.versions)]
        return "\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def machine(versions: str = "") -> str:
    """The machine's state, as one line, and the versions of what was measured ("": of Slurm and sshd)."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    if not versions:
        versions = f"{_first_line(['sinfo', '--version'])}, {re.sub(r',.*', '', _first_line(['ssh', '-V']))}"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    commit = _first_line(
        ["git", "-c", "safe.directory=*", "-C", str(FILE.parent), "rev-parse", "--short", "HEAD"]
    )
    return (
        f"*{when}, commit {commit}; {os.cpu_count()} cores, {int(memory.split()[1]) / 2**20:.0f} GiB, load average "
        f"{load}; Linux {platform.release()}, Python {platform.python_version()}, {versions}.*"
    )


def _first_line(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return f"no {argv[0]}"
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def write(section: Section) -> None:
    """Put a section into BENCHMARKS.md, in place of its predecessor."""
    begin, end = BEGIN.format(name=section.name), END.format(name=section.name)
    block = f"{begin}\n{section.text()}\n{end}"
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else "# Benchmarks\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    text, replaced = pattern.subn(lambda _: block, text)
    if not replaced:
        text = f"{text.rstrip()}\n\n{block}\n"
    FILE.write_text(text, encoding="utf-8")
