"""The wait: cancelled, timed out, died; what the page says then."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal

import pytest
from playwright.async_api import Page, expect

from tests.chaos.reading import read_jobs
from tests.e2e.browsing import log_in, take
from tests.e2e.kit import (
    PATIENCE_S,
    busy_cluster,
    final_state,
    jobs,
    person,
    signal_daemon,
    text_of,
    until,
)

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SPAWN_S, START_S = 12, 10
"""Little, but enough for what is to happen before: a busy machine takes seconds for what else is done at once."""
HELP, STATUS = "https://help.example/jupyter", "https://status.example/"
PROLOGUE = """\
if [ "$USER" = carol ]; then echo boom >&2; exit 3; fi
if [ "$USER" = bob ]; then echo "waiting for a slow file system"; sleep 600; fi
"""


@pytest.fixture(scope="module")
def hasty(make_hub):
    """A hub with little patience, where two users' Jupyter never comes up."""
    with make_hub(
        hub={"help_url": HELP, "status_page_url": STATUS},
        servers={"spawn_timeout_s": SPAWN_S, "start_timeout_s": START_S},
        jupyter={"prologue": PROLOGUE},
    ) as hub:
        yield hub.start()


@pytest.fixture
def full():
    with busy_cluster() as held:
        yield held


async def start(page: Page, **fields: str) -> None:
    await expect(page.locator("#start")).to_be_visible()
    for name, value in fields.items():
        await page.locator(f"[name={name}]").fill(value)
    await page.locator("#start").click()


async def test_cancel_while_queued(hub, page, passwords, full):
    await log_in(page, hub, "alice", passwords)
    await start(page)
    wait = page.locator("#wait")
    await expect(wait).to_contain_text("PENDING (Resources)")
    await expect(wait).to_contain_text(re.compile("next in line|higher priority"))
    await expect(page.locator("#wait progress")).to_have_attribute("value", "20")
    await take(page, "waiting-for-resources")
    [job] = jobs(hub, "alice")
    assert job.state == "PENDING"
    await expect(page.locator("#job-id")).to_have_text(job.id)
    await page.locator("#cancel").click()
    await page.wait_for_url(re.compile("/hub/home"))
    await expect(page.locator("main")).to_contain_text("Stopped by you.")
    assert jobs(hub, "alice") == []
    await until(lambda: final_state(job.id).startswith("CANCELLED"), "sacct says cancelled")


async def test_spawn_timeout(hasty, page, passwords, full):
    await log_in(page, hasty, "alice", passwords)
    await start(page)
    await expect(page.locator("#job-id")).to_have_text(re.compile(r"\d+"))
    await expect(page.locator("#failure-message")).to_have_text("Spawn failed: Timeout")
    # All there have been of this hub, ended ones too.
    [job] = [job for job in read_jobs(hasty) if job.user == "alice"]
    await take(page, "spawn-timeout")
    await expect(page.locator(".failure")).to_contain_text(f"did not start within {SPAWN_S} s")
    # Slurm's reason, in plain words.
    await expect(page.locator(".failure")).to_contain_text(re.compile("next in line|higher priority"))
    await expect(page.locator("#failure-advice")).to_contain_text("Ask for less time")
    await expect(page.locator(f".failure a[href='{HELP}']")).to_be_visible()
    await expect(page.locator(f".failure a[href='{STATUS}']")).to_be_visible()
    assert jobs(hasty, "alice") == [], "the job is cancelled"
    await until(lambda: final_state(job.id).startswith("CANCELLED"), "sacct says cancelled")
    # From here one can try again, with other options.
    await page.locator("#change").click()
    await expect(page.locator("#start")).to_be_enabled()


async def test_jupyter_never_comes_up(hasty, page, passwords):
    await log_in(page, hasty, "bob", passwords)
    await start(page)
    await expect(page.locator("#failure-message")).to_have_text("Jupyter did not come up in time.")
    await take(page, "start-timeout")
    await expect(page.locator(".log pre")).to_contain_text("waiting for a slow file system")
    await expect(page.locator("#failure-advice")).to_contain_text("rescue")
    await until(lambda: jobs(hasty, "bob") == [], "the job is cancelled")


async def test_the_job_dies_while_starting(hasty, page, passwords):
    await log_in(page, hasty, "carol", passwords)
    await start(page)
    await expect(page.locator("#failure-message")).to_have_text("The job ended before Jupyter was ready.")
    await take(page, "died")
    await expect(page.locator("#failure-reason")).to_contain_text("exit status 3")
    await expect(page.locator(".log pre")).to_contain_text("boom")
    assert jobs(hasty, "carol") == []


async def test_wrong_options_are_told_beside_their_fields(hub, page, passwords):
    await log_in(page, hub, "alice", passwords)
    await expect(page.locator("#start")).to_be_visible()
    # As somebody's script or an old tab would send it: past the browser's own checks.
    await page.locator("#options").evaluate("form => { form.noValidate = true; }")
    for name, value in {"time_hours": "99", "cores": "many", "memory_mb": "1"}.items():
        place = page.locator(f"[name={name}]")
        await place.evaluate("e => { e.type = 'text'; }")
        await place.fill(value)
    await page.locator("#start").click()
    await expect(page.locator("#time_hours-error")).to_be_visible()
    await take(page, "wrong-options")
    for name in ("time_hours", "cores", "memory_mb"):
        assert await page.locator(f"#{name}-error").inner_text(), name
        assert await page.locator(f"[name={name}]").get_attribute("aria-invalid") == "true"
    assert await page.locator("[name=time_hours]").input_value() == "99", "nothing typed is lost"
    assert jobs(hub, "alice") == []


async def test_limits_of_slurm_are_told_beside_their_fields(hub, passwords):
    """rrg-prof2 allows 4 hours, the partition 8."""
    async with person(hub, "alice", passwords["alice"]) as alice:
        status, _, page = await alice.post("/hub/spawn", account="rrg-prof2", time_hours="6", interface="lab")
        assert status == 400
        assert re.search(r'id="time_hours-error">[^<]*4', page), text_of(page)
        status, _, page = await alice.post("/hub/spawn", account="def-prof3", time_hours="1")
        assert status == 400
        assert 'id="account-error"' in page, text_of(page)
        status, _, page = await alice.post("/hub/spawn", gpu_type="a100", gpu_count="2")
        assert status == 400
        assert 'id="gpu_count-error"' in page, text_of(page)
    assert jobs(hub, "alice") == []


async def test_nobody_without_an_account(hub, page, passwords):
    await log_in(page, hub, "dave", passwords)
    await expect(page.locator("#problem")).to_contain_text("account")
    await take(page, "no-account")
    await expect(page.locator("#start")).to_be_disabled()
    async with person(hub, "dave", passwords["dave"]) as dave:
        status, _, text = await dave.post("/hub/spawn", time_hours="1")
        assert status in (400, 403, 409), text_of(text)
    assert jobs(hub, "dave") == []


@contextlib.contextmanager
def silent_controller():
    """slurmctld takes connections and says nothing."""
    signal_daemon("slurmctld", signal.SIGSTOP)
    try:
        yield
    finally:
        signal_daemon("slurmctld", signal.SIGCONT)


async def test_an_unresponsive_scheduler_is_named(make_hub, page, passwords):
    quick = {"command_timeout_s": 3, "listing_quiet_s": 1}
    async with contextlib.AsyncExitStack() as stack:
        hub = stack.enter_context(make_hub(slurm=quick, hub={"status_page_url": STATUS})).start()
        alice = await stack.enter_async_context(person(hub, "alice", passwords["alice"]))
        carol = await stack.enter_async_context(person(hub, "carol", passwords["carol"]))
        await alice.start_and_wait(time_hours="0.5")
        kernel = await alice.new_kernel()
        await log_in(page, hub, "bob", passwords)
        await expect(page.locator("#start")).to_be_visible()
        await carol.get("/hub/spawn")
        with silent_controller():
            # Nobody knows yet; the waiting page says it as soon as the hub does.
            await start(page)
            await expect(page.locator("#message")).to_contain_text("scheduler is not responding")
            await take(page, "scheduler-silent-waiting")
            await page.goto(f"{hub.url}/hub/home")
            await expect(page.locator("#outage")).to_contain_text("Slurm has not answered since")
            await take(page, "scheduler-silent")
            # Who has a server does not notice.
            assert (await alice.run_cell("print(6*7)", kernel)).strip() == "42"
            assert (await alice.server())["state"] == "ready"
            # Cancel works all the same; its job may exist or not.
            await page.locator("#stop").click()
            await page.wait_for_url(re.compile("/hub/spawn-pending/bob"))
            # After some seconds nothing new is begun, and the page says why.
            async with asyncio.timeout(PATIENCE_S):
                while (
                    "Running servers are untouched" not in (await carol.get("/hub/spawn"))[1]
                    or 'id="problem"' not in (await carol.get("/hub/spawn"))[1]
                ):
                    await asyncio.sleep(0.2)
            status, _, text = await carol.post("/hub/spawn", time_hours="0.5")
            assert status == 503, text_of(text)
            assert "The scheduler is not responding. Slurm" in text_of(text)
            assert "Try again in a few minutes" in text_of(text)
        # slurmctld may take bob's job only now: then it is cancelled. Until it cannot any more the hub waits for it.
        await page.wait_for_url(re.compile("/hub/home"), timeout=60_000)
        assert (await alice.server())["state"] == "ready"
        await until(lambda: jobs(hub, "bob") == [], "no job of bob's is left")
        await expect(page.locator("#outage")).to_have_count(0)
