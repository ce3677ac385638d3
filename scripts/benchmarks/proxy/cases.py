"""What is measured, and the bars it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .content import HUB_PATH
from .stage import BARE, DIRECT, NODE_TLS, OURS, PLAIN, TLS


class Of(StrEnum):
    """What of a measurement a bar is about."""

    RATE = "rate"
    CPU = "CPU"
    P99 = "p99"
    KB = "kB"


@dataclass(frozen=True, slots=True)
class Bar:
    """How our proxy must stand to another one."""

    of: Of
    factor: float
    peer: str = ""
    """"": `factor` is the bar itself."""
    more: bool = False
    """`factor` is a difference (us of CPU), not a ratio."""

    @property
    def at_least(self) -> bool:
        """More is better."""
        return self.of is Of.RATE

    def holds(self, value: float) -> bool:
        """Whether `value` (the ratio, difference or number itself) meets the bar."""
        return value >= self.factor if self.at_least else value <= self.factor


@dataclass(frozen=True, slots=True)
class Case:
    """One load, and who must bear it."""

    name: str
    title: str
    load: dict[str, Any]
    bars: tuple[Bar, ...]
    unit: str = "requests/s"
    per: float = 1.0
    """How many of the load tool's units are one unit (bytes: 1e6)."""
    variant: str = PLAIN
    """Of all proxies; `ours` if our proxy's differs."""
    ours: str = ""
    targets: tuple[str, ...] = (DIRECT, OURS, "nginx", "haproxy", "chp", "traefik")
    fresh: bool = False
    """Each measurement with a new process."""
    most_rounds: int = 1000

    def variant_of(self, target: str) -> str:
        """Which variant of `target` this is about."""
        return self.ours if self.ours and target == OURS else self.variant


def _rates(chp: float, *, traefik: float = 0, nginx: float = 0, cpu: float = 0) -> tuple[Bar, ...]:
    bars = [Bar(Of.RATE, chp, "chp")]
    if traefik:
        bars.append(Bar(Of.RATE, traefik, "traefik"))
    if nginx:
        bars.append(Bar(Of.RATE, nginx, "nginx"))
    if cpu:
        bars.append(Bar(Of.CPU, cpu, "nginx"))
    return tuple(bars)


_PROXIES = (OURS, "nginx", "haproxy", "chp", "traefik")
_BULK_CONNECTIONS = 1

CASES: tuple[Case, ...] = (
    *(
        Case(
            f"1k/{count}",
            f"1 KB, keep-alive, {count} connections",
            {"kind": "exchange", "connections": count},
            _rates(8, traefik=2.5, cpu=1.4),
        )
        for count in (16, 64, 256)
    ),
    *(
        Case(
            f"varied/{count}",
            f"1 KB, every head different, {count} connections",
            {"kind": "exchange", "connections": count, "heads": "varied"},
            _rates(6, traefik=1.6, cpu=2.0),
        )
        for count in (16, 64, 256)
    ),
    Case(
        "connect",
        "new connection per request, 16 at once",
        {"kind": "connect", "connections": 16},
        _rates(5, traefik=1.3, cpu=1.8),
    ),
    Case(
        "download",
        "100 MB down",
        {"kind": "download", "connections": _BULK_CONNECTIONS},
        _rates(3.5, nginx=0.95, cpu=1.2),
        unit="MB/s",
        per=1e6,
    ),
    Case(
        "upload",
        "100 MB up",
        {"kind": "upload", "connections": _BULK_CONNECTIONS},
        _rates(3.5, nginx=0.95, cpu=1.2),
        unit="MB/s",
        per=1e6,
    ),
    *(
        Case(
            f"ws/{name}",
            f"WebSocket echo, {words}, 100 connections",
            {"kind": "echo", "connections": 100, "size": size},
            _rates(1.4, nginx=0.9, cpu=1.1),
            unit="echoes/s",
        )
        for name, words, size in (("100B", "100 B", 100), ("64k", "64 KB", 65536))
    ),
    Case(
        "idle",
        "idle WebSocket, 1,000 open",
        {"kind": "idle", "connections": 1000},
        (Bar(Of.KB, 4.0),),
        unit="kB each",
        targets=_PROXIES,
        fresh=True,
        most_rounds=3,
    ),
    Case(
        "beside",
        "small request beside 4 paced downloads",
        {"kind": "beside"},
        (Bar(Of.P99, 1.2, "nginx"),),
        unit="us p50 / p99",
    ),
    Case(
        "tls",
        "TLS in front, 1 KB, 64 connections",
        {"kind": "exchange", "connections": 64},
        _rates(5, cpu=2.0),
        variant=TLS,
        targets=_PROXIES,
    ),
    Case(
        "handshake",
        "TLS in front, full handshake per request, 16 at once",
        {"kind": "connect", "connections": 16},
        _rates(1.1, cpu=2.0),
        unit="handshakes/s",
        variant=TLS,
        targets=_PROXIES,
    ),
    Case(
        "mtls",
        "mutual TLS to the node, 1 KB, 64 connections",
        {"kind": "exchange", "connections": 64},
        _rates(2.5),
        ours=NODE_TLS,
        targets=(OURS, "chp"),
    ),
    Case(
        "hub",
        "hub page, 16 connections",
        {"kind": "exchange", "connections": 16, "path": HUB_PATH},
        (Bar(Of.CPU, 25.0, BARE, more=True),),
        targets=(OURS, BARE),
    ),
)
