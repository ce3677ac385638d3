"""What was found out about header blocks of late: a browser repeats them, on one connection and on its others. Pure.

Nothing here lets anybody in: whether a login is still good is asked for every request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from minihub.proxy.gate import Pass
from minihub.proxy.headers import build_hub_fields
from minihub.proxy.wire import HeaderBlock

MOST = 512
LONGEST = 4096
"""Bytes of a block that is remembered beyond its request."""
_MOST_PASSES = 16
_MOST_ONCE = 4096


@dataclass(slots=True)
class Memo:
    """One header block."""

    header: HeaderBlock
    _hub_fields: bytes = b""
    _passes: dict[tuple[str, str], Pass] = field(default_factory=dict)

    @property
    def is_long(self) -> bool:
        """Whether it is too large to be kept beyond its request."""
        return len(self.header.raw) > LONGEST

    @property
    def hub_fields(self) -> bytes:
        """The fields as they go to the hub's own pages."""
        if not self._hub_fields:
            self._hub_fields = build_hub_fields(self.header)
        return self._hub_fields

    def find_pass(self, origin: tuple[str, str]) -> Pass | None:
        """What the gate said of it when it came from that address in that scheme."""
        return self._passes.get(origin)

    def keep_pass(self, origin: tuple[str, str], found: Pass) -> None:
        """Remember what the gate said."""
        if len(self._passes) >= _MOST_PASSES:
            self._passes.clear()
        self._passes[origin] = found


class Memos:
    """The blocks of late; all are forgotten when there are too many.

    Only what comes a second time is kept: of those who never repeat themselves nothing piles up.
    """

    def __init__(self) -> None:
        self._by_raw: dict[bytes, Memo] = {}
        self._once: set[int] = set()

    def __len__(self) -> int:
        return len(self._by_raw)

    def find(self, raw: bytes) -> Memo | None:
        """The memo of a block with these very bytes."""
        return self._by_raw.get(raw)

    def add(self, header: HeaderBlock) -> Memo:
        """Begin a memo."""
        memo = Memo(header)
        if not memo.is_long and self._came_before(hash(header.raw)):
            if len(self._by_raw) >= MOST:
                self._by_raw.clear()
            self._by_raw[header.raw] = memo
        return memo

    def _came_before(self, number: int) -> bool:
        if number in self._once:
            return True
        if len(self._once) >= _MOST_ONCE:
            self._once.clear()
        self._once.add(number)
        return False
