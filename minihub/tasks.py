"""Background tasks that somebody holds: none is lost, none dies silently, none takes another with it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from minihub.logs import user_name

T = TypeVar("T")

log = logging.getLogger(__name__)

CRASHES: Counter[str] = Counter()
"""How many background tasks of this process have died, by kind: the first word of their names. Only ever grows."""

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
"""Between starts of a task that dies again and again; whoever lived longer than that begins with the short one."""


class TaskKeeper:
    """Holds tasks until they end; logs what they raise; cancels the rest at close.

    asyncio.TaskGroup is not used: one crash there cancels everybody else's task.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.crashes = 0

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str, user: str = "") -> asyncio.Task[T]:
        """Run `coroutine` in the background.

        Args:
            coroutine: What is to be done, once.
            name: Stands in the log if it dies; the first word is what it is counted as.
            user: Whose server it works for, bound to all that it logs; "" for the hub's own work.
        """
        # A fresh context: what is bound to the request that happened to start it says nothing about the task.
        context = contextvars.Context()
        context.run(user_name.set, user)
        task = asyncio.create_task(  # noqa: TID251 - the one place that may
            coroutine, name=name, context=context
        )
        self._tasks.add(task)
        task.add_done_callback(self._ended, context=context)
        return task

    def keep(
        self,
        work: Callable[[], Coroutine[Any, Any, Any]],
        *,
        name: str,
        user: str = "",
        pause_s: float = _PAUSE_S,
    ) -> asyncio.Task[Any]:
        """Run `work()` to its end in the background, and anew whenever it dies on the way.

        Args:
            work: Makes the coroutine; must be able to begin again in the middle of things.
            name: As for `start`.
            user: As for `start`.
            pause_s: Before it is begun anew; doubled each time that it dies soon.
        """
        return self.start(self._again_and_again(work, name, pause_s), name=name, user=user)

    async def _again_and_again(
        self, work: Callable[[], Coroutine[Any, Any, Any]], name: str, pause_s: float
    ) -> None:
        loop, pause = asyncio.get_running_loop(), pause_s
        while True:
            began = loop.time()
            try:
                await work()
            except asyncio.CancelledError as error:
                # Somebody may have cancelled what it waited for, and not this task: that is a crash like any other.
                if _is_being_cancelled():
                    raise
                died: BaseException = error
            except Exception as error:  # noqa: BLE001 - whatever it was: counted and logged below
                died = error
            else:
                return
            pause = pause_s if loop.time() - began > _LONGEST_PAUSE_S else pause
            self._note(name, died, f"begun anew in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def carry_through(self, coroutine: Coroutine[Any, Any, T], *, name: str, user: str = "") -> T:
        """Await `coroutine` in a task of its own, which goes on to its end where the caller is cancelled."""

        async def run() -> T | Exception:
            try:
                return await coroutine
            except Exception as error:  # noqa: BLE001 - it belongs to the caller, and is no crash of the task
                return error

        outcome = await asyncio.shield(self.start(run(), name=name, user=user))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._note(task.get_name(), error, "not begun anew")

    def _note(self, name: str, error: BaseException, what_next: str) -> None:
        self.crashes += 1
        CRASHES[name.partition(" ")[0]] += 1
        log.error("background task %s died, %s", name, what_next, exc_info=error)

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


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def wait_for_event(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Wait until `event` is set, but no longer than `timeout_s`; True if it was set.

    asyncio.wait_for is not used: before Python 3.12 it can swallow a cancellation that comes with the event.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
