"""An admin stops servers: asked first, told afterwards."""

from __future__ import annotations

import re

import pytest

from minihub.errors import StoreError
from minihub.servers.model import State, StopCause
from tests.web.fakes import make_attempt
from tests.web.pages.admin.conftest import ADMIN


def fill(world, **states):
    for number, (name, state) in enumerate(states.items()):
        world.servers.attempts[name] = make_attempt(
            state, name, id=f"{number:012x}", node=f"node{number % 2}"
        )


def listed(text):
    found = re.search(r'name="servers" value="([^"]+)"', text)
    return found[1].splitlines() if found else []


def names(text, place):
    found = re.search(rf'<ul class="names" id="{place}">(.*?)</ul>', text, re.DOTALL)
    return re.findall(r"<li>([^<: ]+)", found[1]) if found else []


def stops(world):
    return [(user, cause) for what, user, cause in world.servers.asked if what == "stop"]


async def ask(admin, query):
    answer = await admin.get(f"/hub/admin/stop{query}")
    assert answer.status == 200
    return await answer.text()


async def confirm(admin, *servers, **more):
    answer = await admin.send("/hub/admin/stop", ADMIN, servers="\n".join(servers), **more)
    assert answer.status == 200
    return await answer.text()


async def test_what_would_be_stopped_is_listed_and_nothing_is_stopped(admin):
    fill(admin.world, ada=State.READY, bob=State.QUEUED, cy=State.READY)
    text = await ask(admin, "?user=ada&user=bob&user=nobody&user=ada")

    assert listed(text) == ["000000000000 ada", "000000000001 bob"]
    assert "Stop 2 servers?" in text
    assert "nobody has no server any more." in text
    assert stops(admin.world) == []


async def test_all_of_a_node(admin):
    fill(admin.world, ada=State.READY, bob=State.READY, cy=State.READY)

    assert listed(await ask(admin, "?match=1&node=node0")) == ["000000000000 ada", "000000000002 cy"]
    assert listed(await ask(admin, "?match=1&node=node0&user=c")) == ["000000000002 cy"]


async def test_a_filter_that_fits_all_is_none(admin):
    fill(admin.world, ada=State.READY)

    assert (await admin.get("/hub/admin/stop?match=1")).status == 400
    assert (await admin.send("/hub/admin/stop", ADMIN)).status == 400


async def test_nothing_chosen_is_said(admin):
    text = await ask(admin, "")

    assert "No server was chosen." in text
    assert "confirm-stop" not in text


async def test_the_answer_says_what_was_done_and_what_was_over(admin):
    fill(admin.world, ada=State.READY, bob=State.STOPPING, cy=State.STOPPED, dan=State.READY)
    text = await confirm(
        admin, "000000000000 ada", "000000000001 bob", "000000000002 cy", "00000000dead dan", "000000000009 eve",
        back="/hub/admin?node=node0",
    )  # fmt: skip

    assert names(text, "stopping") == ["ada"]
    assert names(text, "was-stopping") == ["bob"]
    assert names(text, "over") == ["cy", "eve"]
    assert names(text, "another") == ["dan"], "it was not the one that the admin saw"
    assert stops(admin.world) == [("ada", StopCause.ADMIN)]
    assert 'href="/hub/admin?node=node0" id="back"' in text


async def test_a_stop_is_in_the_audit_log_as_the_admins(admin):
    fill(admin.world, ada=State.READY)
    await confirm(admin, "000000000000 ada")

    assert admin.world.audit_lines == [("stop", ADMIN, "ok", "ada")]


async def test_twice_is_once(admin):
    fill(admin.world, ada=State.READY)
    text = await confirm(admin, "000000000000 ada", "000000000000 ada")
    assert (names(text, "stopping"), names(text, "was-stopping")) == (["ada"], [])
    text = await confirm(admin, "000000000000 ada")

    assert names(text, "was-stopping") == ["ada"]
    assert len(stops(admin.world)) == len(admin.world.audit_lines) == 1


async def test_one_that_cannot_be_stopped_hinders_no_other(admin):
    fill(admin.world, ada=State.READY, bob=State.READY)
    stop = admin.world.servers.stop

    async def fails_for_ada(user, cause, *, by):
        if user == "ada":
            raise StoreError("The hub cannot use its records: <b>.")
        return await stop(user, cause, by=by)

    admin.world.servers.stop = fails_for_ada
    text = await confirm(admin, "000000000000 ada", "000000000001 bob")

    assert names(text, "failed") == ["ada"]
    assert "cannot use its records: &lt;b&gt;" in text
    assert names(text, "stopping") == ["bob"]
    assert ("stop", ADMIN, "failed", "ada") in admin.world.audit_lines


async def test_a_thousand_are_stopped_by_one_form(admin):
    fill(admin.world, **{f"user{n:04d}": State.READY for n in range(1000)})
    servers = listed(await ask(admin, "?match=1&user=user"))
    text = await confirm(admin, *servers)

    assert len(names(text, "stopping")) == 1000


@pytest.mark.parametrize("server", ["ada", "000000000000 ", "x" * 20, " "])
async def test_a_damaged_form_does_nothing(admin, server):
    fill(admin.world, ada=State.READY)
    answer = await admin.send("/hub/admin/stop", ADMIN, servers=f"000000000000 ada\n{server}\n")

    assert answer.status == 400
    assert stops(admin.world) == []


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/hub/logout", "/user/ada/", ""])
async def test_the_way_back_stays_on_the_admin_pages(admin, back):
    fill(admin.world, ada=State.READY)
    for text in (
        await ask(admin, f"?user=ada&back={back}"),
        await confirm(admin, "000000000000 ada", back=back),
    ):
        assert 'href="/hub/admin" id="back"' in text


async def test_a_form_without_its_token_stops_nothing(admin):
    fill(admin.world, ada=State.READY)
    answer = await admin.post("/hub/admin/stop", {"servers": "000000000000 ada"})

    assert answer.status == 403
    assert stops(admin.world) == []
