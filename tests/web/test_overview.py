"""Everybody's servers as one table."""

from __future__ import annotations

import pytest

from minihub.errors import BadQuery, NotFound
from minihub.servers.model import ServerOptions, State, StopCause
from minihub.web.assets import templates_dir
from minihub.web.i18n import Catalogues
from minihub.web.overview import (
    COLUMNS,
    FILTERS,
    SORTS,
    Entry,
    Wanted,
    choose,
    filter_choices,
    page_of,
    parse_wanted,
    row_of,
    sum_up,
)
from tests.web.fakes import NOW, make_attempt

ENGLISH = Catalogues([templates_dir()])["en"]


def entry(user, state=State.READY, last_activity=None, **changes):
    return Entry(make_attempt(state, user, **changes), last_activity)


def options(**changes):
    return ServerOptions(**{"time_hours": 3, "cores": 2, "memory_mb": 4096, **changes})


def names(entries):
    return [one.attempt.user for one in entries]


ALL = (
    entry("ada", node="node2", job_id="1000", options=options(cores=8, account="def-a", partition="gpu")),
    entry("Bob", State.QUEUED, job_id="9", options=options(memory_mb=512, account="rrg-b")),
    entry("cy", State.STOPPING, node="node1", job_id="200_7", options=options(gpu_count=2, interface="terminal")),
    entry("dan", State.SUBMITTING, created_at=NOW - 5),
)  # fmt: skip


def test_every_column_can_be_sorted():
    assert set(COLUMNS) == set(SORTS)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("user", ["Bob", "ada", "cy", "dan"]),
        ("-user", ["dan", "cy", "ada", "Bob"]),
        ("state", ["dan", "Bob", "ada", "cy"]),
        ("job", ["Bob", "cy", "ada", "dan"]),
        ("-job", ["ada", "cy", "Bob", "dan"]),
        ("node", ["cy", "ada", "Bob", "dan"]),
        ("-node", ["ada", "cy", "Bob", "dan"]),
        ("cores", ["Bob", "cy", "dan", "ada"]),
        ("memory", ["Bob", "ada", "cy", "dan"]),
        ("gpu", ["cy", "Bob", "ada", "dan"]),
        ("elapsed", ["dan", "ada", "Bob", "cy"]),
        ("-elapsed", ["Bob", "cy", "ada", "dan"]),
        ("account", ["ada", "dan", "Bob", "cy"]),
        ("partition", ["ada", "Bob", "cy", "dan"]),
        ("interface", ["Bob", "ada", "dan", "cy"]),
    ],
)
def test_what_has_no_value_comes_last_in_both_directions(sort, expected):
    assert names(choose(ALL, parse_wanted({"sort": sort}))) == expected


def test_the_longest_idle_can_come_first():
    busy, idle = entry("busy", last_activity=NOW - 5), entry("idle", ready_at=NOW - 900)

    assert names(choose([busy, idle, ALL[1]], Wanted(sort="-idle"))) == ["idle", "busy", "Bob"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"user": "b"}, ["Bob"]),
        ({"user": "A"}, ["ada", "dan"]),
        ({"state": "queued"}, ["Bob"]),
        ({"node": "node2"}, ["ada"]),
        ({"account": "rrg-b"}, ["Bob"]),
        ({"partition": "gpu"}, ["ada"]),
        ({"partition": "gpu", "user": "b"}, []),
        ({"node": "node"}, []),
        ({}, ["Bob", "ada", "cy", "dan"]),
    ],
)
def test_filters_must_all_hold(query, expected):
    assert names(choose(ALL, parse_wanted(query))) == expected


@pytest.mark.parametrize(
    "query",
    [{"sort": "colour"}, {"sort": "--user"}, {"state": "stopped"}, {"state": "x"}, {"user": "x" * 129}],
)
def test_a_query_that_makes_no_sense_is_refused(query):
    with pytest.raises(BadQuery):
        parse_wanted(query)


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "9999999", "٣"])
def test_a_page_that_is_none(page):
    with pytest.raises(NotFound):
        parse_wanted({"page": page})


def test_links_carry_the_whole_wish_and_a_change_leads_to_the_first_page():
    wanted = parse_wanted({"user": "a", "node": "n1", "sort": "-idle", "page": "3"})

    assert wanted.query() == {
        "user": "a", "state": "", "node": "n1", "account": "", "partition": "", "sort": "-idle", "page": "3",
    }  # fmt: skip
    assert wanted.query(sort="user") == {
        **dict.fromkeys(FILTERS, ""),
        "user": "a",
        "node": "n1",
        "sort": "user",
    }
    assert wanted.sorted_by("idle") == "idle"
    assert wanted.sorted_by("user") == "user"
    assert Wanted(sort="idle").sorted_by("idle") == "-idle"


def test_a_page_beyond_the_end_is_the_last_one():
    many = [entry(f"u{n:03d}") for n in range(101)]

    rows, shown = page_of(many, Wanted(page=9))

    assert (names(rows), shown.page) == (["u100"], 3)
    assert page_of([], Wanted(page=9))[1].page == 1


def test_filters_offer_what_there_is_and_what_is_chosen():
    choices = filter_choices(ALL, Wanted(node="gone"))

    assert choices == {
        "node": ["gone", "node1", "node2"],
        "account": ["def-a", "def-ada", "rrg-b"],
        "partition": ["gpu"],
    }


def test_only_jobs_that_run_use_something():
    sums = sum_up([*ALL, entry("eve", options=options(gpu_count=2, memory_mb=1024))], ENGLISH)

    assert sums.words == "10 cores · 5 GB · 2 GPUs"
    assert [(name, count) for name, _, _, count in sums.states] == [
        ("submitting", 1), ("queued", 1), ("ready", 2), ("stopping", 1),
    ]  # fmt: skip
    assert sums.total == 5
    assert sum_up([], ENGLISH).words == ""


def test_a_row_says_why_a_job_waits_and_counts_the_waiting():
    row = row_of(ALL[1], ENGLISH)

    assert row.reason == "Other jobs with a higher priority are ahead in the queue."
    assert (row.waits, row.since, row.idle_since, row.memory, row.gpu) == (
        True,
        NOW - 100,
        None,
        "512 MB",
        "",
    )


def test_a_row_says_who_stops_it_in_an_admins_words():
    row = row_of(entry("cy", State.STOPPING, stop_cause=StopCause.USER), ENGLISH)

    assert row.reason == "Stopped by its user."


def test_a_row_says_what_is_in_a_servers_way():
    suspended = row_of(entry("ada", job_state="SUSPENDED"), ENGLISH)
    unreached = row_of(entry("ada", State.STARTING, unreached="No route to node7."), ENGLISH)

    assert suspended.reason.startswith("The scheduler has suspended the job")
    assert unreached.reason == "No route to node7."
    assert row_of(entry("ada", unreached="long past"), ENGLISH).reason == ""


def test_a_job_that_was_put_back_into_the_queue_waits():
    row = row_of(entry("ada", State.QUEUED, started_at=NOW - 90), ENGLISH)

    assert row.waits
    assert row.reason.startswith("The scheduler put the job back into the queue")


@pytest.mark.parametrize(
    ("activity", "of_attempt", "expected"),
    [(None, None, NOW - 30), (NOW - 7, None, NOW - 7), (NOW - 7, NOW - 2, NOW - 2)],
)
def test_idle_since_the_last_sign_of_life(activity, of_attempt, expected):
    assert row_of(entry("ada", last_activity=activity), ENGLISH).idle_since == (
        expected if of_attempt is None else NOW - 7
    )
    assert row_of(Entry(make_attempt(last_activity=of_attempt), activity), ENGLISH).idle_since == expected
