"""Figures of the past, computed from attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minihub.servers import explain
from minihub.servers.model import FailureKind, State
from minihub.web.trends import Life, Span, compute, life_of
from tests.web.fakes import NOW, make_attempt

SPAN = Span(4, 10.0)
END = 1000.0


def life(created, started=None, ready=None, ended=None, failure=None):
    return Life(created, started, ready, ended, failure)


def figures(*lives, now=END):
    return compute(lives, SPAN, now)


def test_each_part_of_a_life_counts_where_it_was():
    found = figures(life(965.0, 975.0, 985.0, 995.0))

    assert found.starts == (960.0, 970.0, 980.0, 990.0)
    assert found.waiting == (1, 1, 0, 0)
    assert found.starting == (0, 1, 1, 0)
    assert found.running == (0, 0, 1, 1)
    assert found.wait_median == (None, 10.0, None, None)


def test_one_that_follows_another_is_no_second_one():
    assert figures(life(960.0, 961.0, 962.0, 975.0), life(960.0, 960.5, 975.0, 995.0)).running == (1, 1, 1, 1)
    assert figures(life(960.0, 961.0, 962.0, 975.1), life(960.0, 960.5, 975.0, 995.0)).running == (1, 2, 1, 1)


def test_what_lives_still_and_what_began_before_the_span_count():
    found = figures(life(10.0, 20.0, 30.0), life(10.0))

    assert found.running == found.waiting == (1, 1, 1, 1)
    assert found.wait_median == (None,) * 4, "their jobs did not start within the span"


def test_the_last_step_is_not_over_yet():
    found = figures(life(991.0, 992.0, 993.0), now=995.0)

    assert found.starts[-1] == 990.0
    assert found.running == (0, 0, 0, 1)


def test_waits_are_ranked():
    lives = [life(960.0, 960.0 + wait, 975.0, 976.0) for wait in range(1, 10)]

    found = figures(*lives)

    assert (found.wait_median[0], found.wait_95[0]) == (5.0, 9.0)


def test_failed_starts_by_cause_the_most_frequent_first():
    timeout, died = FailureKind.SPAWN_TIMEOUT, FailureKind.DIED
    found = figures(
        life(950.0, ended=961.0, failure=died),
        life(950.0, ended=965.0, failure=timeout),
        life(950.0, ended=985.0, failure=timeout),
        life(900.0, ended=910.0, failure=timeout),
    )

    assert list(found.failures.items()) == [(timeout, (1, 0, 1, 0)), (died, (1, 0, 0, 0))]


def test_nothing_is_nothing():
    assert figures().is_empty
    assert figures(life(1.0, 2.0, 3.0, 4.0)).is_empty
    assert not figures(life(961.0, 962.0, 963.0, 964.0)).is_empty


def test_only_a_start_that_failed_is_a_failed_start():
    queued = make_attempt(State.QUEUED)
    failure = explain.spawn_timeout(queued, 300)
    failed = queued.with_(state=State.FAILED, failure=failure, ended_at=NOW)
    later = failed.with_(ready_at=NOW - 5)

    assert life_of(failed) == Life(NOW - 100, None, None, NOW, FailureKind.SPAWN_TIMEOUT)
    assert life_of(later).spawn_failure is None
    assert life_of(make_attempt(State.READY)).ended is None
    assert life_of(failed.with_(ended_at=None)).ended == failed.changed_at


@given(st.lists(st.tuples(st.floats(900, 1010), st.floats(0, 60))))
def test_the_most_at_a_time_is_what_counting_moment_by_moment_finds(pieces):
    lives = [life(a, a, a, a + length) for a, length in pieces]
    found = figures(*lives)
    moments = sorted({960.0, *(a for a, _ in pieces), *(a + length for a, length in pieces)})

    for i, begin in enumerate(found.starts):
        inside = [m for m in [begin, *moments] if begin <= m < begin + SPAN.step_s]
        counted = [sum(a <= m < a + length for a, length in pieces) for m in inside]
        assert found.running[i] == max(counted)
