"""Background tasks: those that outlive their caller, and those that the end waits for."""

from __future__ import annotations

import asyncio

import pytest

from minihub.tasks import TaskKeeper


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
