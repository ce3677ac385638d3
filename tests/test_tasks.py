"""Background tasks: what dies is logged with its server, counted and begun anew; some outlive their caller, or the end waits."""

from __future__ import annotations

import asyncio
import logging

import pytest

from minihub.logs import user_name
from minihub.tasks import CRASHES, TaskKeeper
from tests.fakes import until


@pytest.fixture
async def keeper():
    keeper = TaskKeeper()
    yield keeper
    await keeper.close()


async def test_a_task_that_dies_is_logged_and_counted_and_the_others_live_on(keeper, caplog):
    before, forever = CRASHES["prove"], asyncio.Event()
    other = keeper.start(forever.wait(), name="other")

    async def die():
        raise ZeroDivisionError

    keeper.start(die(), name="prove minihub-h-0123", user="ada")
    await until(lambda: keeper.crashes)

    assert CRASHES["prove"] == before + 1
    [record] = caplog.records
    assert "prove minihub-h-0123 died" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError
    assert not other.done()
    assert len(keeper) == 1


async def test_what_a_task_says_is_said_with_its_user(keeper):
    said = []

    class Listener(logging.Handler):
        def emit(self, record):
            said.append((user_name.get(), record.levelname))

    log, listener = logging.getLogger("minihub.tasks"), Listener()
    log.addHandler(listener)

    async def die():
        said.append((user_name.get(), "inside"))
        raise ZeroDivisionError

    try:
        keeper.start(die(), name="prove x", user="ada")
        await until(lambda: keeper.crashes)
    finally:
        log.removeHandler(listener)
    assert said == [("ada", "inside"), ("ada", "ERROR")]


async def test_kept_work_is_begun_anew_until_it_comes_to_its_end(keeper, caplog):
    lives = iter([ZeroDivisionError(), asyncio.CancelledError(), None])
    before = CRASHES["listing"]

    async def work():
        if (error := next(lives)) is not None:
            raise error

    task = keeper.keep(work, name="listing", pause_s=0.001)
    await asyncio.wait_for(task, 30)

    assert keeper.crashes == 2
    assert CRASHES["listing"] == before + 2
    assert [r.getMessage() for r in caplog.records] == [
        "background task listing died, begun anew in 0.001 s",
        "background task listing died, begun anew in 0.002 s",
    ]


async def test_kept_work_ends_when_it_is_cancelled(keeper):
    begun = asyncio.Event()

    async def work():
        begun.set()
        await asyncio.Event().wait()

    task = keeper.keep(work, name="listing")
    await begun.wait()
    await keeper.close()

    assert task.cancelled()
    assert keeper.crashes == 0


# ---- those that outlive their caller, and those that the end waits for ------------------------------------------------


async def answer(gate: asyncio.Event, done: list[str]) -> str:
    await gate.wait()
    done.append("done")
    return "answer"


async def test_what_is_carried_through_answers_or_raises_as_if_it_were_awaited():
    keeper, gate = TaskKeeper(), asyncio.Event()
    gate.set()
    assert await keeper.carry_through(answer(gate, []), name="x") == "answer"

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await keeper.carry_through(fail(), name="x")
    # The caller has heard of it: nothing crashed.
    assert (keeper.crashes, len(keeper)) == (0, 0)


async def test_what_is_carried_through_goes_on_without_its_caller():
    keeper, gate, done = TaskKeeper(), asyncio.Event(), []
    caller = asyncio.ensure_future(keeper.carry_through(answer(gate, done), name="x"))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    await keeper.finish(5)

    assert done == ["done"]


async def test_the_end_waits_for_what_is_begun_meanwhile_but_not_for_ever():
    keeper, gate, done = TaskKeeper(), asyncio.Event(), []

    async def begin() -> None:
        await asyncio.sleep(0)
        keeper.start(answer(gate, done), name="second")
        gate.set()

    keeper.start(begin(), name="first")
    await keeper.finish(5)
    assert (done, len(keeper)) == (["done"], 0)

    keeper.start(answer(asyncio.Event(), done), name="never")
    await keeper.finish(0.01)
    assert len(keeper) == 1
    await keeper.close()
