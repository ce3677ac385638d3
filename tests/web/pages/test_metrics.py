"""Figures for whoever watches over the hub, and for nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minihub.servers.model import State
from minihub.web.deps import Figures
from tests.web.conftest import Browser
from tests.web.fakes import make_app, make_attempt, make_world


@pytest.fixture
async def browser(aiohttp_client):
    world = make_world()
    figures = Figures(
        crashes={"listing": 2, "prove": 1},
        stalls=7,
        stalls_total_s=1.5,
        longest_stall_s=0.61,
        own_stalls=2,
        own_longest_stall_s=0.25,
        tasks=19,
        connections=5,
        store_commits=100,
        store_failures=3,
        unsaved=1,
    )
    world.deps = replace(world.deps, figures=lambda: figures)
    return Browser(await aiohttp_client(make_app(world), cookies=None), world)


async def test_an_admin_reads_them_in_prometheus_form(browser):
    browser.world.servers.attempts["ada"] = make_attempt(State.READY)
    answer = await browser.log_in("root-of-all").get("/hub/metrics")
    text = await answer.text()

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    for line in (
        'minihub_servers{state="ready"} 1',
        'minihub_servers{state="queued"} 0',
        'minihub_task_crashes_total{task="listing"} 2',
        'minihub_task_crashes_total{task="prove"} 1',
        "minihub_loop_stalls_total 7",
        "minihub_loop_stall_seconds_total 1.5",
        "minihub_loop_stall_longest_seconds 0.61",
        "minihub_loop_stalls_own_total 2",
        "minihub_loop_stall_own_longest_seconds 0.25",
        "minihub_tasks 19",
        "minihub_connections 5",
        "minihub_store_failures_total 3",
        "minihub_store_unsaved_servers 1",
        "minihub_scheduler_up 1",
        "minihub_scheduler_answer_age_seconds 3",
    ):
        assert f"\n{line}\n" in text, line
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("scope", "status"), [("read:metrics", 200), ("read:hub", 403)])
async def test_a_token_needs_the_scope(browser, scope, status):
    token = browser.world.give_token(scope, user="root-of-all")
    answer = await browser.get("/hub/metrics", Authorization=f"token {token}")
    assert answer.status == status


async def test_nobody_else_does(browser):
    assert (await browser.get("/hub/metrics")).status == 401
    assert (await browser.log_in().get("/hub/metrics")).status == 403
