"""/hub/admin: who may see it, the table, its events."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from minihub.servers.model import ServerOptions, State
from minihub.servers.service import SchedulerHealth
from minihub.web.routes import ROUTES
from tests.web.fakes import NOW, make_attempt

PAGES = [
    path.replace("{name}", "ada")
    for method, path, _, access in ROUTES
    if access.value == "admin" and method == "GET"
]
FORMS = [
    path.replace("{name}", "ada")
    for method, path, _, access in ROUTES
    if access.value == "admin" and method == "POST"
]


async def page(browser, query=""):
    answer = await browser.get(f"/hub/admin{query}")
    assert answer.status == 200
    return await answer.text()


def users_of(text):
    return re.findall(r'<tr data-key="([^"]+)"', text)


def fill(world, count=3, state=State.READY):
    for n in range(count):
        name = f"user{n:04d}"
        world.servers.attempts[name] = make_attempt(
            state, name, id=f"{n:012x}", job_id=str(5000 + n), node=f"node{n % 4}"
        )


def without_ids(text):
    return re.sub(r"[0-9a-f]{12}", "", text)


@pytest.mark.parametrize("path", PAGES)
async def test_to_all_others_there_is_no_such_page(browser, path):
    browser.log_in("ada")
    answer, nothing = await browser.get(f"/{path}"), await browser.get("/hub/nothing-here")

    assert answer.status == nothing.status == 404
    text, other = await answer.text(), await nothing.text()
    assert without_ids(text).replace(path.replace("/", "%2F"), "") == without_ids(other).replace(
        "hub%2Fnothing-here", ""
    )
    assert "hub/admin" not in text.replace(f"next=%2F{path.replace('/', '%2F')}", "")


@pytest.mark.parametrize("path", FORMS)
async def test_to_all_others_there_is_nothing_to_send(browser, path):
    browser.log_in("ada")

    assert (await browser.send(f"/{path}")).status == 404
    assert browser.world.servers.asked == []


@pytest.mark.parametrize("path", FORMS)
async def test_forms_need_their_token(admin, path):
    assert (await admin.post(f"/{path}", {"_xsrf": "wrong"})).status == 403


async def test_who_is_not_logged_in_is_asked_to(browser):
    answer = await browser.get("/hub/admin?node=n1")

    assert (answer.status, answer.headers["Location"]) == (303, "/hub/login?next=%2Fhub%2Fadmin%3Fnode%3Dn1")


@pytest.mark.parametrize(("user", "shown"), [("ada", False), ("root-of-all", True)])
async def test_only_admins_see_the_link(browser, user, shown):
    text = await (await browser.log_in(user).get("/hub/home")).text()

    assert ('href="/hub/admin"' in text) == shown


async def test_a_row_has_all_there_is_to_know_and_no_way_into_the_server(admin):
    options = ServerOptions(3, 2, 4096, "terminal", "def-x", None, "gpu", None, "a100", 2)
    admin.world.servers.attempts["bob"] = make_attempt(user="bob", options=options)
    admin.world.servers.active["bob"] = NOW - 7200
    text = await page(admin)
    row = text.split('<tr data-key="bob">')[1].split("</tr>")[0]

    for words in (">bob</a>", "Running", ">4242", "RUNNING", ">node7</a>", ">2<", "4 GB", "2 \N{MULTIPLICATION SIGN} a100", "40 s", "of 3 h",
                  "Terminal", "def-x", ">gpu<"):  # fmt: skip
        assert words in row, words
    assert f'data-since="{NOW - 30}"' in row, "idle since it came up: there was no traffic since"
    assert "/user/bob" not in text.replace("/hub/admin/users/bob", "")


async def test_the_empty_table_says_so(admin):
    text = await page(admin)

    assert "Nobody has a server now." in text
    assert "0 servers" in text
    fill(admin.world)
    assert "No server fits what you search for." in await page(admin, "?user=nobody")


async def test_columns_are_sorted_by_links(admin):
    fill(admin.world)
    text = await page(admin, "?sort=-job")

    assert users_of(text) == ["user0002", "user0001", "user0000"]
    assert '<th scope="col" aria-sort="descending"><a href="/hub/admin?sort=job">' in text
    assert users_of(await page(admin, "?sort=job")) == ["user0000", "user0001", "user0002"]
    assert '<a href="/hub/admin?sort=-user">User' in await page(admin)


async def test_filters_stay_in_the_links_and_the_form(admin):
    fill(admin.world, 9)
    text = await page(admin, "?node=node1&user=USER&sort=node")

    assert users_of(text) == ["user0001", "user0005"]
    assert 'href="/hub/admin?user=USER&amp;node=node1&amp;sort=-node"' in text
    assert 'name="user" type="search" value="USER"' in text
    assert "<option selected>node1</option>" in text
    assert "2 servers" in text
    match = re.search(r'id="stop-all" href="([^"]+)"', text)
    assert match[1].startswith("/hub/admin/stop?match=1&amp;back=%2Fhub%2Fadmin%3Fnode%3Dnode1")
    assert "Stop all that fit" in text
    assert "Stop all on node1" in await page(admin, "?node=node1")
    assert 'id="stop-all"' not in await page(admin)


@pytest.mark.parametrize("query", ["?sort=colour", "?state=gone", "?user=" + "x" * 200])
async def test_a_query_that_makes_no_sense_is_told_so(admin, query):
    for path in ("/hub/admin", "/hub/admin/state", "/hub/admin/events"):
        assert (await admin.get(path + query)).status == 400


async def test_a_thousand_servers_come_in_pages(admin):
    fill(admin.world, 1000)
    first, last = await page(admin), await page(admin, "?page=20")

    assert len(users_of(first)) == len(users_of(last)) == 50
    assert "1 to 50 of 1000" in first
    assert 'rel="next" href="/hub/admin?page=2"' in first
    assert users_of(last)[-1] == "user0999"
    assert "951 to 1000 of 1000" in last
    assert 'rel="next"' not in last
    assert len(first) < 120_000


async def test_names_are_escaped(admin):
    admin.world.servers.attempts["<b>"] = make_attempt(user="<b>", job_state="<i>", node="<u>")
    text = await page(admin)

    for tag in ("<b>", "<i>", "<u>"):
        assert tag not in text
    assert "/hub/admin/users/%3Cb%3E" in text


async def test_an_outage_says_when_the_scheduler_answered_last(admin):
    admin.world.servers.scheduler_health = SchedulerHealth(
        "slurm", NOW - 900, NOW - 890, "No route.", "ssh: <x>"
    )
    text = await page(admin)

    assert "Slurm last answered 15 min ago; this is what it said then." in text
    assert 'id="outage"' in text
    assert "ssh: &lt;x&gt;" in text


async def test_jobs_with_unknown_tags_are_shown(admin):
    admin.world.servers.scheduler_health = SchedulerHealth(
        "slurm", NOW, unknown_jobs=(("77", "bob", "minihub-x"),)
    )
    text = await page(admin)

    assert "Jobs without a record here" in text
    assert "<td>77</td><td>bob</td>" in text


async def test_polling_gets_the_same_rows(admin):
    fill(admin.world)
    answer = await admin.get("/hub/admin/state?sort=-user", Accept="application/json")
    news = await answer.json()

    assert news["order"] == ["user0002", "user0001", "user0000"]
    assert ">5002" in news["rows"]["user0002"]
    assert "3 servers" in news["sums"]
    assert news["outage"] is False


class Stream:
    """Reads events."""

    def __init__(self, answer):
        self.answer = answer

    async def next(self):
        async with asyncio.timeout(20):
            while not (line := await self.answer.content.readline()).startswith(b"data: "):
                assert line, "the stream has ended"
        return json.loads(line.removeprefix(b"data: "))

    async def with_(self, part):
        """The next event that has this part."""
        while part not in (event := await self.next()):
            pass
        return event


async def test_events_tell_what_changed_and_nothing_else(admin):
    servers = admin.world.servers
    fill(admin.world)
    async with admin.client.get("/hub/admin/events?sort=user", headers=admin.headers) as answer:
        stream = Stream(answer)
        first = await stream.next()
        assert list(first["rows"]) == ["user0000", "user0001", "user0002"]

        servers.attempts["user0001"] = servers.attempts["user0001"].with_(state=State.STOPPING)
        changed = await stream.with_("rows")
        assert list(changed["rows"]) == ["user0001"]
        assert "Stopping" in changed["rows"]["user0001"]
        assert "order" not in changed

        servers.attempts["user0001"] = servers.attempts["user0001"].with_(state=State.STOPPED)
        gone = await stream.with_("order")
        assert gone["order"] == ["user0000", "user0002"]
        assert "rows" not in gone
        assert "2 servers" in gone["sums"]


async def test_a_stream_shows_its_own_filter_and_page(admin):
    fill(admin.world, 60)
    async with admin.client.get("/hub/admin/events?page=2&sort=-user", headers=admin.headers) as answer:
        stream = Stream(answer)
        assert (await stream.next())["order"][0] == "user0009"
        admin.world.servers.attempts["zoe"] = make_attempt(user="zoe")
        news = await stream.with_("order")
        assert news["order"][0] == "user0010"
        assert list(news["rows"]) == ["user0010"]
        assert "51 to 61 of 61" in news["pages"]


async def test_a_stream_ends_now_and_then_and_who_may_still_listen_is_asked_anew(admin):
    fill(admin.world)
    async with admin.client.get("/hub/admin/events", headers=admin.headers) as answer:
        stream = Stream(answer)
        await stream.next()
        admin.world.clock.advance(601)
        admin.world.servers.attempts.popitem()
        with pytest.raises(AssertionError, match="the stream has ended"):
            await stream.next()
    admin.log_in("ada")
    assert (await admin.get("/hub/admin/events")).status == 404


async def test_rows_come_in_the_readers_language(admin):
    fill(admin.world, 1)
    news = await (
        await admin.get("/hub/admin/state", **{"Accept-Language": "fr", "Accept": "application/json"})
    ).json()

    assert "1 serveur" in news["sums"]
    assert "sur 3 h" in news["rows"]["user0000"]
