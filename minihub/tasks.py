"""Background tasks that somebody holds: none is lost, none dies silently, none takes another with it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class TaskKeeper:
    """Holds tasks until they end; logs what they raise; cancels the rest at close.

    asyncio.TaskGroup is not used: one crash there cancels everybody else's task.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.crashes = 0

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run `coroutine` in the background; `name` stands in the log if it crashes."""
        # A fresh context: what is bound to the request that happened to start it says nothing about the task.
        task = asyncio.create_task(  # noqa: TID251 - the one place that may
            coroutine, name=name, context=contextvars.Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def carry_through(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> T:
        """Await `coroutine` in a task of its own, which goes on to its end where the caller is cancelled."""

        async def run() -> T | Exception:
            try:
                return await coroutine
            except Exception as error:  # noqa: BLE001 - it belongs to the caller, and is no crash of the task
                return error

        outcome = await asyncio.shield(self.start(run(), name=name))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.crashes += 1
            log.error("background task %s crashed", task.get_name(), exc_info=error)

    def __len__(self) -> int:
        return len(self._tasks)

    async def finish(self, patience_s: float) -> None:
        """Wait until all have ended by themselves, those that they start meanwhile too, but no longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._tasks:
                    await asyncio.wait(tuple(self._tasks))

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_for_event(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Wait until `event` is set, but no longer than `timeout_s`; True if it was set.

    asyncio.wait_for is not used: before Python 3.12 it can swallow a cancellation that comes with the event.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
