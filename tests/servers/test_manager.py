"""Supervisor, listing and manager together, against a scripted scheduler and store."""

from __future__ import annotations

import asyncio

import pytest

from minihub.clock import ManualClock, SystemClock
from minihub.config import parse_settings
from minihub.errors import (
    Conflict,
    OptionsError,
    SchedulerUnavailable,
    StoreError,
    SubmitDoubtful,
    SubmitRejected,
    UpstreamError,
    UpstreamUnsafe,
)
from minihub.schedulers.base import JobEnding, JobPhase
from minihub.servers import lifecycle as life
from minihub.servers import manager as manager_module
from minihub.servers.lifecycle import Clocks
from minihub.servers.listing import ListingLoop, ListingSettings
from minihub.servers.manager import Manager, Prepared
from minihub.servers.model import NO_SECRETS, FailureKind, Secrets, State, StopCause
from minihub.servers.registry import Registry
from minihub.servers.supervisor import Supervisor, SupervisorSettings
from minihub.tasks import CRASHES
from tests.fakes import OUTAGE, FakeProver, FakeScheduler, FakeStore, until

OPTIONS = {"time_hours": "1.5", "cores": "2", "memory_mb": "1024", "account": "def-a"}


def parse_port(comment, tag):
    name, _, port = comment.partition(" ")
    return int(port) if name == tag and port.isdigit() else None


class Hub:
    """The servers room with everything around it scripted."""

    def __init__(self, store=None, scheduler=None, clock=None):
        self.clock = clock or ManualClock()
        self.store = store or FakeStore()
        self.scheduler = scheduler or FakeScheduler(self.clock)
        self.prover = FakeProver()
        self.closed = []
        self.registry = Registry()
        self.supervisor = Supervisor(
            self.registry,
            self.store,
            self.scheduler,
            self.prover,
            self.clock,
            SupervisorSettings(Clocks(), doubt_s=40),
            self.closed.append,
        )
        self.listing = ListingLoop(
            self.supervisor, self.store, "h0", self.clock, ListingSettings(), parse_port
        )
        self.numbers = iter(range(10**6))
        self.manager = Manager(
            parse_settings({}),
            "h0",
            self.supervisor,
            self.listing,
            self.scheduler,
            self.store,
            self.store,
            self.clock,
            self.prepare,
        )

    async def prepare(self, user, tag, options):
        return Prepared(
            Secrets("token", f"report-{user}-{next(self.numbers)}"),
            "#!/bin/sh\n",
            f"/home/{user}",
            f"/home/{user}/%j.log",
        )

    async def start(self, user="ada"):
        attempt, _ = await self.manager.start(user, OPTIONS, by=user)
        return attempt

    async def queued(self, user="ada"):
        await self.start(user)
        await until(lambda: self.state(user) is not State.SUBMITTING)
        return self.manager.get(user)

    async def ready(self, user="ada"):
        attempt = await self.queued(user)
        self.scheduler.run_all()
        assert await self.manager.report(attempt.secrets.report, 4000)
        await until(lambda: self.manager.get(user).port)
        await self.listing.look()
        await until(lambda: self.state(user) is State.READY)
        return self.manager.get(user)

    def state(self, user="ada"):
        return self.manager.get(user).state


@pytest.fixture(autouse=True)
def ends_soon(monkeypatch):
    monkeypatch.setattr("minihub.servers.supervisor._FINISH_S", 0.05)


@pytest.fixture
async def hub():
    hub = Hub()
    yield hub
    await hub.supervisor.close()


async def test_a_start_becomes_ready_and_routed(hub):
    attempt = await hub.ready()

    route = hub.manager.route("ada")
    assert (route.endpoint.host, route.endpoint.port, route.attempt_id) == ("n1", 4000, attempt.id)
    assert hub.scheduler.submitted[0].account == "def-a"
    assert hub.store.rows[attempt.id].state == "ready"


async def test_the_attempt_is_written_down_before_the_scheduler_is_asked(hub):
    hub.scheduler.submit_gate = asyncio.Event()
    attempt = await hub.start()
    await until(lambda: hub.scheduler.submitted)

    assert hub.store.rows[attempt.id].state == "submitting"
    hub.scheduler.submit_gate.set()


async def test_what_cannot_be_written_down_is_not_begun(hub):
    hub.store.broken = True
    with pytest.raises(StoreError):
        await hub.start()

    assert hub.manager.get("ada") is None
    assert hub.scheduler.submitted == []


async def test_a_store_that_breaks_later_loses_nothing(hub, monkeypatch):
    monkeypatch.setattr("minihub.servers.supervisor._RESAVE_S", 0.01)
    attempt = await hub.queued()
    hub.store.broken = True
    hub.scheduler.run_all()
    await hub.listing.look()
    assert hub.state() is State.STARTING
    assert hub.store.rows[attempt.id].state == "queued"

    hub.store.broken = False
    await until(lambda: hub.store.rows[attempt.id].state == "starting")


async def test_a_start_whose_browser_went_away_is_begun_nevertheless(hub):
    hub.store.together = asyncio.Barrier(2)
    start = asyncio.ensure_future(hub.start())
    await until(lambda: hub.store.together.n_waiting)
    start.cancel()
    await asyncio.sleep(0)
    await hub.store.together.wait()
    hub.store.together = None

    # Written down: so it must be known, or the user could never start another.
    await until(lambda: hub.manager.get("ada") is not None)
    assert start.cancelled()
    await until(lambda: hub.scheduler.submitted)


async def test_a_stop_whose_browser_went_away_is_carried_out_at_once(hub):
    await hub.ready()
    hub.store.together = asyncio.Barrier(2)
    stop = asyncio.ensure_future(hub.manager.stop("ada", StopCause.USER, by="ada"))
    await until(lambda: hub.store.together.n_waiting)
    stop.cancel()
    await asyncio.sleep(0)
    await hub.store.together.wait()
    hub.store.together = None

    await until(lambda: hub.scheduler.cancelled)
    assert hub.closed == ["ada"]


async def test_one_server_a_user_however_many_starts(hub):
    answers = await asyncio.gather(*(hub.manager.start("ada", OPTIONS, by="ada") for _ in range(20)))

    assert len({attempt.id for attempt, _ in answers}) == 1
    assert [made for _, made in answers].count(True) == 1
    await until(lambda: hub.state() is State.QUEUED)
    assert len(hub.scheduler.submitted) == 1


async def test_wrong_options_name_their_fields(hub):
    with pytest.raises(OptionsError) as caught:
        await hub.manager.start("ada", {**OPTIONS, "cores": "9", "time_hours": "soon", "wat": 1}, by="ada")

    assert set(caught.value.fields) == {"cores", "time_hours", "wat"}


async def test_a_refusal_fails_at_once_with_the_schedulers_words(hub):
    hub.scheduler.submit_error = SubmitRejected("Invalid account.")
    await hub.start()
    await until(lambda: hub.state() is State.FAILED)

    failure = hub.manager.get("ada").failure
    assert (failure.kind, failure.reason) == (FailureKind.REJECTED, "Invalid account.")


async def test_a_doubtful_submit_finds_its_job_by_the_tag(hub):
    hub.scheduler.submit_error = SubmitDoubtful("no answer", settles_after_s=40)
    attempt = await hub.start()
    await until(lambda: hub.manager.get("ada").doubt_until)
    await hub.listing.look()
    assert hub.state() is State.SUBMITTING

    hub.scheduler.add_job("eve", attempt.tag)  # somebody else's job of the same name gains nothing
    await hub.listing.look()
    assert hub.state() is State.SUBMITTING
    job_id = hub.scheduler.add_job("ada", attempt.tag)
    await hub.listing.look()
    assert (hub.state(), hub.manager.get("ada").job_id) == (State.QUEUED, job_id)


async def test_a_job_that_comes_after_its_attempt_was_given_up_is_cancelled(hub):
    hub.scheduler.submit_error = SubmitDoubtful("no answer", settles_after_s=40)
    attempt = await hub.start()
    await until(lambda: hub.manager.get("ada").doubt_until)
    for _ in range(2):
        hub.clock.advance(41)
        await hub.listing.look()
    assert hub.manager.get("ada").failure.kind is FailureKind.DOUBTFUL

    late = hub.scheduler.add_job("ada", attempt.tag)
    stranger = hub.scheduler.add_job("ada", "minihub-h0-ffffffffffff")
    await hub.listing.look()
    assert hub.scheduler.cancelled == [("ada", late)]
    assert hub.manager.health().unknown_jobs == ((stranger, "ada", "minihub-h0-ffffffffffff"),)


async def test_stop_in_every_state_cancels_and_confirms(hub):
    for user, prepare in (("a", hub.queued), ("b", hub.ready)):
        attempt = await prepare(user)
        stopped = await hub.manager.stop(user, StopCause.USER, by=user)
        again = await hub.manager.stop(user, StopCause.LOGOUT, by=user)
        assert (stopped.state, again.state, again.stop_cause) == (
            State.STOPPING,
            State.STOPPING,
            StopCause.USER,
        )
        await until(lambda a=attempt, u=user: (u, a.job_id) in hub.scheduler.cancelled)
        assert hub.manager.route(user) is None
        hub.clock.advance(0.1)
        await hub.listing.look()
        await hub.listing.look()
        assert hub.state(user) is State.STOPPED
        assert await hub.manager.wait_final(user, 1)
    assert hub.closed.count("b") >= 1


async def test_stop_wins_the_race_against_sbatch(hub):
    hub.scheduler.submit_gate = asyncio.Event()
    await hub.start()
    await until(lambda: hub.scheduler.submitted)
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    with pytest.raises(Conflict):
        await hub.start()
    hub.scheduler.submit_gate.set()
    await until(lambda: hub.scheduler.cancelled == [("ada", "1")])


async def test_a_cancel_that_fails_is_repeated(hub):
    await hub.ready()
    hub.scheduler.cancel_error = OUTAGE
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    await until(lambda: len(hub.scheduler.cancelled) == 1)
    hub.scheduler.cancel_error = None
    hub.clock.advance(6)
    await hub.listing.tick()
    await until(lambda: len(hub.scheduler.cancelled) == 2 and not hub.scheduler.jobs)


async def test_the_spawn_timeout_cancels_and_is_explained(hub):
    attempt = await hub.queued()
    hub.scheduler.change(
        attempt.job_id, JobPhase.WAITING, "PENDING", reason="Priority", reason_words="Others are ahead."
    )
    await hub.listing.look()
    hub.clock.advance(301)
    await hub.listing.tick()
    await until(lambda: hub.scheduler.cancelled)
    hub.clock.advance(0.1)
    await hub.listing.look()
    await hub.listing.look()

    failure = hub.manager.get("ada").failure
    assert (hub.state(), failure.message) == (State.FAILED, "Spawn failed: Timeout")
    assert "Others are ahead." in failure.reason


async def test_a_job_that_can_never_start_is_cancelled_at_once_and_explained(hub):
    attempt = await hub.queued()
    hub.scheduler.change(
        attempt.job_id,
        JobPhase.WAITING,
        "PENDING",
        reason="PartitionTimeLimit",
        reason_words="Too long for the partition.",
        hopeless=True,
    )
    await hub.listing.look()
    await until(lambda: hub.scheduler.cancelled)
    hub.clock.advance(0.1)
    await hub.listing.look()
    await hub.listing.look()

    failure = hub.manager.get("ada").failure
    assert (hub.state(), failure.kind) == (State.FAILED, FailureKind.REJECTED)
    assert failure.reason == "Too long for the partition."


async def test_an_outage_changes_nothing_and_refuses_new_starts(hub):
    await hub.ready()
    hub.scheduler.listing_error = OUTAGE
    for _ in range(5):
        assert not await hub.listing.look()
        hub.clock.advance(30)
    assert hub.state() is State.READY
    assert hub.manager.health().failing_since is not None
    with pytest.raises(SchedulerUnavailable):
        await hub.start("bob")
    form = await hub.manager.form("bob")
    assert "slurmctld does not answer." in form.problem


async def test_a_form_does_not_wait_for_a_scheduler_known_to_be_silent(hub, monkeypatch):
    """A hub that was started in the outage has read no limits yet."""

    async def hang(_user):
        await asyncio.sleep(3600)

    monkeypatch.setattr(hub.scheduler, "limits", hang)
    monkeypatch.setattr(manager_module, "_SILENT_PATIENCE_S", 0.01)
    hub.scheduler.listing_error = OUTAGE
    await hub.listing.look()
    async with asyncio.timeout(30):
        assert "slurmctld does not answer." in (await hub.manager.form("ada")).problem


async def test_accounting_that_hears_of_an_end_late_is_waited_for(hub, monkeypatch):
    attempt = await hub.ready()
    answers = [JobEnding("CANCELLED", is_whole=False), None, JobEnding("CANCELLED", cancelled_by="root")]

    async def ending(_user, _job_id):
        return answers.pop(0)

    monkeypatch.setattr(hub.scheduler, "ending", ending)
    hub.scheduler.change(attempt.job_id, JobPhase.ENDED, "CANCELLED")
    await hub.listing.look()
    await until(lambda: hub.state() is State.FAILED)
    assert hub.manager.get("ada").failure.reason == "It was cancelled by root."


async def test_accounting_that_never_hears_of_an_end_is_not_waited_for_for_ever(hub, monkeypatch):
    attempt = await hub.ready()
    hub.scheduler.endings[attempt.job_id] = JobEnding("FAILED", 3, is_whole=False)
    hub.scheduler.change(attempt.job_id, JobPhase.ENDED, "FAILED")
    await hub.listing.look()
    await until(lambda: hub.state() is State.FAILED, timeout_s=15)
    assert "exit status 3" in hub.manager.get("ada").failure.reason


async def test_a_job_that_listings_lack_but_that_lives_is_left_alone(hub):
    attempt = await hub.ready()
    # So that it would be told at once, were it told.
    hub.scheduler.endings[attempt.job_id] = JobEnding("TIMEOUT")
    hub.scheduler.hidden = True
    for _ in range(5):
        await hub.listing.look()
        await settled()
    assert hub.state() is State.READY

    # Nobody can be asked about it: that proves nothing either.
    hub.scheduler.jobs.pop(attempt.job_id)
    hub.scheduler.tells_of_one_job = False
    await hub.listing.look()
    await settled()
    assert hub.state() is State.READY

    hub.scheduler.tells_of_one_job = True
    await hub.listing.look()
    await until(lambda: hub.state() is State.FAILED)
    assert hub.manager.get("ada").failure.kind is FailureKind.TIME_LIMIT


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("began", ["queued", "starting"])
async def test_time_is_not_up_while_nobody_knows_how_the_job_is(hub, began):
    """It started in the outage, and wrote its port into its comment: both are seen only afterwards."""
    attempt = await hub.queued()
    await hub.listing.look()
    if began == "starting":
        hub.scheduler.run_all()
        await hub.listing.look()
    hub.scheduler.listing_error = OUTAGE
    hub.clock.advance(400)
    await hub.listing.look()
    await hub.listing.tick()
    assert hub.state().name == began.upper()

    hub.scheduler.change(
        attempt.job_id, JobPhase.RUNNING, "RUNNING", node="n1", comment=f"{attempt.tag} 4321"
    )
    hub.scheduler.listing_error = None
    await hub.listing.look()
    await hub.listing.tick()
    await until(lambda: hub.state() is State.READY)
    assert hub.scheduler.cancelled == []


async def test_time_is_not_up_while_jobs_are_hidden(hub):
    await hub.queued()
    await hub.listing.look()
    hub.scheduler.hidden, hub.scheduler.sees_all_users = True, False
    hub.clock.advance(400)
    for _ in range(3):
        await hub.listing.look()
        await hub.listing.tick()
        hub.clock.advance(10)
    assert hub.state() is State.QUEUED

    hub.scheduler.hidden, hub.scheduler.sees_all_users = False, True
    hub.scheduler.run_all()
    await hub.listing.look()
    await hub.listing.tick()
    assert hub.state() is State.STARTING


async def test_time_is_up_soon_after_an_outage(hub):
    await hub.queued()
    await hub.listing.look()
    hub.scheduler.listing_error = OUTAGE
    await hub.listing.look()
    hub.clock.advance(400)
    hub.scheduler.listing_error = None
    await hub.listing.look()
    await hub.listing.tick()
    assert hub.state() is State.QUEUED
    hub.clock.advance(6)
    await hub.listing.look()
    await hub.listing.tick()
    assert hub.manager.get("ada").failure.kind is FailureKind.SPAWN_TIMEOUT


async def test_a_scheduler_that_fails_now_and_then_prolongs_no_wait(hub):
    await hub.queued()
    await hub.listing.look()
    for _ in range(76):
        hub.clock.advance(4)
        hub.scheduler.listing_error = OUTAGE if hub.scheduler.listing_error is None else None
        await hub.listing.look()
        await hub.listing.tick()
    assert hub.manager.get("ada").failure.kind is FailureKind.SPAWN_TIMEOUT


async def test_a_submission_under_way_times_out_whoever_answers(hub):
    hub.scheduler.listing_error = OUTAGE
    hub.scheduler.submit_gate = asyncio.Event()
    await hub.start()
    await hub.listing.look()
    hub.clock.advance(301)
    await hub.listing.tick()
    assert (hub.state(), hub.manager.get("ada").stop_cause) == (State.STOPPING, StopCause.SPAWN_TIMEOUT)


async def test_a_listing_that_hangs_is_soon_asked_again():
    """The rule "never sooner than five times what it took" is for a scheduler that answers."""
    hub = Hub(clock=SystemClock())
    settings = ListingSettings(waiting_s=0.05, quiet_s=3000, load_factor=10_000)
    listing = ListingLoop(hub.supervisor, hub.store, "h0", hub.clock, settings, parse_port)

    async def hang():
        hub.scheduler.listings += 1
        await asyncio.sleep(0.1)
        raise OUTAGE

    hub.scheduler.list_jobs = hang
    running = asyncio.ensure_future(listing.run())
    await until(lambda: hub.scheduler.listings >= 4)
    running.cancel()
    await hub.supervisor.close()


async def test_a_job_that_dies_while_starting_ends_the_wait_with_its_log(hub):
    attempt = await hub.queued()
    hub.scheduler.run_all()
    await hub.listing.look()
    hub.scheduler.change(attempt.job_id, JobPhase.ENDED, "FAILED")
    hub.scheduler.endings[attempt.job_id] = JobEnding("FAILED", 127)
    hub.scheduler.logs["/home/ada/1.log"] = "jupyter: command not found"
    await hub.listing.look()
    await until(lambda: hub.state() is State.FAILED)

    ended = hub.manager.get("ada")
    assert (ended.failure.kind, ended.log_tail) == (FailureKind.DIED, "jupyter: command not found")
    assert "127" in ended.failure.reason


async def test_jupyter_that_is_not_there_yet_is_tried_again_and_an_open_one_is_stopped(hub):
    hub.prover.error = UpstreamError("refused")
    attempt = await hub.queued()
    hub.scheduler.run_all()
    await hub.manager.report(attempt.secrets.report, 4000)
    await until(lambda: hub.manager.get("ada").port)
    await hub.listing.look()
    await until(lambda: len(hub.prover.asked) > 2)
    assert hub.state() is State.STARTING

    hub.prover.error = UpstreamUnsafe("It answers without a token.")
    await until(lambda: hub.scheduler.cancelled)
    assert hub.manager.get("ada").failure.kind is FailureKind.UNSAFE


async def test_a_report_counts_once_and_only_with_its_secret(hub):
    attempt = await hub.queued()

    assert not await hub.manager.report("", 4000)
    assert not await hub.manager.report("wrong", 4000)
    assert not await hub.manager.report(attempt.secrets.report, 99999)
    assert await hub.manager.report(attempt.secrets.report, 4000)
    await until(lambda: hub.manager.get("ada").port == 4000)
    assert not await hub.manager.report(attempt.secrets.report, 4001)


async def test_a_notice_that_the_job_runs_asks_for_one_listing(hub):
    attempt = await hub.queued()
    wanted = hub.supervisor.list_now
    wanted.clear()

    assert await hub.manager.report(attempt.secrets.report, None)
    assert wanted.is_set()

    wanted.clear()
    assert await hub.manager.report(attempt.secrets.report, None)
    assert not wanted.is_set()
    assert not await hub.manager.report("wrong", None)
    assert hub.manager.get("ada").port is None


async def test_the_port_comes_by_the_comment_too(hub):
    attempt = await hub.queued()
    hub.scheduler.change(
        attempt.job_id, JobPhase.RUNNING, "RUNNING", node="n2", comment=f"{attempt.tag} 4321"
    )
    await hub.listing.look()
    await until(lambda: hub.state() is State.READY)

    assert hub.manager.route("ada").endpoint.port == 4321


@pytest.mark.parametrize("stage", ["submitting", "queued", "starting", "ready", "stopping"])
async def test_a_new_hub_adopts_what_the_old_one_left(stage):
    old = Hub()
    if stage == "submitting":
        old.scheduler.submit_gate = asyncio.Event()
        attempt = await old.start()
        await until(lambda: old.scheduler.submitted)
    else:
        attempt = await (old.ready() if stage in ("ready", "stopping") else old.queued())
    if stage == "starting":
        old.scheduler.run_all()
        await old.listing.look()
    if stage == "stopping":
        old.scheduler.cancel_error = OUTAGE
        await old.manager.stop("ada", StopCause.USER, by="ada")
    await old.supervisor.close()
    if stage == "submitting":
        old.scheduler.add_job("ada", attempt.tag)  # sbatch outlived the hub
    old.scheduler.cancel_error = None

    old.clock.advance(20)
    new = Hub(old.store, old.scheduler, old.clock)
    await new.manager.adopt_all()
    await new.listing.look()
    expected = {
        "submitting": State.QUEUED,
        "queued": State.QUEUED,
        "starting": State.STARTING,
        "ready": State.READY,
    }
    if stage == "stopping":
        await until(lambda: new.scheduler.cancelled)
        new.clock.advance(0.1)
        await new.listing.look()
        await new.listing.look()
        assert new.state() is State.STOPPED
    else:
        assert (new.state(), new.manager.get("ada").job_id) == (expected[stage], "1")
    assert len(new.scheduler.submitted) == 1
    if stage == "ready":
        assert new.manager.route("ada").secrets == attempt.secrets
    await new.supervisor.close()


async def test_a_hub_that_was_long_gone_gives_up_nothing_that_runs():
    """The deadlines are over, but the job has begun to run, and Jupyter has come up, with no hub there to see it."""
    old = Hub()
    waiting, starting = await old.queued("ada"), await old.queued("bob")
    old.scheduler.change(starting.job_id, JobPhase.RUNNING, "RUNNING", node="n1")
    await old.listing.look()
    await old.supervisor.close()
    for attempt in (waiting, starting):
        comment = f"{attempt.tag} 4321"
        old.scheduler.change(attempt.job_id, JobPhase.RUNNING, "RUNNING", node="n1", comment=comment)
    old.clock.advance(5000)

    new = Hub(old.store, old.scheduler, old.clock)
    await new.manager.adopt_all()
    await new.listing.tick()
    assert (new.state("ada"), new.state("bob")) == (State.QUEUED, State.STARTING)
    await new.listing.look()
    await new.listing.tick()
    await until(lambda: new.state("ada") is new.state("bob") is State.READY)
    assert new.scheduler.cancelled == []
    await new.supervisor.close()


async def test_the_end_of_the_hub_waits_for_sbatchs_answer_and_writes_it_down(monkeypatch):
    monkeypatch.setattr("minihub.servers.supervisor._FINISH_S", 5)
    hub = Hub()
    hub.scheduler.submit_gate = asyncio.Event()
    attempt = await hub.start()
    await until(lambda: hub.scheduler.submitted)
    closing = asyncio.ensure_future(hub.supervisor.close())
    await asyncio.sleep(0)
    hub.scheduler.submit_gate.set()
    await closing

    row = hub.store.rows[attempt.id]
    assert (row.state, row.job_id) == ("queued", "1")
    assert hub.scheduler.cancelled == []


async def test_the_end_of_the_hub_writes_down_what_could_not_be_written_before():
    hub = Hub()
    attempt = await hub.queued()
    hub.store.broken = True
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    assert hub.store.rows[attempt.id].state == "queued"
    hub.store.broken = False
    await hub.supervisor.close()

    assert hub.store.rows[attempt.id].state == "stopping"


async def test_an_unknown_tag_is_never_cancelled(hub):
    """A restored store, or a second hub: nobody's job is touched."""
    hub.scheduler.add_job("ada", "minihub-h0-aaaaaaaaaaaa", JobPhase.RUNNING, "RUNNING")
    for _ in range(3):
        await hub.listing.look()

    assert hub.scheduler.cancelled == []
    assert [job for job, _, _ in hub.manager.health().unknown_jobs] == ["1"]


async def test_a_tag_is_left_alone_while_the_records_cannot_be_read(hub, monkeypatch):
    attempt = await hub.ready()
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    await until(lambda: hub.scheduler.cancelled)
    hub.clock.advance(0.1)
    await hub.listing.look()
    await hub.listing.look()
    assert hub.state() is State.STOPPED
    late = hub.scheduler.add_job("ada", attempt.tag)

    async def broken(_attempt_id):
        raise StoreError(None, "disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(hub.store, "get", broken)
        assert await hub.listing.look()
        assert ("ada", late) not in hub.scheduler.cancelled
    await hub.listing.look()
    assert ("ada", late) in hub.scheduler.cancelled


async def test_jobs_of_another_hub_are_shown_and_left_alone(hub):
    """Or of this one, before its state was emptied and it got another id."""
    foreign = hub.scheduler.add_job("ada", "minihub-0123abcd-aaaaaaaaaaaa", JobPhase.RUNNING, "RUNNING")
    hub.scheduler.add_job("ada", "minihub-0123abcd-short", JobPhase.RUNNING, "RUNNING")
    hub.scheduler.add_job("ada", "minihub-0123abcd-bbbbbbbbbbbb", JobPhase.ENDED, "COMPLETED")
    await hub.listing.look()

    assert hub.scheduler.cancelled == []
    assert [job for job, _, _ in hub.manager.health().unknown_jobs] == [foreign]


async def test_an_older_store_restored_cancels_nothing():
    old = Hub()
    first = await old.ready()
    backup = dict(old.store.rows)
    old.scheduler.endings[first.job_id] = JobEnding("TIMEOUT")
    old.scheduler.jobs.pop(first.job_id)
    await old.listing.look()
    await old.listing.look()
    await until(lambda: not old.manager.get("ada").is_live)
    second = await old.ready()
    await old.supervisor.close()

    old.store.rows = backup
    new = Hub(old.store, old.scheduler, old.clock)
    await new.manager.adopt_all()
    assert new.state() is State.READY
    for _ in range(3):
        await new.listing.look()
        await settled()
    await until(lambda: new.state() is State.FAILED)
    assert new.scheduler.cancelled == []
    assert new.manager.health().unknown_jobs == ((second.job_id, "ada", second.tag),)
    await new.supervisor.close()


async def test_a_store_restored_from_the_time_of_waiting_cancels_nothing():
    """The job has been running for an hour, and told its port to the hub whose records these were."""
    old = Hub()
    waiting = await old.queued()
    await old.supervisor.close()
    old.clock.advance(3600)
    started = old.clock.wall() - 3500
    old.scheduler.change(
        waiting.job_id, JobPhase.RUNNING, "RUNNING", node="n1", started_at=started, ends_at=started + 7200
    )

    new = Hub(old.store, old.scheduler, old.clock)
    await new.manager.adopt_all()
    for _ in range(3):
        await new.listing.look()
        await new.listing.tick()
        new.clock.advance(200)
    assert (new.state(), new.scheduler.cancelled) == (State.STARTING, [])
    await new.supervisor.close()


async def test_a_listing_that_hides_jobs_declares_nobody_gone(hub):
    attempt = await hub.ready()
    hub.scheduler.sees_all_users = False
    job = hub.scheduler.jobs.pop(attempt.job_id)
    for _ in range(5):
        await hub.listing.look()
    assert hub.state() is State.READY

    hub.scheduler.endings[job.id] = JobEnding("TIMEOUT")
    await hub.listing.look()
    assert hub.manager.get("ada").failure.kind is FailureKind.TIME_LIMIT


async def test_nothing_is_started_that_the_hub_could_not_see(hub):
    await hub.ready("bob")
    hub.scheduler.sees_all_users = False
    await hub.listing.look()

    assert "hides users' jobs" in (await hub.manager.form("ada")).problem
    with pytest.raises(SchedulerUnavailable, match="hides users' jobs"):
        await hub.start()
    assert hub.state("bob") is State.READY
    hub.scheduler.sees_all_users = True
    await hub.listing.look()
    await hub.start()


async def test_a_requeued_job_gets_a_new_route(hub):
    attempt = await hub.ready()
    assert hub.manager.route("ada").endpoint.host == "n1"
    hub.scheduler.change(attempt.job_id, JobPhase.WAITING, "PENDING", node=None)
    await hub.listing.look()
    assert hub.manager.route("ada") is None

    hub.clock.advance(5)
    hub.scheduler.run_all(node="n2")
    assert await hub.manager.report(attempt.secrets.report, 5000)
    await until(lambda: hub.manager.get("ada").port == 5000)
    await hub.listing.look()
    await until(lambda: hub.state() is State.READY)
    endpoint = hub.manager.route("ada").endpoint
    assert (endpoint.host, endpoint.port) == ("n2", 5000)


async def test_progress_tells_the_whole_way(hub):
    attempt = await hub.start()
    seen = []

    async def watch():
        seen.extend([event async for event in hub.manager.progress("ada")])

    watcher = asyncio.get_running_loop().create_task(watch())
    await until(lambda: hub.state() is State.QUEUED)
    await asyncio.sleep(0.01)
    hub.scheduler.run_all()
    await hub.listing.look()
    await asyncio.sleep(0.01)
    await hub.manager.report(attempt.secrets.report, 4000)
    await asyncio.wait_for(watcher, 30)

    assert seen[-1].ready
    assert [e.percent for e in seen] == sorted(e.percent for e in seen)
    assert seen[0].attempt.state in (State.SUBMITTING, State.QUEUED)


async def test_the_loops_run_a_server_from_start_to_stop():
    """The loops themselves, with the machine's clock: nothing here calls look() or tick()."""
    hub = Hub(clock=SystemClock())
    loops = [
        asyncio.get_running_loop().create_task(work()) for work in (hub.listing.run, hub.listing.run_clocks)
    ]
    attempt = await hub.start()
    await until(lambda: hub.state() is State.QUEUED)
    hub.scheduler.run_all()
    await hub.manager.report(attempt.secrets.report, 4000)
    await until(lambda: hub.state() is State.READY)
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    assert await hub.manager.wait_final("ada", 30)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await hub.supervisor.close()


async def test_a_server_that_cannot_be_reached_is_looked_at_once_in_a_while(hub):
    await hub.ready()
    hub.supervisor.list_now.clear()
    hub.manager.doubt("ada")
    assert hub.supervisor.list_now.is_set()
    hub.supervisor.list_now.clear()
    hub.clock.advance(9)
    hub.manager.doubt("ada")
    assert not hub.supervisor.list_now.is_set()
    hub.clock.advance(1)
    hub.manager.doubt("ada")
    assert hub.supervisor.list_now.is_set()


async def test_what_one_listing_shows_is_written_down_together(hub):
    """One after the other, the last of sixteen would wait for fifteen commits."""
    users = [f"u{number}" for number in range(16)]
    for user in users:
        await hub.queued(user)
    hub.scheduler.run_all()
    hub.store.together = asyncio.Barrier(len(users))

    async with asyncio.timeout(30):
        await hub.listing.look()
    assert {hub.state(user) for user in users} == {State.STARTING}


async def test_proving_does_not_wait_for_the_disk(hub):
    attempt = await hub.queued()
    hub.scheduler.run_all()
    await hub.listing.look()
    hub.store.together = asyncio.Barrier(2)  # nobody else writes: this one never ends

    answer = asyncio.ensure_future(hub.manager.report(attempt.secrets.report, 4000))
    await until(lambda: hub.prover.asked)
    # The launcher, once it is answered, does not say its port again.
    assert not answer.done()
    answer.cancel()


async def test_listings_do_not_grow_with_servers(hub):
    for user in "abcdefgh":
        await hub.ready(user)
    before = hub.scheduler.listings
    await hub.listing.look()

    assert hub.scheduler.listings == before + 1


async def test_the_secrets_of_an_ended_attempt_are_written_down_no_more(hub):
    attempt = await hub.ready()
    report = attempt.secrets.report
    assert report in hub.store.rows[attempt.id].secrets
    hub.scheduler.endings[attempt.job_id] = JobEnding("COMPLETED", 0)
    hub.scheduler.change(attempt.job_id, JobPhase.ENDED, "COMPLETED")
    await hub.listing.look()
    await until(lambda: hub.state().is_final)

    await until(lambda: report not in hub.store.rows[attempt.id].secrets)
    assert hub.manager.get("ada").secrets == NO_SECRETS
    assert not await hub.manager.report(report, 1)


# ---- stop meets a start that has not come to an attempt yet ----------------------------------------------------------


async def test_a_stop_while_a_start_is_prepared_means_that_nothing_is_started(hub, monkeypatch):
    asked, go_on, prepare = asyncio.Event(), asyncio.Event(), hub.prepare

    async def slow(*args):
        asked.set()
        await go_on.wait()
        return await prepare(*args)

    monkeypatch.setattr(hub.manager, "_prepare", slow)
    start = asyncio.ensure_future(hub.start())
    await asked.wait()
    assert await hub.manager.stop("ada", StopCause.LOGOUT, by="ada") is None
    go_on.set()

    with pytest.raises(Conflict, match="cancelled before"):
        await start
    assert hub.manager.get("ada") is None
    assert (hub.store.rows, hub.scheduler.submitted) == ({}, [])
    # It was meant for that start, and for no later one.
    assert (await hub.start()).state is State.SUBMITTING


async def test_a_stop_while_a_start_is_written_down_stops_it(hub):
    """The disk has the attempt already; the registry does not yet."""
    hub.store.together = asyncio.Barrier(2)
    hub.scheduler.submit_gate = asyncio.Event()
    start = asyncio.ensure_future(hub.start())
    await until(lambda: hub.store.together.n_waiting == 1)
    assert await hub.manager.stop("ada", StopCause.LOGOUT, by="ada") is None
    barrier, hub.store.together = hub.store.together, None
    await barrier.wait()
    attempt = await start

    assert (attempt.state, attempt.stop_cause) == (State.STOPPING, StopCause.LOGOUT)
    hub.scheduler.submit_gate.set()
    await until(lambda: hub.scheduler.cancelled == [("ada", "1")])


# ---- a bug that one server meets is not the others' ------------------------------------------------------------------


@pytest.fixture
def bug(monkeypatch):
    """A bug that strikes whenever something happens to one user's server."""
    users, step = set(), life.step

    def buggy(attempt, *more):
        if attempt.user in users:
            raise ZeroDivisionError(attempt.user)
        return step(attempt, *more)

    monkeypatch.setattr(life, "step", buggy)
    return users


async def test_a_bug_in_one_servers_listing_is_counted_and_passed_over(hub, bug, caplog):
    await hub.ready("ada")
    await hub.queued("bob")
    bug.add("ada")
    before = CRASHES["listing"]
    hub.scheduler.run_all()
    assert await hub.listing.look()

    assert hub.state("bob") is State.STARTING
    assert CRASHES["listing"] == before + 1
    assert any("ada: listing passed over attempt" in record.getMessage() for record in caplog.records)


async def test_a_bug_in_one_servers_clock_is_left_alone_for_a_while(hub, bug):
    await hub.queued("ada")
    await hub.queued("bob")
    assert await hub.listing.look()
    bug.add("ada")
    hub.clock.advance(301)
    before = CRASHES["clocks"]
    for _ in range(3):
        await hub.listing.tick()

    assert hub.state("bob") is State.STOPPING
    assert CRASHES["clocks"] == before + 1
    assert hub.listing._next_due() >= hub.clock.wall()
    bug.clear()
    hub.clock.advance(11)
    await hub.listing.tick()
    assert hub.state("ada") is State.STOPPING


async def test_a_listing_that_a_bug_spoils_is_one_that_failed(hub, monkeypatch, caplog):
    await hub.ready()

    async def buggy():
        raise ZeroDivisionError

    monkeypatch.setattr(hub.scheduler, "list_jobs", buggy)
    before = CRASHES["listing"]
    for _ in range(3):
        assert not await hub.listing.look()

    assert hub.state() is State.READY
    assert hub.manager.health().failing_since is not None
    assert hub.manager.health().problem == "The scheduler's answer could not be read."
    assert CRASHES["listing"] == before + 3
    assert len([r for r in caplog.records if r.exc_info]) == 1


async def test_proving_that_dies_is_begun_anew(hub, monkeypatch):
    attempt = await hub.queued()
    hub.scheduler.run_all()
    verify, deaths = hub.prover.verify, iter([True, False])

    async def buggy(route):
        if next(deaths):
            raise ZeroDivisionError
        await verify(route)

    monkeypatch.setattr(hub.prover, "verify", buggy)
    assert await hub.manager.report(attempt.secrets.report, 4000)
    await hub.listing.look()
    await until(lambda: hub.state() is State.READY)


# ---- the store -------------------------------------------------------------------------------------------------------


async def test_a_start_after_an_end_that_is_not_written_down_writes_it_first(hub):
    first = await hub.ready()
    hub.store.broken = True
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    await until(lambda: not hub.scheduler.jobs)
    await hub.listing.look()
    await hub.listing.look()
    assert hub.state() is State.STOPPED
    assert hub.manager.unsaved == 1
    assert hub.store.rows[first.id].live
    hub.store.broken = False
    second = await hub.start()

    assert not hub.store.rows[first.id].live
    assert hub.store.rows[second.id].live
    assert hub.manager.unsaved == 0


async def test_the_last_states_are_written_down_at_the_end(hub):
    attempt = await hub.ready()
    hub.store.broken = True
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    assert hub.store.rows[attempt.id].state == "ready"
    hub.store.broken = False
    await hub.supervisor.close()

    assert hub.store.rows[attempt.id].state == "stopping"


async def test_a_bug_in_the_store_stops_nobodys_end(hub, monkeypatch):
    await hub.ready()

    async def buggy(_row):
        raise ZeroDivisionError

    monkeypatch.setattr(hub.store, "save", buggy)
    await hub.manager.stop("ada", StopCause.USER, by="ada")
    await until(lambda: not hub.scheduler.jobs)


# ---- a job that is ending --------------------------------------------------------------------------------------------


async def test_a_job_that_takes_long_to_end_is_not_asked_after_all_the_time(hub):
    attempt = await hub.ready()
    hub.supervisor.list_now.clear()
    hub.scheduler.change(attempt.job_id, JobPhase.ENDING, "COMPLETING")
    await hub.listing.look()
    assert hub.supervisor.list_now.is_set()
    hub.supervisor.list_now.clear()
    await hub.listing.look()

    assert not hub.supervisor.list_now.is_set()
    assert hub.state() is State.READY


async def test_an_ending_that_only_accounting_tells_comes_with_the_log(hub):
    attempt = await hub.ready()
    hub.scheduler.sees_all_users = False
    hub.scheduler.jobs.clear()
    hub.scheduler.endings[attempt.job_id] = JobEnding("TIMEOUT")
    hub.scheduler.logs[f"/home/ada/{attempt.job_id}.log"] = "the last words\n"
    await hub.listing.look()

    assert hub.manager.get("ada").failure.kind is FailureKind.TIME_LIMIT
    assert hub.manager.get("ada").log_tail == "the last words\n"
