"""Checks passwords: in what order and how many at once, and how late a wrong one hears of it. Touches asyncio only.

The rules are in admission.py and penalties.py; here they meet the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from minihub.auth.admission import Admission, AdmissionLimits, Ticket
from minihub.auth.penalties import Penalties, PenaltySettings
from minihub.clock import Clock
from minihub.errors import BadCredentials, TooManyAttempts
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)

T = TypeVar("T")


class Throttle:
    """All login attempts go through `run`."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: AdmissionLimits | None = None,
        penalties: PenaltySettings | None = None,
        longest_wait_s: float = 20.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._penalties = Penalties(penalties or PenaltySettings())
        self._admission = Admission(limits or AdmissionLimits(), self._penalties.failures)
        self._longest_wait_s = longest_wait_s
        self._sleep = sleep
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._tasks = TaskKeeper()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Attempts that wait for their check, for metrics."""
        return self._admission.waiting

    async def run(self, user: str, address: str, check: Callable[[], Awaitable[T]]) -> T:
        """Run `check` when it is its turn, and return what it returns.

        A caller who goes away while his check runs changes nothing: it is finished, counted and held against him.

        Args:
            user: The name as typed.
            address: Where the attempt comes from.
            check: Asks PAM; raises BadCredentials for a wrong password. Its other errors pass through undelayed.

        Raises:
            BadCredentials: From `check`, but late.
            TooManyAttempts: Too many others wait.
        """
        ticket, victim = self._admission.arrive(user, address)
        if victim is not None:
            self._turns[victim].set_exception(TooManyAttempts())
        await self._wait_for_turn(ticket)
        outcome = self._tasks.start(self._check(ticket, check), name="login check")
        values: tuple[T, ...]
        values, error, due = await asyncio.shield(outcome)
        if error is None:
            return values[0]
        delay = due - self._clock.monotonic()
        if delay > 0:
            await self._sleep(delay)
        raise error

    async def _wait_for_turn(self, ticket: Ticket) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns[ticket] = turn
        self._dispatch()
        try:
            async with asyncio.timeout(self._longest_wait_s):
                await turn
        except BaseException as error:
            # Cancelled, or too late: perhaps at the very moment when the turn came.
            self._admission.leave(ticket)
            if ticket.started_at is not None:
                self._admission.ended(ticket, self._clock.monotonic())
            self._dispatch()
            if isinstance(error, TimeoutError):
                raise TooManyAttempts from error
            raise
        finally:
            del self._turns[ticket]

    async def _check(
        self, ticket: Ticket, check: Callable[[], Awaitable[T]]
    ) -> tuple[tuple[T, ...], Exception | None, float]:
        """Run one check to its end; return what came of it and when its answer is due."""
        started = self._clock.monotonic()
        due, held_until = started, None
        value: tuple[T, ...] = ()
        failure: Exception | None = None
        try:
            value = (await check(),)
            self._penalties.succeeded(ticket.user, ticket.address)
        except BadCredentials as error:
            delay = self._penalties.failed(ticket.user, ticket.address, self._clock.monotonic())
            failure, due = error, started + delay
            held_until = due
        except Exception as error:  # noqa: BLE001 - goes to the caller, who may be gone
            failure = error
        finally:
            self._admission.ended(ticket, self._clock.monotonic(), held_until)
            self._dispatch()
        return value, failure, due

    def _dispatch(self) -> None:
        """Begin what may begin, and come back when more may."""
        now = self._clock.monotonic()
        while (ticket := self._admission.next(now)) is not None:
            turn = self._turns[ticket]
            if not turn.done():
                turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = self._admission.wake_at(now)
        if wake_at is not None:
            # A little late rather than a little early: early would be a loop of very short waits.
            self._timer = asyncio.get_running_loop().call_later(
                max(0.0, wake_at - now) + 0.005, self._dispatch
            )

    async def close(self) -> None:
        """End the checks that run."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.close()
