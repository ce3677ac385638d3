"""Long lists in pages: which page a query asks for, and where it lies in the whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minihub.errors import NotFound


@dataclass(frozen=True, slots=True)
class Pages:
    """Where one page lies in the whole list."""

    number: int
    """Counted from 1."""
    total: int
    """Entries in the whole list."""
    size: int
    """Entries on a full page."""

    @property
    def first(self) -> int:
        """Number of the page's first entry, counted from 1."""
        return (self.number - 1) * self.size + 1

    @property
    def last(self) -> int:
        """Number of its last entry."""
        return min(self.number * self.size, self.total)

    @property
    def previous(self) -> int:
        """Number of the page before, 0 if there is none."""
        return self.number - 1

    @property
    def following(self) -> int:
        """Number of the next page, 0 if there is none."""
        return self.number + 1 if self.number * self.size < self.total else 0


def parse_page(query: Mapping[str, str]) -> int:
    """The number of the wanted page, 1 if none is named.

    Raises:
        NotFound: That is no number of a page.
    """
    text = query.get("page") or "1"
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
    if number < 1:
        raise NotFound
    return number
