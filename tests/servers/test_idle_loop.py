"""The loop that watches over use, with everything around it scripted and a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio

import pytest

from minihub.clock import SystemClock
from minihub.config import parse_settings
from minihub.errors import Conflict, UpstreamError
from minihub.schedulers.base import JobPhase
from minihub.servers import idle_loop
from minihub.servers.idle_loop import IdleLoop
from minihub.servers.model import State, StopCause
from minihub.servers.records import parse_row
from minihub.servers.usage import Usage
from minihub.tasks import CRASHES
from tests.fakes import OUTAGE, until
from tests.servers.test_manager import Hub

HOUR = 3600.0


class FakeReader:
    """Servers that say what the test has them say."""

    def __init__(self):
        self.says = {}
        self.asked = []
        self.gate = None
        self.at_once = self.most_at_once = 0

    async def read(self, route):
        self.asked.append(route.user)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        said = self.says.get(route.user, Usage(False, None))
        if isinstance(said, Exception):
            raise said
        return said


class Watched:
    """A servers room with its loop; time passes in the loop's own steps."""

    def __init__(self, idle, hub=None):
        self.hub = hub or Hub()
        self.reader = FakeReader()
        self.recorded = []
        self.loop = IdleLoop(
            self.hub.manager,
            self.hub.supervisor,
            self.reader,
            parse_settings({"idle": idle}).idle,
            self.hub.clock,
            self.record,
        )

    async def record(self, attempt, cause):
        self.recorded.append((attempt.user, cause, attempt.state))

    def get(self, user="ada"):
        return self.hub.manager.get(user)

    async def look(self):
        await self.loop.look()
        await until(lambda: not len(self.loop._tasks))

    async def pass_time(self, seconds, **meanwhile):
        """Let the loop look as often as it does."""
        end = self.hub.clock.now + seconds
        while self.hub.clock.now < end:
            self.hub.clock.now = min(end, self.hub.clock.now + self.loop.resolution_s)
            for work in meanwhile.values():
                work()
            await self.look()


@pytest.fixture
async def make():
    made = []

    def make(hub=None, clock=None, **idle):
        made.append(Watched(idle, hub))
        return made[-1]

    yield make
    for watched in made:
        await watched.loop.close()
        await watched.hub.supervisor.close()


async def test_where_nothing_is_set_no_server_is_ever_asked(make):
    watched = make()
    await watched.hub.ready()
    await watched.pass_time(HOUR)
    watched.hub.clock.advance(1000 * HOUR)
    await watched.look()

    assert watched.get().state is State.READY
    assert watched.get().clock is None
    assert watched.reader.asked == []


async def test_use_through_the_door_reaches_the_attempt_but_not_each_time(make):
    watched = make()
    await watched.hub.ready()
    first = watched.get().last_activity
    saves = watched.hub.store.saves
    await watched.pass_time(300, touch=lambda: watched.hub.manager.touch("ada"))
    assert watched.get().last_activity == first + 300
    watched.hub.manager.touch("ada")
    watched.hub.clock.advance(29)
    await watched.look()
    assert watched.get().last_activity == first + 300
    await watched.pass_time(1500, touch=lambda: watched.hub.manager.touch("ada"))
    assert 2 <= watched.hub.store.saves - saves <= 4, "about every ten minutes"
    stored = parse_row(watched.hub.store.rows[watched.get().id])
    assert watched.get().last_activity - stored.last_activity <= 600


async def test_an_idle_server_is_warned_and_stopped_with_its_own_cause(make):
    watched = make(after_s=2 * HOUR)
    attempt = await watched.hub.ready()
    ready_at = watched.hub.clock.now
    await watched.look()
    clock = watched.get().clock
    assert (clock.cause, clock.stops_at, clock.is_warning) == (StopCause.IDLE, ready_at + 2 * HOUR, False)
    assert watched.reader.asked == []

    await watched.pass_time(2 * HOUR - 500)
    assert watched.get().clock.is_warning
    assert watched.reader.asked == ["ada"], "once, for the warning"
    await watched.pass_time(400)
    assert (watched.get().state, watched.recorded) == (State.READY, [])
    await watched.pass_time(250)
    stopped = watched.get()
    assert (stopped.state, stopped.stop_cause, stopped.stop_limit_s) == (
        State.STOPPING,
        StopCause.IDLE,
        2 * HOUR,
    )
    assert watched.reader.asked == ["ada", "ada"], "and once more before the end"
    assert watched.recorded == [("ada", StopCause.IDLE, State.STOPPING)]
    await until(lambda: watched.hub.scheduler.cancelled == [("ada", attempt.job_id)])
    assert parse_row(watched.hub.store.rows[attempt.id]).stop_limit_s == 2 * HOUR


async def test_busy_kernels_terminals_and_apps_keep_their_servers(make):
    watched = make(after_s=2 * HOUR)
    for user in ("busy", "prints", "app", "says", "idle"):
        await watched.hub.ready(user)
    now = watched.hub.clock.wall
    watched.reader.says["busy"] = Usage(True, 0.0)
    prints = []

    def live():
        watched.reader.says["prints"] = Usage(False, now() - 100)
        watched.hub.manager.touch("app")
        watched.hub.manager.note_activity("says", now() + 1e6)
        prints.append(now())

    await watched.pass_time(12 * HOUR, live=live)
    ends = {user: watched.get(user).state for user in ("busy", "prints", "app", "says", "idle")}
    assert ends.pop("idle") is State.STOPPING
    assert set(ends.values()) == {State.READY}
    for user in ends:
        assert now() - watched.get(user).last_activity <= 2 * HOUR
    assert watched.get("says").last_activity <= now(), "nobody is used in the future"
    assert watched.reader.asked.count("busy") <= 7, "asked when its time may be up, not more"
    assert "app" not in watched.reader.asked


async def test_a_server_whose_clock_goes_wrong_is_used_where_it_says_something_new(make):
    watched = make(after_s=2 * HOUR)
    await watched.hub.ready()
    told = [0.0]

    def behind():
        told[0] += 1
        watched.reader.says["ada"] = Usage(False, told[0])

    await watched.pass_time(12 * HOUR, behind=behind)
    assert watched.get().state is State.READY


async def test_what_does_not_answer_is_not_idle_for_that_and_no_other_waits_for_it(make):
    watched = make(after_s=2 * HOUR)
    await watched.hub.ready("mute")
    await watched.hub.ready("idle")
    watched.reader.says["mute"] = UpstreamError(None, "no answer")
    await watched.pass_time(5 * HOUR)
    assert watched.get("mute").state is State.READY
    assert not watched.get("mute").clock.is_warning
    assert watched.get("idle").state is State.STOPPING
    watched.reader.says["mute"] = Usage(False, None)
    await watched.pass_time(3 * HOUR)
    assert watched.get("mute").state is State.STOPPING


async def test_few_are_asked_at_once(make):
    watched = make(after_s=2 * HOUR, warn_s=1)
    for number in range(12):
        await watched.hub.ready(f"u{number}")
    await watched.look()
    watched.reader.gate = asyncio.Event()
    watched.hub.clock.advance(2 * HOUR - 0.5)
    await watched.loop.look()
    await until(lambda: watched.reader.at_once == idle_loop._ASK_AT_ONCE)
    await watched.loop.look()
    watched.reader.gate.set()
    await until(lambda: not len(watched.loop._tasks))
    assert watched.reader.most_at_once == idle_loop._ASK_AT_ONCE
    assert sorted(watched.reader.asked) == sorted(f"u{n}" for n in range(12)), "each once"


async def test_after_a_restart_everybodys_time_begins_anew_and_questions_are_spread(make):
    before = make(after_s=2 * HOUR)
    for number in range(20):
        await before.hub.ready(f"u{number}")
    await before.pass_time(2 * HOUR - 500)
    assert before.get("u0").clock.is_warning
    await before.hub.supervisor.close()

    hub = Hub(before.hub.store, before.hub.scheduler, before.hub.clock)
    hub.clock.advance(HOUR)
    await hub.manager.adopt_all()
    after = make(hub, after_s=2 * HOUR)
    restarted_at = hub.clock.now
    await after.look()
    assert after.get("u0").clock.stops_at == restarted_at + 2 * HOUR
    assert not after.get("u0").clock.is_warning
    moments = []
    after.loop.resolution_s = 1
    hub.clock.advance(2 * HOUR - 601)
    await after.pass_time(61, note=lambda: moments.append(len(after.reader.asked)))
    assert len(after.reader.asked) == 20
    assert len({moment for moment in moments if moment}) > 8, "not all in one second"
    await after.pass_time(530)
    assert {one.state for one in hub.manager.all()} == {State.READY}, "nobody sooner than the setting allows"


async def test_a_postponement_outlives_the_hub(make):
    watched = make(after_s=2 * HOUR, postpone_s=5 * HOUR, max_postpones=1)
    await watched.hub.ready()
    with pytest.raises(Conflict):
        await watched.hub.manager.postpone("nobody", by="nobody")
    await watched.look()
    assert (await watched.hub.manager.postpone("ada", by="ada"))[1] is False, "nothing to put off yet"
    await watched.pass_time(2 * HOUR - 500)
    until_then = watched.get().clock.stops_at + 5 * HOUR
    attempt, is_done = await watched.hub.manager.postpone("ada", by="ada")
    assert is_done
    assert (attempt.clock.stops_at, attempt.clock.is_warning) == (until_then, False), "seen at once"
    assert (await watched.hub.manager.postpone("ada", by="ada"))[1] is False, "twice is once"
    await watched.look()
    assert watched.get().clock.stops_at == until_then

    hub = Hub(watched.hub.store, watched.hub.scheduler, watched.hub.clock)
    await hub.manager.adopt_all()
    after = make(hub, after_s=2 * HOUR, postpone_s=5 * HOUR, max_postpones=1)
    await after.look()
    assert after.get().clock.stops_at == until_then
    assert after.get().clock.postpones_left == 0
    await after.pass_time(5 * HOUR + 120)
    assert after.get().clock.is_warning
    with pytest.raises(Conflict, match="any more"):
        await hub.manager.postpone("ada", by="ada")
    await after.pass_time(900)
    assert after.get().state is State.STOPPING


async def test_too_old_is_stopped_though_it_works(make):
    watched = make(max_age_s=8 * HOUR)
    await watched.hub.ready()
    watched.reader.says["ada"] = Usage(True, None)
    await watched.pass_time(8 * HOUR - 500, touch=lambda: watched.hub.manager.touch("ada"))
    assert (watched.get().clock.cause, watched.get().clock.is_warning) == (StopCause.AGE, True)
    await watched.pass_time(600, touch=lambda: watched.hub.manager.touch("ada"))
    assert (watched.get().state, watched.get().stop_cause) == (State.STOPPING, StopCause.AGE)
    assert watched.recorded == [("ada", StopCause.AGE, State.STOPPING)]
    assert watched.reader.asked == []


async def test_a_silent_scheduler_puts_everything_off(make):
    watched = make(after_s=2 * HOUR, max_age_s=9 * HOUR)
    await watched.hub.ready()
    await watched.look()
    watched.hub.scheduler.listing_error = OUTAGE
    await watched.hub.listing.look()
    await watched.pass_time(20 * HOUR)
    assert watched.get().state is State.READY
    watched.hub.scheduler.listing_error = None
    await watched.hub.listing.look()
    await watched.look()
    assert watched.get().state is State.READY
    assert not watched.get().clock.is_warning
    await watched.pass_time(2 * HOUR + 60)
    assert watched.get().state is State.STOPPING


async def test_a_requeued_job_is_another_server(make):
    watched = make(after_s=2 * HOUR)
    attempt = await watched.hub.ready()
    await watched.pass_time(2 * HOUR - 500)
    assert watched.get().clock.is_warning
    watched.hub.scheduler.change(attempt.job_id, JobPhase.WAITING, "PENDING")
    await watched.hub.listing.look()
    assert (watched.get().state, watched.get().clock) == (State.QUEUED, None)
    await watched.pass_time(1200)
    assert watched.get().state is State.QUEUED, "who waits is not idle"


async def test_rules_make_limits_of_their_own(make):
    watched = make(after_s=0, rules={"labs": {"interface": "lab", "after_s": HOUR}})
    await watched.hub.ready()
    await watched.look()
    assert watched.get().clock.limit_s == HOUR


async def test_for_tools_that_read_the_last_activity_servers_are_asked_though_nothing_is_near(make):
    watched = make(ask_every_s=300)
    await watched.hub.ready("busy")
    await watched.hub.ready("used")
    watched.reader.says["busy"] = Usage(True, None)
    await watched.pass_time(HOUR, touch=lambda: watched.hub.manager.touch("used"))
    assert watched.hub.clock.now - watched.get("busy").last_activity <= 330
    assert 10 <= watched.reader.asked.count("busy") <= 13
    assert "used" not in watched.reader.asked, "what passes through the hub is known"
    assert watched.get("busy").clock is None


async def test_what_a_hub_did_not_see_is_not_idle_for_those_tools(make):
    before = make(ask_every_s=300)
    await before.hub.ready()
    await before.hub.supervisor.close()
    hub = Hub(before.hub.store, before.hub.scheduler, before.hub.clock)
    hub.clock.advance(3 * HOUR)
    await hub.manager.adopt_all()
    after = make(hub, ask_every_s=300)
    await after.loop.look()
    assert after.get().last_activity == hub.clock.now


async def test_one_servers_trouble_is_not_the_others(make, monkeypatch):
    watched = make(after_s=2 * HOUR)
    await watched.hub.ready("bad")
    await watched.hub.ready("good")
    real = watched.loop._seen

    def seen(attempt, watch, used_at):
        if attempt.user == "bad":
            raise ZeroDivisionError
        return real(attempt, watch, used_at)

    monkeypatch.setattr(watched.loop, "_seen", seen)
    before = CRASHES["idle"]
    await watched.pass_time(3 * HOUR)
    assert watched.get("good").state is State.STOPPING
    assert watched.get("bad").state is State.READY
    assert CRASHES["idle"] > before


async def test_it_runs_by_itself_at_the_pace_that_its_limits_need(make):
    watched = make(Hub(clock=SystemClock()), after_s=0.4, warn_s=0.2)
    await watched.hub.ready()
    task = asyncio.get_running_loop().create_task(watched.loop.run())
    try:
        await until(lambda: watched.get().state is State.STOPPING)
    finally:
        task.cancel()
    assert watched.get().stop_cause is StopCause.IDLE
