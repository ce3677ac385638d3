"""What is sent and must arrive: known to backend and load tool alike."""

from __future__ import annotations

SMALL = b'{"name": "notebook.ipynb", "content": "' + b"0123456789abcdef" * 61 + b'0123456"}'
"""The body of the 1 KB answer."""
assert len(SMALL) == 1024

HUB_PATH = "/hub/health"
"""Here the hub's application answers the same."""

BULK_BYTES = 100_000_000
PERIOD = 65_521
"""A prime: a shift by any power of two shows."""
_ONE = bytes((7 * i + i // 251) % 256 for i in range(PERIOD))
BLOCK = _ONE * 4
"""Big bodies repeat this."""

UPLOADED = b'{"size": %d, "wrong": 0}'
"""What the backend answers to an upload."""


class Checker:
    """Follows a big body, and looks at the first and the last byte of every piece: lost, doubled or mixed up ones show."""

    __slots__ = ("position", "wrong")

    def __init__(self) -> None:
        self.position = 0
        self.wrong = 0

    def take(self, piece: bytes | bytearray | memoryview, size: int) -> None:
        """The next `size` bytes are the start of `piece`."""
        start = self.position
        self.position = end = start + size
        if piece[0] != _ONE[start % PERIOD] or piece[size - 1] != _ONE[(end - 1) % PERIOD]:
            self.wrong += 1
