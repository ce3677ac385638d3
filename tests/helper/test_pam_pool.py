"""The processes that ask PAM, with a stand-in for PAM that hangs, crashes, waits or computes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from minihub.errors import AuthError, BadCredentials, HelperError, HubError, TooManyAttempts

STANDIN = "tests.helper.standin"


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def timed(awaitable):
    began = time.monotonic()
    try:
        result = await awaitable
    except HubError as error:
        result = error
    return result, time.monotonic() - began


async def test_answers(start_helper):
    helper = await start_helper(STANDIN)
    assert await helper.authenticate("alice", "x") == "alice"


async def test_a_hanging_module_costs_one_login_and_is_killed_with_its_group(start_helper, sleeping):
    helper = await start_helper(STANDIN, pam_workers=1, pam_timeout_s=0.7)
    hanging = asyncio.gather(*(timed(helper.authenticate("hang", "x")) for _ in range(3)))
    await asyncio.sleep(0.2)
    assert sleeping() >= 2
    assert await helper.authenticate("alice", "x") == "alice"
    for error, took in await hanging:
        assert isinstance(error, HelperError)
        assert "in time" in error.user_message
        assert 0.6 < took < 2
    await asyncio.sleep(0.1)
    assert sleeping() == 0
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
    wrong = asyncio.gather(*(timed(helper.authenticate("alice", "wrong")) for _ in range(40)))
    result, took = await timed(helper.authenticate("alice", "right"))
    assert result == "alice"
    assert took < 0.5
    for error, wrong_took in await wrong:
        assert isinstance(error, BadCredentials)
        assert wrong_took >= 0.8
    assert len(children_of(helper_pid(helper))) <= 2


async def test_modules_that_wait_for_the_network_keep_nobody_out(start_helper):
    helper = await start_helper(STANDIN, pam_workers=2)
    slow = asyncio.gather(*(timed(helper.authenticate(f"slow{n}", "x")) for n in range(40)))
    await asyncio.sleep(0)
    result, took = await timed(helper.authenticate("alice", "right"))
    assert result == "alice"
    assert took < 0.8
    # All forty wait side by side, not one after the other.
    assert max(took for _, took in await slow) < 3.5


async def test_computing_modules_do_not_pile_up(start_helper):
    helper = await start_helper(STANDIN, pam_workers=2)
    busy = asyncio.gather(*(timed(helper.authenticate(f"compute{n}", "x")) for n in range(40)))
    await asyncio.sleep(0)
    result, took = await timed(helper.authenticate("compute", "right"))
    assert result == "compute"
    assert took < 0.5
    assert all(isinstance(result, str) for result, _ in await busy)
    assert len(children_of(helper_pid(helper))) <= 8


async def test_too_many_questions_are_refused_at_once(start_helper):
    helper = await start_helper(STANDIN, pam_workers=1, pam_timeout_s=2)
    results = await asyncio.gather(*(timed(helper.authenticate("hang", "x")) for _ in range(700)))
    refused = [took for error, took in results if isinstance(error, TooManyAttempts)]
    assert len(refused) >= 700 - 512 - 64
    assert min(refused) < 1
    assert await helper.authenticate("alice", "x") == "alice"


def helper_pid(client):
    return client.pid
