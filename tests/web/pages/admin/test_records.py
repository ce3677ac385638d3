"""Everybody's history and the audit log."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from minihub.servers.model import State, StopCause
from minihub.store.rows import AuditRow
from minihub.web.past_view import parse_period
from tests.web.fakes import NOW, make_attempt
from tests.web.pages.admin.conftest import ADMIN

DAY = 86400
TODAY = datetime.fromtimestamp(NOW, UTC).astimezone().date()


async def get(admin, path):
    answer = await admin.get(f"/hub/admin/{path}")
    assert answer.status == 200
    return await answer.text()


async def test_everybodys_history_is_filtered(admin):
    admin.world.servers.ended = [
        make_attempt(State.STOPPED, "ada", job_id="job-a-", stop_cause=StopCause.IDLE),
        make_attempt(State.STOPPED, "bob", job_id="job-b-", created_at=NOW - 3 * DAY),
    ]
    text = await get(admin, "history")
    assert "job-a-" in text
    assert "job-b-" in text
    assert "Stopped because it was idle." in text

    text = await get(admin, f"history?user=bob&since={TODAY - timedelta(days=4)}&until={TODAY}")
    assert "job-b-" in text
    assert "job-a-" not in text
    assert "job-b-" not in await get(admin, f"history?since={TODAY}")
    assert "job-a-" in await get(admin, f"history?until={TODAY}"), "the last day is included"


async def test_what_is_shown_is_what_the_csv_link_asks_for(admin):
    admin.world.servers.ended = [make_attempt(State.STOPPED)]
    text = await get(admin, "history?user=ada&since=2026-01-01&until=2030-01-31")
    period = parse_period({"since": "2026-01-01", "until": "2030-01-31"})
    link = re.search(r'href="([^"]+)" download="history.csv"', text)[1]

    assert link.startswith("/hub/api/history?format=csv&amp;user=ada&amp;since=20")
    since = re.search(r"since=([^&]+)&", link)[1].replace("%3A", ":")
    assert datetime.fromisoformat(since).timestamp() == period.since_s


async def test_history_comes_in_pages_that_keep_the_filter(admin):
    admin.world.servers.ended = [make_attempt(State.STOPPED, created_at=NOW - n) for n in range(60)]
    text = await get(admin, "history?user=ada")

    assert "1 to 50 of 60" in text
    assert 'rel="next" href="/hub/admin/history?page=2&amp;user=ada"' in text
    assert "51 to 60 of 60" in await get(admin, "history?user=ada&page=2")
    assert "There is nothing older." in await get(admin, "history?page=3")


async def test_empty_records_say_so(admin):
    assert "Nobody has had a server yet." in await get(admin, "history")
    assert "No server fits what you search for." in await get(admin, "history?user=x")
    assert "Nothing has been written down yet." in await get(admin, "audit")
    assert "No line fits what you search for." in await get(admin, "audit?about=x")


async def test_the_audit_log_is_filtered(admin):
    rows = admin.world.deps.audit_log.rows
    rows.append(AuditRow(1, NOW - 5 * DAY, "ada", "login", "ada", "192.0.2.1", "ok", "{}"))
    rows.append(AuditRow(2, NOW, ADMIN, "stop", "ada", "192.0.2.2", "ok", "{}"))
    rows.append(AuditRow(3, NOW, "bob", "new-thing", "bob", "192.0.2.3", "denied", "not JSON <b>"))
    rows.append(AuditRow(4, NOW, "", "login", "", "192.0.2.4", "BadCredentials", "{}"))
    everything = await get(admin, "audit")
    for words in (
        "Login",
        "Stop of a server",
        "new-thing",
        "denied",
        "wrong name or password",
        "not JSON &lt;b&gt;",
    ):
        assert words in everything

    async def addresses(query):
        return re.findall(r"192\.0\.2\.\d", await get(admin, f"audit?{query}"))

    assert sorted(await addresses("about=ada")) == ["192.0.2.1", "192.0.2.2"]
    assert await addresses("action=stop") == ["192.0.2.2"]
    assert await addresses(f"about=ada&since={TODAY}") == ["192.0.2.2"]
    assert await addresses("about=nobody") == []


@pytest.mark.parametrize("page", ["history", "audit"])
@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=2026-02-30", "since=0001-01-01", "until=9999-12-31", "since=1"]
)
async def test_what_is_no_day_is_refused(admin, page, query):
    answer = await admin.get(f"/hub/admin/{page}?{query}")

    assert answer.status == 400
    assert "This is no day" in await answer.text()


@pytest.mark.parametrize(
    "query", ["history?user=" + "x" * 65, "audit?about=" + "x" * 65, "audit?action=" + "x" * 65]
)
async def test_what_is_too_long_is_refused(admin, query):
    assert (await admin.get(f"/hub/admin/{query}")).status == 400


@pytest.mark.parametrize("page", ["history", "audit", "users", "users/ada"])
async def test_a_page_that_is_none_is_not_found(admin, page):
    admin.world.users.names.add("ada")

    assert (await admin.get(f"/hub/admin/{page}?page=0")).status == 404
