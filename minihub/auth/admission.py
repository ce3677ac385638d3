"""Whose password is checked next. Pure: a waiting room with a few doors.

At most `checking` young checks run at once. One that takes longer than `slow_after_s` is most likely PAM's own pause
after a wrong password, which keeps nothing busy, and counts no more, up to `running` in all. Among those who wait,
the next is

1. of the address with the fewest checks running,
2. of a user who did not just fail from there, and has no check running from there,
3. among equals in turn the newest and the oldest: so one right password is soon next, however many wrong ones came
   just before or after it, and nobody waits for ever.

Wrong passwords' answers are held back (penalties.py). An address, or a user, that has too many checks and answers
outstanding waits for them: that bounds how fast passwords can be tried by opening many connections, and refuses nobody.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from minihub.auth.penalties import address_key, user_key
from minihub.errors import TooManyAttempts


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """How many of what."""

    checking: int = 2
    running: int = 200
    slow_after_s: float = 0.1
    waiting: int = 500
    """More than these, and the newest of the address that has the most of them is refused."""
    outstanding_per_address: int = 60
    outstanding_per_user: int = 60


@dataclass(slots=True, eq=False)
class Ticket:
    """One attempt to log in."""

    user: str
    address: str
    refused: bool = False
    started_at: float | None = field(default=None)


Suspicion = Callable[[str, str, float], float]
"""(user, address, now) -> how many failures of this user from this address still count."""


class Admission:
    """The waiting room. Times are monotonic seconds."""

    def __init__(self, limits: AdmissionLimits, suspicion: Suspicion) -> None:
        self._limits = limits
        self._suspicion = suspicion
        self._waiting: dict[Ticket, None] = {}  # in the order of arrival
        self._running: dict[Ticket, float] = {}
        self._held: list[tuple[float, str, str]] = []
        self._held_users: Counter[str] = Counter()
        self._held_addresses: Counter[str] = Counter()
        self._newest_next = True

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many are being checked."""
        return len(self._running)

    def arrive(self, user: str, address: str) -> tuple[Ticket, Ticket | None]:
        """Let one in.

        Returns:
            Its ticket, and the ticket of somebody who had to go for it.

        Raises:
            TooManyAttempts: The room is full, and mostly of this address.
        """
        ticket = Ticket(user_key(user), address_key(address))
        victim = None
        if len(self._waiting) >= self._limits.waiting:
            by_address = Counter(other.address for other in self._waiting)
            greedy, most = by_address.most_common(1)[0]
            if by_address[ticket.address] + 1 >= most:
                raise TooManyAttempts
            victim = next(other for other in reversed(self._waiting) if other.address == greedy)
            del self._waiting[victim]
            victim.refused = True
        self._waiting[ticket] = None
        return ticket, victim

    def leave(self, ticket: Ticket) -> None:
        """Somebody went before his turn."""
        self._waiting.pop(ticket, None)

    def next(self, now: float) -> Ticket | None:
        """Whose check begins now; None if all doors are taken or nobody may."""
        self._release(now)
        if not self._waiting or len(self._running) >= self._limits.running:
            return None
        if self._young(now) >= self._limits.checking:
            return None
        addresses = Counter(ticket.address for ticket in self._running)
        pairs = Counter((ticket.user, ticket.address) for ticket in self._running)
        ranked = [
            (
                addresses[ticket.address],
                self._suspicion(ticket.user, ticket.address, now),
                pairs[ticket.user, ticket.address],
                ticket,
            )
            for ticket in self._who_may(addresses)
        ]
        if not ranked:
            return None
        best = min(rank[:3] for rank in ranked)
        equals = [rank[3] for rank in ranked if rank[:3] == best]
        chosen = equals[-1] if self._newest_next else equals[0]
        self._newest_next = not self._newest_next
        del self._waiting[chosen]
        self._running[chosen] = now
        chosen.started_at = now
        return chosen

    def _who_may(self, addresses: Counter[str]) -> list[Ticket]:
        """Those of the waiting whose user and address have not too much outstanding, in the order of arrival."""
        users = Counter(ticket.user for ticket in self._running)
        limits = self._limits
        return [
            ticket
            for ticket in self._waiting
            if addresses[ticket.address] + self._held_addresses[ticket.address]
            < limits.outstanding_per_address
            and users[ticket.user] + self._held_users[ticket.user] < limits.outstanding_per_user
        ]

    def ended(self, ticket: Ticket, now: float, held_until: float | None = None) -> None:
        """A check is over; `held_until` is when the answer to a wrong password is given."""
        self._running.pop(ticket, None)
        if held_until is not None and held_until > now:
            heapq.heappush(self._held, (held_until, ticket.user, ticket.address))
            self._held_users[ticket.user] += 1
            self._held_addresses[ticket.address] += 1

    def wake_at(self, now: float) -> float | None:
        """When `next` may say something else without any call in between; None: never."""
        if not self._waiting:
            return None
        times = [started + self._limits.slow_after_s for started in self._running.values()]
        times = [time for time in times if time > now]
        if self._held:
            times.append(self._held[0][0])
        return min(times, default=None)

    def _young(self, now: float) -> int:
        return sum(now - started < self._limits.slow_after_s for started in self._running.values())

    def _release(self, now: float) -> None:
        while self._held and self._held[0][0] <= now:
            _, user, address = heapq.heappop(self._held)
            for counter, key in ((self._held_users, user), (self._held_addresses, address)):
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]
