"""How often a value fell between which bounds, as Prometheus counts it. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence


class Histogram:
    """Counts values by the least bound that they do not exceed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin at nothing; `bounds` ascend, and beyond the last one is counted too."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        """All values together."""

    def observe(self, value: float) -> None:
        """Count one value; what clocks that disagree make negative counts as nothing."""
        value = max(0.0, value)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def cumulated(self) -> Iterator[tuple[str, int]]:
        """Each bound, and how many values did not exceed it; "+Inf" comes last."""
        so_far = 0
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            so_far += count
            yield "+Inf" if bound is None else repr(float(bound)), so_far
