"""What passed through the front door since the hub was started. Plain counters, since each request pays for them.

Who counts: `Client` (answers and bodies), `Tunnel` (what the kernel says of a websocket at its end), the door (answers
that did not come).
"""

from __future__ import annotations

from collections import Counter

BOUNDS_S = tuple(2**power / 1000 for power in range(17))
"""1 ms to 65.5 s. Powers of two, so that the place of a value is the length of a number."""
_PLACES = 64

UNANSWERED = ("unreachable", "unsafe", "stale", "unanswered", "malformed", "torn")
"""Why there was no answer: nobody there, somebody else there, or how it was lost (`upstream.Lost`)."""


class Tally:
    """Counters. `Client` writes to them directly."""

    __slots__ = (
        "of_hub",
        "of_servers",
        "received",
        "seconds",
        "seconds_total",
        "sent",
        "tunnel_received",
        "tunnel_sent",
        "tunnels",
        "unanswered",
    )

    def __init__(self) -> None:
        self.of_servers = [0] * 1000
        """Answers of users' servers by status."""
        self.of_hub = [0] * 1000
        """Answers of the hub itself by status: its pages, and refusals of the door."""
        self.seconds = [0] * _PLACES
        """From a request's head to the head of the answer of a user's server: place n is of less than 2**n ms."""
        self.seconds_total = 0.0
        self.received = 0
        """Bytes of requests: heads and bodies, websockets apart."""
        self.sent = 0
        """Bytes of answers: bodies, websockets apart."""
        self.tunnels = 0
        """Websockets that were opened."""
        self.tunnel_received = 0
        """Bytes from browsers by websockets that are closed, as TCP counts them."""
        self.tunnel_sent = 0
        self.unanswered: Counter[str] = Counter()
        """Requests that no user's server answered, by cause."""
