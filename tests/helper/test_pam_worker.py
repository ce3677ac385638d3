"""Real PAM with real users: whom it lets in, what it tells, what it costs."""

from __future__ import annotations

import asyncio
import time

import pytest

from minihub.errors import BadCredentials, NotAllowed
from tests.helper.machine import PASSWORD, children_of

pytestmark = pytest.mark.real


async def test_a_right_password_gives_the_canonical_name(start_helper):
    helper = await start_helper()
    assert await helper.authenticate("mh-alice", PASSWORD) == "mh-alice"


@pytest.mark.parametrize(
    "name",
    [
        " mh-alice",
        "mh-alice ",
        "Mh-alice",
        "MH-ALICE",
        "mh-alice\0",
        "mh-alice\n",
        "mh-alice/",
        "",
        "../mh-alice",
    ],
)
async def test_another_form_of_a_name_is_no_second_identity(start_helper, name):
    helper = await start_helper()
    with pytest.raises(BadCredentials):
        await helper.authenticate(name, PASSWORD)


async def test_wrong_passwords_and_unknown_names_look_alike(start_helper):
    helper = await start_helper()

    async def refuse(name, password):
        began = time.monotonic()
        with pytest.raises(BadCredentials) as caught:
            await helper.authenticate(name, password)
        return str(caught.value), time.monotonic() - began

    tries = [
        ("mh-alice", "wrong"),
        ("mh-nobody-there", "wrong"),
        ("root", "wrong"),
        ("mh-locked", PASSWORD),
        ("mh-empty", "x"),
    ]
    results = await asyncio.gather(*(refuse(*one) for one in tries))
    assert {words for words, _ in results} == {"Invalid username or password."}
    # PAM's own delay: 3 s and up to a quarter more or less for each module; the same for all.
    assert all(1.3 < took < 6 for _, took in results)


async def test_empty_passwords_are_refused_even_where_the_account_has_none(start_helper):
    helper = await start_helper()
    for name in ("mh-empty", "mh-alice"):
        with pytest.raises(BadCredentials):
            await helper.authenticate(name, "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mh-expired", "account has expired"),
        ("mh-stale", "change your password"),
        ("mh-system", "System accounts"),
        ("mh-hub", "System accounts"),
    ],
)
async def test_a_right_password_is_not_enough(start_helper, name, words):
    helper = await start_helper()
    with pytest.raises(NotAllowed, match=words) as caught:
        await helper.authenticate(name, PASSWORD)
    assert PASSWORD not in str(caught.value)


async def test_the_account_is_not_judged_before_the_password_is_right(start_helper):
    helper = await start_helper()
    for name in ("mh-expired", "mh-stale"):
        with pytest.raises(BadCredentials):
            await helper.authenticate(name, "wrong")


async def test_closed_logins_are_told_to_everybody(machine, start_helper):
    helper = await start_helper()
    machine.enter(["sh", "-c", "echo Maintenance until noon > /etc/nologin"]).wait(10)
    try:
        for name in ("mh-alice", "mh-nobody-there"):
            with pytest.raises(NotAllowed, match="Maintenance until noon"):
                await helper.authenticate(name, PASSWORD)
    finally:
        machine.enter(["rm", "/etc/nologin"]).wait(10)


async def test_the_service_minihub_is_taken_where_it_exists(machine, start_helper):
    machine.enter(
        [
            "sh",
            "-c",
            "printf 'auth required pam_permit.so\\naccount required pam_permit.so\\n' > /etc/pam.d/minihub",
        ]
    ).wait(10)
    try:
        helper = await start_helper()
        assert await helper.authenticate("mh-alice", "anything") == "mh-alice"
    finally:
        machine.enter(["rm", "/etc/pam.d/minihub"]).wait(10)


async def test_a_user_of_pam_who_has_no_account_here_is_refused(machine, start_helper):
    machine.enter(
        [
            "sh",
            "-c",
            "printf 'auth required pam_permit.so\\naccount required pam_permit.so\\n' > /etc/pam.d/minihub",
        ]
    ).wait(10)
    try:
        helper = await start_helper()
        with pytest.raises(Exception, match="no such account"):
            await helper.authenticate("mh-nobody-there", "anything")
        with pytest.raises(NotAllowed, match="root cannot"):
            await helper.authenticate("root", "anything")
    finally:
        machine.enter(["rm", "/etc/pam.d/minihub"]).wait(10)


async def test_a_right_password_does_not_wait_behind_forty_wrong_ones(start_helper):
    """That it is so in time, scripts/bench measures."""
    helper = await start_helper()
    answered = []

    async def wrong(number):
        with pytest.raises(BadCredentials):
            await helper.authenticate(f"mh-user{1 + number % 30}", "wrong")
        answered.append(number)

    tries = [asyncio.get_running_loop().create_task(wrong(n)) for n in range(40)]
    await asyncio.sleep(0)
    assert await helper.authenticate("mh-user7", PASSWORD) == "mh-user7"
    assert len(answered) < 20
    await asyncio.gather(*tries)
    # PAM's delay was held by a timer, not by forty sleeping processes: these would stand by still.
    assert len(children_of(helper.pid)) < 16


async def test_thirty_right_ones_at_once(start_helper):
    helper = await start_helper()
    names = [f"mh-user{n}" for n in range(1, 31)]
    assert await asyncio.gather(*(helper.authenticate(name, PASSWORD) for name in names)) == names
