"""A dictionary of bounded size that forgets what was used least recently. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Lru(Generic[V]):
    """Maps strings to values; holds at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """The value, which counts as a use; None if there is none."""
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def peek(self, key: str) -> V | None:
        """The value, which does not count as a use; None if there is none."""
        return self._items.get(key)

    def put(self, key: str, value: V) -> None:
        """Set the value; the one used least recently may go for it."""
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._size:
            self._items.popitem(last=False)

    def pop(self, key: str) -> V | None:
        """Forget one and return it."""
        return self._items.pop(key, None)

    def pop_where(self, wanted: Callable[[V], bool]) -> list[str]:
        """Forget all whose value is `wanted` and return their keys."""
        keys = [key for key, value in self._items.items() if wanted(value)]
        for key in keys:
            del self._items[key]
        return keys

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)
