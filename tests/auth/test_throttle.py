"""The throttle with its event loop. Checks are stand-ins for PAM with real, small durations."""

from __future__ import annotations

import asyncio
import time

import pytest

from minihub.auth.admission import AdmissionLimits
from minihub.auth.penalties import PenaltySettings
from minihub.auth.throttle import Throttle
from minihub.clock import ManualClock, SystemClock
from minihub.errors import BadCredentials, HelperError, NotAllowed, TooManyAttempts
from tests.fakes import until

HERE = "192.0.2.7"


def task(coroutine):
    return asyncio.get_running_loop().create_task(coroutine)


@pytest.fixture
async def throttle():
    made = Throttle(SystemClock())
    yield made
    await made.close()


def pam(right, seconds=0.05, pause_s=0.0):
    """A check: PAM's work, and its own pause after a wrong password."""

    async def check():
        await asyncio.sleep(seconds if right else seconds + pause_s)
        if not right:
            raise BadCredentials
        return "canonical"

    return check


async def collect(tasks):
    for one in tasks:
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def record_sleep():
    """A `sleep` that takes no time; `slept` tells for how long it was wanted."""

    async def sleep(seconds):
        sleep.slept.append(seconds)

    sleep.slept = []
    return sleep


async def test_a_right_password_is_answered_at_once(record_sleep):
    throttle = Throttle(SystemClock(), sleep=record_sleep)
    assert await throttle.run("ada", HERE, pam(right=True)) == "canonical"
    assert record_sleep.slept == []
    await throttle.close()


async def test_a_wrong_one_hears_of_it_late_counted_from_the_beginning_of_the_check(record_sleep):
    clock = ManualClock()

    async def wrong():
        clock.advance(0.4)
        raise BadCredentials

    throttle = Throttle(clock, sleep=record_sleep)
    for _ in range(3):
        with pytest.raises(BadCredentials):
            await throttle.run("ada", HERE, wrong)
    # Doubling, but for the little that was forgotten meanwhile.
    assert record_sleep.slept == pytest.approx([0.6, 1.6, 3.6], abs=0.02)
    await throttle.close()


@pytest.mark.parametrize("error", [NotAllowed("no"), HelperError("PAM hangs"), ZeroDivisionError()])
async def test_other_errors_pass_at_once_and_are_not_held_against_anybody(record_sleep, error):
    throttle = Throttle(SystemClock(), sleep=record_sleep)

    async def check():
        raise error

    for _ in range(20):
        with pytest.raises(type(error)):
            await throttle.run("ada", HERE, check)
    assert record_sleep.slept == []
    await throttle.close()


def asked(begun, name, check):
    """`check`, noted in `begun` under `name` when its turn comes."""

    async def run():
        begun.append(name)
        return await check()

    return run


@pytest.mark.parametrize("where", ["the same address", "other addresses"])
@pytest.mark.parametrize("names", ["many names", "the same name"])
async def test_one_right_password_beside_40_wrong_ones_is_soon_next(throttle, where, names):
    """Also where the wrong ones are for the very same user from the very same address."""
    begun = []
    wrong = [
        task(
            throttle.run(
                "ada" if names == "the same name" else f"name{number}",
                HERE if where == "the same address" else f"198.51.100.{number}",
                asked(begun, "wrong", pam(right=False, pause_s=0.05)),
            )
        )
        for number in range(40)
    ]
    await until(lambda: len(begun) >= 4)
    before = len(begun)
    assert await throttle.run("ada", HERE, asked(begun, "right", pam(right=True))) == "canonical"
    assert begun.index("right") <= before + 2, "the newest and the oldest in turn"
    await collect(wrong)


async def test_a_slow_pam_module_with_a_pause_of_its_own_does_not_take_all_doors():
    """pam_unix pauses 2 s after a wrong password, the helper holds its answers as long: those checks must not block the rest."""
    throttle, begun, pause = Throttle(SystemClock()), [], asyncio.Event()
    wrong = [task(throttle.run(f"name{n}", HERE, asked(begun, "wrong", pause.wait))) for n in range(40)]
    await until(lambda: len(begun) >= 4)
    before = len(begun)
    await throttle.run("ada", HERE, asked(begun, "right", pam(right=True)))
    assert begun.index("right") <= before + 2
    assert not any(one.done() for one in wrong)
    await collect(wrong)
    await throttle.close()


async def test_thirty_people_behind_one_address_all_get_in(record_sleep):
    """Half of them mistype once, and hear of it as late as if they were alone."""
    throttle = Throttle(SystemClock(), sleep=record_sleep)

    async def person(number):
        if number % 2:
            with pytest.raises(BadCredentials):
                await throttle.run(f"student{number}", HERE, pam(right=False))
        return await throttle.run(f"student{number}", HERE, pam(right=True))

    assert len(await asyncio.gather(*(person(number) for number in range(30)))) == 30
    assert len(record_sleep.slept) <= 15
    assert max(record_sleep.slept, default=0) <= PenaltySettings().least_s
    await throttle.close()


async def test_too_many_are_refused_and_the_others_served():
    throttle = Throttle(SystemClock(), limits=AdmissionLimits(checking=1, waiting=3))
    results = await asyncio.gather(
        *(throttle.run(f"u{number}", HERE, pam(right=True, seconds=0.01)) for number in range(10)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, TooManyAttempts)]
    assert len(refused) == 6
    assert results.count("canonical") == 4
    await throttle.close()


async def test_one_who_has_to_go_for_another_address_is_told():
    throttle = Throttle(SystemClock(), limits=AdmissionLimits(checking=1, waiting=2))
    gate = asyncio.Event()
    blocker = task(throttle.run("first", HERE, gate.wait))
    await asyncio.sleep(0)
    greedy = [task(throttle.run(f"u{number}", HERE, pam(right=True, seconds=0))) for number in range(2)]
    await asyncio.sleep(0)
    other = task(throttle.run("ada", "198.51.100.9", pam(right=True, seconds=0)))
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(blocker, *greedy, other, return_exceptions=True)
    assert [type(result) for result in results] == [bool, str, TooManyAttempts, str]
    await throttle.close()


async def test_waiting_has_an_end():
    throttle = Throttle(
        SystemClock(), limits=AdmissionLimits(checking=1, slow_after_s=99), longest_wait_s=0.05
    )
    gate = asyncio.Event()
    blocker = task(throttle.run("first", HERE, gate.wait))
    await asyncio.sleep(0)
    with pytest.raises(TooManyAttempts):
        await throttle.run("ada", HERE, pam(right=True))
    gate.set()
    await blocker
    assert await throttle.run("ada", HERE, pam(right=True, seconds=0)) == "canonical"
    await throttle.close()


async def test_going_away_neither_ends_the_check_nor_its_consequences():
    """Else one could try passwords and hang up before the delay."""
    throttle = Throttle(
        SystemClock(),
        limits=AdmissionLimits(checking=8, outstanding_per_user=3, outstanding_per_address=3),
        penalties=PenaltySettings(least_s=0.5),
    )
    checked, begun_at = [], []

    async def wrong():
        begun_at.append(time.monotonic())
        await asyncio.sleep(0.02)
        checked.append(1)
        raise BadCredentials

    async def right():
        begun_at.append(time.monotonic())

    for _ in range(3):
        attempt = task(throttle.run("ada", HERE, wrong))
        await asyncio.sleep(0.01)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
    await until(lambda: len(checked) == 3)
    await throttle.run("ada", HERE, right)
    # Not before the first of the three would have had his answer.
    assert begun_at[3] - begun_at[0] > 0.4
    await throttle.close()


async def test_going_away_while_waiting_frees_the_place():
    throttle = Throttle(SystemClock(), limits=AdmissionLimits(checking=1, slow_after_s=99))
    gate = asyncio.Event()
    blocker = task(throttle.run("first", HERE, gate.wait))
    await asyncio.sleep(0)
    waiters = [task(throttle.run(f"u{number}", HERE, pam(right=True))) for number in range(5)]
    await asyncio.sleep(0)
    assert throttle.waiting == 5
    await collect(waiters)
    assert throttle.waiting == 0
    gate.set()
    await blocker
    assert await throttle.run("bob", HERE, pam(right=True, seconds=0)) == "canonical"
    await throttle.close()


async def test_going_away_at_the_very_moment_when_the_turn_comes_frees_the_place():
    clock, gate = ManualClock(), asyncio.Event()
    throttle = Throttle(clock, limits=AdmissionLimits(checking=1))
    blocker = task(throttle.run("first", HERE, gate.wait))
    waiter = task(throttle.run("ada", HERE, gate.wait))
    await asyncio.sleep(0.01)
    assert (throttle.waiting, throttle._admission.running) == (1, 1)
    clock.advance(1)
    throttle._dispatch()
    assert (throttle.waiting, throttle._admission.running) == (0, 2)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert throttle._admission.running == 1
    gate.set()
    await blocker
    await throttle.close()
