"""Figures for whoever watches over the hub, and for nobody else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from minihub.proxy.tally import Tally
from minihub.schedulers.measures import CommandMeasures
from minihub.servers.measures import Measures
from minihub.servers.model import Failure, FailureKind, State, StopCause
from minihub.web.deps import Figures
from tests.web.conftest import Browser
from tests.web.fakes import NOW, make_app, make_attempt, make_world

ROOT = Path(__file__).parents[3]


def make_measures() -> Measures:
    measures = Measures()
    measures.begun = 3
    queued = replace(make_attempt(State.QUEUED), created_at=NOW, changed_at=NOW)
    starting = replace(queued, state=State.STARTING, started_at=NOW + 40, changed_at=NOW + 41)
    ready = replace(starting, state=State.READY, changed_at=NOW + 43)
    measures.note_change(queued, starting)
    measures.note_change(starting, replace(starting, job_reason="x"))
    measures.note_change(starting, ready)
    measures.note_change(ready, replace(ready, job_reason="x"))
    measures.note_change(
        ready,
        replace(
            ready, state=State.FAILED, failure=Failure(FailureKind.SPAWN_TIMEOUT, "Spawn failed: Timeout")
        ),
    )
    measures.note_change(ready, replace(ready, state=State.STOPPED, stop_cause=StopCause.LOGOUT))
    measures.note_change(ready, replace(ready, state=State.STOPPED))
    measures.note_late_job("7")
    measures.note_late_job("7")
    return measures


def make_tally() -> Tally:
    tally = Tally()
    tally.of_servers[200], tally.of_hub[404] = 12, 2
    for seconds in (0.0004, 0.003, 0.003, 100.0):
        tally.seconds[int(seconds * 1000).bit_length()] += 1
        tally.seconds_total += seconds
    tally.received, tally.sent, tally.tunnels, tally.tunnel_sent = 1000, 2000, 4, 55
    tally.unanswered["torn"] = 1
    return tally


@pytest.fixture
async def browser(make_browser, aiohttp_client):
    world = make_world({"hub": {"metrics_addresses": ["192.0.2.0/24"], "trusted_proxies": ["127.0.0.1"]}})
    commands = CommandMeasures()
    commands.run["sbatch"] = 5
    commands.failed["sbatch", "timeout"] = 1
    commands.seconds["sbatch"].observe(0.03)
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
        audited={("login", "ok"): 4, ("login", "BadCredentials"): 9},
        servers=make_measures(),
        commands=commands,
        proxy=make_tally(),
        websockets=2,
    )
    world.deps = replace(world.deps, figures=lambda: figures)
    return Browser(await aiohttp_client(make_app(world), cookies=None), world)


async def read(browser, **headers):
    answer = await browser.get("/hub/metrics", **headers)
    assert answer.status == 200
    families = list(parse(await answer.text()))
    assert all(family.documentation for family in families)
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


async def test_an_admin_reads_them_in_prometheus_form(browser):
    browser.world.servers.attempts["ada"] = make_attempt(State.READY)
    values = await read(browser.log_in("root-of-all"))
    expected = {
        "minihub_servers state=ready": 1,
        "minihub_servers state=queued": 0,
        "minihub_task_crashes_total task=listing": 2,
        "minihub_task_crashes_total task=prove": 1,
        "minihub_loop_stalls_total": 7,
        "minihub_loop_stall_seconds_total": 1.5,
        "minihub_loop_stall_longest_seconds": 0.61,
        "minihub_loop_stalls_own_total": 2,
        "minihub_loop_stall_own_longest_seconds": 0.25,
        "minihub_tasks": 19,
        "minihub_connections": 5,
        "minihub_websockets": 2,
        "minihub_store_failures_total": 3,
        "minihub_store_unsaved_servers": 1,
        "minihub_scheduler_up": 1,
        "minihub_scheduler_answer_age_seconds": 3,
        "minihub_starts_total": 3,
        "minihub_failures_total kind=spawn_timeout": 1,
        "minihub_failures_total kind=died": 0,
        "minihub_stops_total cause=logout": 1,
        "minihub_stops_total cause=user": 0,
        "minihub_stops_total cause=finished": 1,
        "minihub_queue_wait_seconds_sum": 40,
        "minihub_queue_wait_seconds_bucket le=30.0": 0,
        "minihub_queue_wait_seconds_bucket le=60.0": 1,
        "minihub_start_seconds_sum": 3,
        "minihub_spawn_seconds_sum": 43,
        "minihub_late_jobs_total": 1,
        "minihub_commands_total program=sbatch": 5,
        "minihub_command_failures_total program=sbatch why=timeout": 1,
        "minihub_command_seconds_bucket le=0.02 program=sbatch": 0,
        "minihub_command_seconds_bucket le=0.05 program=sbatch": 1,
        "minihub_audited_total action=login outcome=ok": 4,
        "minihub_audited_total action=login outcome=BadCredentials": 9,
        "minihub_proxy_answers_total by=server status=200": 12,
        "minihub_proxy_answers_total by=hub status=404": 2,
        "minihub_proxy_unanswered_total why=torn": 1,
        "minihub_proxy_answer_seconds_bucket le=0.001": 1,
        "minihub_proxy_answer_seconds_bucket le=0.002": 1,
        "minihub_proxy_answer_seconds_bucket le=0.004": 3,
        "minihub_proxy_answer_seconds_bucket le=65.536": 3,
        "minihub_proxy_answer_seconds_bucket le=+Inf": 4,
        "minihub_proxy_received_bytes_total over=http": 1000,
        "minihub_proxy_sent_bytes_total over=websocket": 55,
        "minihub_proxy_websockets_total": 4,
    }
    assert {name: values.get(name) for name in expected} == expected


async def test_openmetrics_for_who_asks_for_it(browser):
    accept = "application/openmetrics-text; version=1.0.0"
    answer = await browser.log_in("root-of-all").get("/hub/metrics", Accept=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    names = [family.name for family in parse_openmetrics(await answer.text())]
    assert "minihub_servers" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("scope", "status"), [("read:metrics", 200), ("read:hub", 403)])
async def test_a_token_needs_the_scope(browser, scope, status):
    token = browser.world.give_token(scope, user="root-of-all")
    answer = await browser.get("/hub/metrics", Authorization=f"token {token}")
    assert answer.status == status


async def test_an_address_of_the_settings_needs_no_token(browser):
    assert await read(browser, **{"X-Forwarded-For": "192.0.2.7"})
    answer = await browser.get("/hub/metrics", **{"X-Forwarded-For": "198.51.100.7"})
    assert answer.status == 401


async def test_nobody_else_does(browser):
    assert (await browser.get("/hub/metrics")).status == 401
    assert (await browser.log_in().get("/hub/metrics")).status == 403


async def test_every_family_is_documented_and_no_other(browser):
    text = (ROOT / "docs" / "metrics.md").read_text()
    health = browser.world.servers.scheduler_health
    browser.world.servers.scheduler_health = replace(health, listing_took_s=0.5)
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    answer = await browser.log_in("root-of-all").get("/hub/metrics")
    families = {
        family.name.removeprefix("minihub_") + ("_total" if family.type == "counter" else "")
        for family in parse(await answer.text())
    }
    assert families == documented


async def test_the_dashboard_asks_for_what_there_is(browser):
    dashboard = json.loads((ROOT / "configs" / "grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"minihub_\w+", expression)}
    values = {name.partition(" ")[0] for name in await read(browser.log_in("root-of-all"))}
    assert len(names) > 20
    assert names - values == set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
