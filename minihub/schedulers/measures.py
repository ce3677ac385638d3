"""What a scheduler's commands cost since the hub was started. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict

from minihub.histogram import Histogram

BOUNDS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


class CommandMeasures:
    """By program; all only ever grow."""

    def __init__(self) -> None:
        self.run: Counter[str] = Counter()
        """How many were begun."""
        self.failed: Counter[tuple[str, str]] = Counter()
        """Program, and why: "status" (it ended with another than 0), or what kept it from being run to its end."""
        self.seconds: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(BOUNDS_S))
        """How long those took that came to an end."""
