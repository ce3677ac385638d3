"""The processes that ask PAM, with a stand-in for PAM that hangs, crashes, waits or computes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from minihub.errors import AuthError, BadCredentials, HelperError, HubError, TooManyAttempts
from tests.fakes import until
from tests.helper.machine import children_of

STANDIN = "tests.helper.standin"


async def timed(awaitable):
    began = time.monotonic()
    try:
        result = await awaitable
    except HubError as error:
        result = error
    return result, time.monotonic() - began


async def begin(awaitables):
    """Ask all of them: (what comes of them, with the time each took; a list that tells who has an answer by now)."""
    answered = []

    async def one(number, awaitable):
        result = await timed(awaitable)
        answered.append(number)
        return result

    asked = asyncio.gather(*(one(*pair) for pair in enumerate(awaitables)))
    await asyncio.sleep(0)
    return asked, answered


async def test_answers(start_helper):
    helper = await start_helper(STANDIN)
    assert await helper.authenticate("alice", "x") == "alice"


async def test_a_hanging_module_costs_one_login_and_is_killed_with_its_group(start_helper, sleeping):
    helper = await start_helper(STANDIN, pam_workers=1, pam_timeout_s=2)
    hanging = asyncio.gather(*(timed(helper.authenticate("hang", "x")) for _ in range(3)))
    await until(lambda: sleeping() >= 2)
    assert await helper.authenticate("alice", "x") == "alice"
    assert not hanging.done(), "nobody waits for them"
    for error, took in await hanging:
        assert isinstance(error, HelperError)
        assert "in time" in error.user_message
        assert took > 1.9
    await until(lambda: sleeping() == 0, 30)
    assert await helper.authenticate("alice", "x") == "alice"


@pytest.fixture
def sleeping():
    """How many of the stand-in's processes sleep on, helper and idle ones aside."""

    def count():
        found = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes(), (entry / "wchan").read_text()
                except OSError:
                    continue
                found += STANDIN.encode() in words[0] and "nanosleep" in words[1]
        return found

    return count


@pytest.mark.parametrize("name", ["crash", "exit"])
async def test_a_crashing_module_costs_one_login(start_helper, name):
    helper = await start_helper(STANDIN, pam_workers=1)
    for _ in range(3):
        with pytest.raises(HelperError, match="broke off"):
            await helper.authenticate(name, "x")
    assert await helper.authenticate("alice", "x") == "alice"


async def test_an_exception_tells_its_kind_and_no_password(start_helper):
    helper = await start_helper(STANDIN)
    with pytest.raises(AuthError) as caught:
        await helper.authenticate("raise", "S3cret")
    assert "RuntimeError" in caught.value.detail
    assert "S3cret" not in repr(caught.value) + str(caught.value)


async def test_a_delay_is_held_without_keeping_a_process_busy(start_helper):
    helper = await start_helper(STANDIN, pam_workers=1)
    wrong, answered = await begin(helper.authenticate("alice", "wrong") for _ in range(40))
    assert await helper.authenticate("alice", "right") == "alice"
    assert len(answered) < 20
    for error, wrong_took in await wrong:
        assert isinstance(error, BadCredentials)
        assert wrong_took >= 0.8
    # If it did, others would have taken their places, up to forty.
    assert len(children_of(helper.pid)) < 16


async def test_modules_that_wait_for_the_network_keep_nobody_out(start_helper, tmp_path):
    helper, network = await start_helper(STANDIN, pam_workers=2), tmp_path / "network"
    slow, answered = await begin(helper.authenticate(f"slow{n}", str(network)) for n in range(40))
    assert await helper.authenticate("alice", "right") == "alice"
    # All forty wait side by side, not one after the other.
    await until(lambda: len(children_of(helper.pid)) >= 40, 30)
    assert answered == []
    network.touch()
    assert {result for result, _ in await slow} == {f"slow{n}" for n in range(40)}


async def test_computing_modules_do_not_pile_up(start_helper):
    helper = await start_helper(STANDIN, pam_workers=2)
    busy, answered = await begin(helper.authenticate(f"compute{n}", "x") for n in range(40))
    assert await helper.authenticate("compute", "right") == "compute"
    # The newest goes first, but for every third time; in a queue it would be the last.
    assert len(answered) < 20
    assert all(isinstance(result, str) for result, _ in await busy)
    assert len(children_of(helper.pid)) < 16


async def test_too_many_questions_are_refused_at_once(start_helper):
    helper = await start_helper(STANDIN, pam_workers=1, pam_timeout_s=2)
    results = await asyncio.gather(*(timed(helper.authenticate("hang", "x")) for _ in range(700)))
    refused = [took for error, took in results if isinstance(error, TooManyAttempts)]
    assert len(refused) >= 700 - 512 - 64
    assert min(refused) < min(took for error, took in results if not isinstance(error, TooManyAttempts))
    assert await helper.authenticate("alice", "x") == "alice"
