"""How long a wrong password waits for its answer. Pure; bounded memory.

The delay is counted from the beginning of the check, and never shorter than `least_s`: so the answer's time does not
tell whether the name exists. Nobody is locked out: failures delay the answers to wrong passwords, nothing else.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from minihub.auth.lru import Lru


@dataclass(frozen=True, slots=True)
class PenaltySettings:
    """The shape of the delays."""

    least_s: float = 1.0
    """The first failure's; doubled by each further one of the same user from the same address ..."""
    most_s: float = 10.0
    """... up to this."""
    user_free: int = 10
    """Failures of a user from wherever that cost nothing besides; each further one adds `step_s`, up to `most_s` / 2."""
    address_free: int = 30
    """Failures of an address, whoever's (a class room mistypes); each further one adds `step_s`, up to `most_s`."""
    step_s: float = 0.5
    half_life_s: float = 300.0
    """Failures count half after this time."""
    remembered: int = 10_000
    """Entries per table; those used least recently are forgotten. A flood of made-up names forgets only quiet names."""


@dataclass(frozen=True, slots=True)
class _Count:
    value: float
    at: float


def address_key(address: str) -> str:
    """What counts as one address: for IPv6 the network of 64 bits, of which a host has as many addresses as it likes."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def user_key(user: str) -> str:
    """A typed name as a key: of bounded length."""
    return user[:64]


class Penalties:
    """Counts failures per user and address, per user, per address."""

    def __init__(self, settings: PenaltySettings) -> None:
        self._settings = settings
        self._pairs: Lru[_Count] = Lru(settings.remembered)
        self._users: Lru[_Count] = Lru(settings.remembered)
        self._addresses: Lru[_Count] = Lru(settings.remembered)

    def failed(self, user: str, address: str, now: float) -> float:
        """Count a failure; return how many seconds after the check began its answer is due."""
        shape = self._settings
        by_pair = self._add(self._pairs, _pair(user, address), now)
        by_user = self._add(self._users, user_key(user), now)
        by_address = self._add(self._addresses, address_key(address), now)
        # The exponent is bounded: 2.0 ** 2000 overflows.
        doubled = shape.least_s * 2 ** min(by_pair - 1, 20)
        of_user = min(max(0.0, by_user - shape.user_free) * shape.step_s, shape.most_s / 2)
        of_address = max(0.0, by_address - shape.address_free) * shape.step_s
        return min(max(doubled, shape.least_s + of_user, shape.least_s + of_address), shape.most_s)

    def succeeded(self, user: str, address: str) -> None:
        """Forget what this user did wrong from this address; not what others did."""
        self._pairs.pop(_pair(user, address))

    def failures(self, user: str, address: str, now: float) -> float:
        """How many failures of this user from this address still count."""
        return self._decayed(self._pairs.get(_pair(user, address)), now)

    def __len__(self) -> int:
        return len(self._pairs) + len(self._users) + len(self._addresses)

    def _add(self, table: Lru[_Count], key: str, now: float) -> float:
        value = self._decayed(table.get(key), now) + 1
        table.put(key, _Count(value, now))
        return value

    def _decayed(self, count: _Count | None, now: float) -> float:
        if count is None:
            return 0.0
        return float(count.value * 0.5 ** ((now - count.at) / self._settings.half_life_s))


def _pair(user: str, address: str) -> str:
    return f"{user_key(user)}\0{address_key(address)}"
