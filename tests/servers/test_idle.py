"""When a server counts as idle or too old: tables, and properties over all that can be known of one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minihub.config import parse_settings
from minihub.errors import ConfigError
from minihub.idle_settings import IdleSettings
from minihub.servers.idle import Act, Outages, Seen, Verdict, judge
from minihub.servers.model import StopCause

T = 1_800_000_000.0
HOUR = 3600.0
LIMITS = IdleSettings(after_s=2 * HOUR, warn_s=600)
AGE = IdleSettings(max_age_s=8 * HOUR, warn_s=600)
SEEN = Seen(started_at=T - 60, watched_since=T, used_at=T)
DUE = T + 2 * HOUR
NO_OUTAGES = Outages()
ROUNDED = 1e-5


def act(seen, limits, now):
    return judge(seen, limits, NO_OUTAGES, now).act


# ---- idle -----------------------------------------------------------------------------------------------------------


def test_nothing_happens_where_nothing_is_set():
    assert judge(SEEN, IdleSettings(), NO_OUTAGES, T + 1e9) == Verdict(Act.NOTHING, None)


def test_a_server_is_asked_only_when_its_user_would_be_warned():
    verdict = judge(SEEN, LIMITS, NO_OUTAGES, DUE - 601)
    assert (verdict.act, verdict.look_at) == (Act.NOTHING, DUE - 600)
    assert verdict.clock.stops_at == DUE
    assert not verdict.clock.is_warning
    assert act(SEEN, LIMITS, DUE - 600) is Act.ASK
    assert act(replace(SEEN, spread_s=30), LIMITS, DUE - 571) is Act.NOTHING
    assert act(replace(SEEN, spread_s=30), LIMITS, DUE - 570) is Act.ASK


def test_an_idle_server_is_warned_of_asked_again_and_stopped():
    asked = replace(SEEN, asked_at=DUE - 600)
    verdict = judge(asked, LIMITS, NO_OUTAGES, DUE - 599)
    assert (verdict.act, verdict.idle_warned_at, verdict.clock.is_warning) == (Act.NOTHING, DUE - 599, True)
    assert (verdict.clock.stops_at, verdict.look_at) == (DUE + 1, DUE + 1), "a warning stands for its time"

    warned = replace(asked, idle_warned_at=DUE - 599)
    assert act(warned, LIMITS, DUE + 0.9) is Act.NOTHING
    assert act(warned, LIMITS, DUE + 1) is Act.ASK, "what it said ten minutes ago is no proof"
    verdict = judge(replace(warned, asked_at=DUE + 1), LIMITS, NO_OUTAGES, DUE + 2)
    assert (verdict.act, verdict.clock.cause, verdict.clock.limit_s) == (Act.STOP, StopCause.IDLE, 2 * HOUR)


def test_use_takes_the_warning_back():
    warned = replace(SEEN, asked_at=DUE - 600, idle_warned_at=DUE - 600, used_at=DUE - 10)
    verdict = judge(warned, LIMITS, NO_OUTAGES, DUE)
    assert (verdict.act, verdict.idle_warned_at) == (Act.NOTHING, None)
    assert verdict.clock.stops_at == DUE - 10 + 2 * HOUR


def test_a_server_that_does_not_answer_is_not_idle_for_that():
    silent = replace(SEEN, asked_at=DUE - 600, idle_warned_at=DUE - 600, doubted_at=DUE)
    verdict = judge(silent, LIMITS, NO_OUTAGES, DUE + 5)
    assert (verdict.act, verdict.clock.stops_at) == (Act.NOTHING, DUE + 2 * HOUR)


def test_what_was_before_this_hub_looked_does_not_count():
    old = Seen(started_at=T - 9 * HOUR, watched_since=T, used_at=T - 8 * HOUR)
    assert judge(old, LIMITS, NO_OUTAGES, T).clock.stops_at == DUE


def test_outages_of_the_scheduler_count_for_nobody():
    outages = Outages()
    outages.note(T + HOUR, T + HOUR + 1)
    during = judge(replace(SEEN, asked_at=T + 2.5 * HOUR), LIMITS, outages, T + 3 * HOUR)
    assert (during.act, during.clock.is_warning) == (Act.NOTHING, False)
    assert during.clock.stops_at == DUE + 2 * HOUR, "the silence goes on"
    ripe = replace(SEEN, asked_at=DUE, idle_warned_at=DUE - 600)
    just_now = Outages()
    just_now.note(DUE, DUE)
    assert (judge(ripe, LIMITS, just_now, DUE).act, act(ripe, LIMITS, DUE)) == (Act.NOTHING, Act.STOP)
    outages.note(None, T + 3 * HOUR)
    after = judge(SEEN, LIMITS, outages, T + 3 * HOUR)
    assert (after.act, after.clock.stops_at) == (Act.NOTHING, DUE + 2 * HOUR)
    assert judge(SEEN, LIMITS, outages, DUE + 2 * HOUR - 600).act is Act.ASK


def test_silences_add_up_but_only_within():
    outages = Outages()
    for begin, end in ((0, 10), (20, 30), (40, 50)):
        outages.note(begin, begin + 1)
        outages.note(None, end)
    outages.note(60, 61)
    assert outages.within(0, 100) == 30 + 40
    assert outages.within(25, 45) == 5 + 5
    assert outages.within(70, 100) == 30
    assert outages.within(30, 40) == 0


def test_a_postponed_stop_comes_later_and_is_warned_of_again():
    kept = replace(SEEN, asked_at=DUE - 600, postponed_until=DUE + HOUR, postpones=1)
    verdict = judge(kept, LIMITS, NO_OUTAGES, DUE)
    assert (verdict.act, verdict.clock.stops_at) == (Act.NOTHING, DUE + HOUR)
    assert (verdict.clock.is_warning, verdict.clock.postpones_left) == (False, 2)
    assert act(kept, LIMITS, DUE + HOUR - 600) is Act.ASK
    kept = replace(kept, asked_at=DUE + HOUR - 600)
    assert judge(kept, LIMITS, NO_OUTAGES, DUE + HOUR - 600).clock.is_warning


def test_use_after_a_postponement_counts_from_itself():
    kept = replace(SEEN, postponed_until=DUE + HOUR, used_at=DUE)
    assert judge(kept, LIMITS, NO_OUTAGES, DUE).clock.stops_at == DUE + 2 * HOUR


# ---- age ------------------------------------------------------------------------------------------------------------


def test_age_counts_from_the_start_of_the_job_and_asks_nobody():
    end = SEEN.started_at + 8 * HOUR
    used = replace(SEEN, used_at=end)
    assert judge(used, AGE, NO_OUTAGES, end - 601).look_at == end - 600
    warned = judge(used, AGE, NO_OUTAGES, end - 600)
    assert (warned.act, warned.age_warned_at, warned.clock.stops_at) == (Act.NOTHING, end - 600, end)
    used = replace(used, age_warned_at=end - 600)
    stop = judge(used, AGE, NO_OUTAGES, end)
    assert (stop.act, stop.clock.cause, stop.clock.limit_s) == (Act.STOP, StopCause.AGE, 8 * HOUR)


def test_who_was_too_old_while_the_hub_was_away_is_warned_first():
    old = replace(SEEN, started_at=T - 20 * HOUR)
    verdict = judge(old, AGE, NO_OUTAGES, T)
    assert (verdict.act, verdict.clock.is_warning, verdict.clock.stops_at) == (Act.NOTHING, True, T + 600)


def test_postponing_does_not_make_a_server_younger_unless_it_shall():
    end = SEEN.started_at + 8 * HOUR
    kept = replace(SEEN, postponed_until=end + HOUR, postpones=1, age_warned_at=end - 600)
    assert act(kept, AGE, end) is Act.STOP
    assert judge(kept, AGE, NO_OUTAGES, end).clock.postpones_left == 0
    lenient = AGE.model_copy(update={"postpone_max_age": True})
    verdict = judge(kept, lenient, NO_OUTAGES, end)
    assert (verdict.act, verdict.clock.stops_at, verdict.clock.postpones_left) == (
        Act.NOTHING,
        end + HOUR,
        2,
    )


def test_nobody_is_stopped_for_his_age_while_the_scheduler_is_silent():
    outages = Outages()
    outages.note(T, T)
    end = SEEN.started_at + 8 * HOUR
    assert judge(replace(SEEN, age_warned_at=end - 600), AGE, outages, end).act is Act.NOTHING


def test_of_two_limits_the_nearer_one_is_shown():
    both = LIMITS.model_copy(update={"max_age_s": 3 * HOUR})
    assert judge(SEEN, both, NO_OUTAGES, T).clock.cause is StopCause.IDLE
    assert (
        judge(replace(SEEN, used_at=T + 2 * HOUR), both, NO_OUTAGES, T + 2 * HOUR).clock.cause
        is StopCause.AGE
    )


# ---- properties -----------------------------------------------------------------------------------------------------

MOMENTS = st.floats(T - 10 * HOUR, T + 10 * HOUR)
MAYBE = st.none() | MOMENTS


@st.composite
def limits(draw):
    warn = draw(st.floats(1, HOUR))
    after = draw(st.just(0.0) | st.floats(warn + 1, 9 * HOUR))
    age = draw(st.just(0.0) | st.floats(warn + 1, 9 * HOUR))
    return IdleSettings(
        after_s=after, warn_s=warn, max_age_s=age, postpone_max_age=draw(st.booleans()), max_postpones=2
    )


@st.composite
def outages(draw):
    made = Outages()
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(MOMENTS)
        made.note(begin, begin)
        made.note(None, begin + draw(st.floats(0, HOUR)))
    return made


SEENS = st.builds(
    Seen,
    started_at=MOMENTS,
    watched_since=MOMENTS,
    used_at=MOMENTS,
    asked_at=MAYBE,
    doubted_at=MAYBE,
    postponed_until=MAYBE,
    postpones=st.integers(0, 3),
    idle_warned_at=MAYBE,
    age_warned_at=MAYBE,
    spread_s=st.floats(0, 60),
)


@st.composite
def near_the_end(draw):
    """Servers of which little more has to be true for them to be stopped, or for them not to be."""
    now, limit = T, draw(limits())
    ago = st.floats(-10, 60)
    long_ago = limit.after_s + 60
    return limit, Seen(
        started_at=now - limit.max_age_s - draw(ago),
        watched_since=now - long_ago,
        used_at=now - limit.after_s - draw(ago),
        asked_at=now - draw(ago),
        doubted_at=draw(st.none() | st.just(now - limit.after_s - draw(ago))),
        postponed_until=draw(st.none() | st.just(now - draw(ago))),
        idle_warned_at=draw(st.none() | st.just(now - limit.warn_s - draw(ago))),
        age_warned_at=draw(st.none() | st.just(now - limit.warn_s - draw(ago))),
    )


@given(near_the_end(), st.just(Outages()) | outages())
def test_who_is_stopped_deserves_it(server, outages):
    (limits, seen), now = server, T
    verdict = judge(seen, limits, outages, now)
    if verdict.act is not Act.STOP:
        return
    if verdict.clock.cause is StopCause.IDLE:
        assert limits.after_s > 0
        for since in (seen.used_at, seen.watched_since, seen.doubted_at or 0):
            assert now - since >= limits.after_s - ROUNDED
        assert seen.asked_at is not None
        assert seen.asked_at - seen.used_at >= limits.after_s - ROUNDED, (
            "the answer is not older than the limit"
        )
        assert seen.idle_warned_at is not None
        assert now - seen.idle_warned_at >= limits.warn_s - ROUNDED
        assert now >= (seen.postponed_until or 0)
    else:
        assert now - seen.started_at >= limits.max_age_s - ROUNDED > 0
        assert now - seen.age_warned_at >= limits.warn_s - ROUNDED


@given(SEENS, limits(), outages(), MOMENTS)
def test_what_is_to_come_is_ahead_and_what_is_shown_is_whole(seen, limits, outages, now):
    verdict = judge(seen, limits, outages, now)
    assert verdict.look_at > now
    assert (verdict.clock is None) == (limits.after_s == limits.max_age_s == 0)
    if verdict.clock is not None and verdict.clock.is_warning and verdict.act is Act.NOTHING:
        assert verdict.clock.stops_at >= now


@given(SEENS, limits(), outages(), MOMENTS, st.floats(0, HOUR))
def test_use_never_brings_the_end_nearer(seen, limits, outages, now, more):
    clock = judge(seen, limits, outages, now).clock
    used = judge(replace(seen, used_at=seen.used_at + more), limits, outages, now).clock
    assert clock is None or used.stops_at >= clock.stops_at - 1e-3 or used.cause is StopCause.AGE


@given(limits(), st.lists(st.floats(1, 5 * HOUR), max_size=6), st.floats(0, 60))
def test_left_alone_everybody_comes_to_his_end_in_time(limits, uses, spread):
    """A server that is used for a while and then no more, looked at as the loop does it."""
    assume(limits.after_s)
    limits = limits.model_copy(update={"max_age_s": 0.0})
    seen = Seen(started_at=T, watched_since=T, used_at=T, spread_s=min(spread, limits.warn_s / 4))
    moments = [T + sum(uses[: n + 1]) for n in range(len(uses))]
    now = T
    for _ in range(1000):
        verdict = judge(seen, limits, NO_OUTAGES, now)
        seen = replace(seen, idle_warned_at=verdict.idle_warned_at)
        if verdict.act is Act.STOP:
            break
        if verdict.act is Act.ASK:
            used_at = max([m for m in moments if m <= now], default=T)
            seen = replace(seen, asked_at=now, used_at=used_at)
            now += 0.1
        else:
            now = min(verdict.look_at, now + limits.after_s / 8)
    last = max([m for m in moments if m <= now], default=T)
    assert verdict.act is Act.STOP
    assert limits.after_s <= now - last <= limits.after_s + limits.warn_s + 1


# ---- settings -------------------------------------------------------------------------------------------------------


def test_the_first_rule_that_fits_holds():
    idle = parse_settings(
        {
            "idle": {
                "after_s": 7200,
                "rules": {
                    "gpu": {"partition": "gpu*", "after_s": 1800, "max_postpones": 0},
                    "terms": {"interface": "terminal", "after_s": 0},
                    "class": {"account": "class-*", "max_age_s": 10800},
                },
            }
        }
    ).idle

    def limits(partition=None, account=None, interface="lab"):
        return idle.limits_of(partition=partition, account=account, interface=interface)

    assert (limits().after_s, limits().max_age_s, limits().rules) == (7200, 0, {})
    assert (limits("gpu-a100", "class-1").after_s, limits("gpu-a100").max_postpones) == (1800, 0)
    assert limits(interface="terminal").after_s == 0
    assert (limits(account="class-1").after_s, limits(account="class-1").max_age_s) == (7200, 10800)
    assert idle.shortest_s == 600, "the warning"
    assert parse_settings({}).idle.shortest_s is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"after_s": 600}, "idle: warn_s (600) must be shorter than after_s (600)"),
        ({"max_age_s": 60}, "must be shorter than max_age_s (60)"),
        ({"after_s": 7200, "rules": {"gpu": {"after_s": 300}}}, "rules.gpu: warn_s (600) must be shorter"),
        ({"rules": {"gpu": {"aftr_s": 1}}}, "idle.rules.gpu.aftr_s: unknown key; did you mean after_s?"),
        ({"after_s": -1}, "idle.after_s"),
        ({"warn_s": 0}, "idle.warn_s"),
        ({"max_postpones": -1}, "idle.max_postpones"),
        ({"background_paths": ["git"]}, "'git' does not begin without and end with a slash"),
        ({"background_paths": [""]}, "idle.background_paths"),
    ],
)
def test_settings_that_make_no_sense(raw, words):
    with pytest.raises(ConfigError) as error:
        parse_settings({"idle": raw})
    assert words in str(error.value)


def test_never_is_never():
    assert judge(SEEN, IdleSettings(), NO_OUTAGES, T).look_at == math.inf
