"""One attempt in words."""

# ruff: noqa: RUF001 - French writes apostrophes so

from __future__ import annotations

from minihub.config import ServersSettings
from minihub.servers import explain
from minihub.servers.model import State
from minihub.servers.service import Progress
from minihub.web.assets import templates_dir
from minihub.web.i18n import Catalogues
from minihub.web.view import Viewer, last_lines
from tests.web.fakes import NOW, make_attempt

CATALOGUES = Catalogues([templates_dir()])


def view(attempt, language="en", progress=None):
    return Viewer(CATALOGUES[language], ServersSettings()).view(attempt, progress)


def test_a_queued_server_says_why_and_how_long():
    seen = view(make_attempt(State.QUEUED))

    assert seen.label == "Waiting in the queue"
    assert seen.reason == "Other jobs with a higher priority are ahead in the queue."
    assert seen.job_state == "PENDING (Priority)"
    assert seen.expected_start == NOW + 60
    assert seen.clock is not None
    assert (seen.clock.label, seen.clock.since, seen.clock.limit) == (
        "Waiting for the job to start",
        NOW - 100,
        "5 min",
    )


def test_a_starting_server_has_the_second_clock_and_no_queue():
    seen = view(make_attempt(State.STARTING, job_reason_words="Because."))

    assert seen.clock is not None
    assert (seen.clock.label, seen.clock.limit) == ("Waiting for Jupyter to answer", "2 min")
    assert (seen.reason, seen.expected_start) == ("", None)


def test_a_progress_event_gives_its_own_words_and_percent():
    seen = view(make_attempt(State.STARTING), progress=Progress(77, "Jupyter is up; connecting to it."))

    assert (seen.message, seen.percent) == ("Jupyter is up; connecting to it.", 77)


def test_a_spawn_timeout_tells_the_reason_in_plain_words_only():
    queued = make_attempt(State.QUEUED)
    seen = view(queued.with_(state=State.FAILED, failure=explain.spawn_timeout(queued, 300)))

    assert seen.ended == "Spawn failed: Timeout"
    assert (
        seen.failure_reason
        == "The job did not start within 5 min. Other jobs with a higher priority are ahead in the queue."
    )
    assert seen.reason == ""
    assert "smaller jobs start sooner" in seen.failure_advice


def test_the_same_in_french():
    queued = make_attempt(State.QUEUED)
    seen = view(queued.with_(state=State.FAILED, failure=explain.spawn_timeout(queued, 300)), "fr")

    assert seen.failure_reason.startswith("La tâche n’a pas démarré en 5 min. D’autres tâches")


def test_an_ended_server_shows_no_time_left():
    assert view(make_attempt(State.STOPPED, ends_at=NOW + 99)).ends_at is None


def test_the_log_is_shown_without_colours_and_control_characters():
    assert last_lines("\x1b[31mred\x1b[0m\x07\nbar\r\nend\n\n", 2) == "bar\nend"
    assert last_lines("a\nb\x1b[1;32mgreen") == "a\nbgreen"


def test_no_secret_is_in_what_the_browser_gets():
    assert "secret-" not in str(view(make_attempt(State.READY)).to_json())


def test_a_job_that_is_suspended_or_ending_says_so():
    seen = view(make_attempt(State.READY, job_state="SUSPENDED"), "fr")

    assert seen.message == seen.hindrance
    assert seen.message.startswith("L’ordonnanceur a suspendu la tâche")
    assert view(make_attempt(State.READY)).hindrance == ""


def test_a_requeued_job_says_that_it_begins_anew_and_why_it_waits():
    seen = view(make_attempt(State.QUEUED, started_at=NOW - 500))

    assert seen.message == (
        "The scheduler put the job back into the queue, so the server will start anew. "
        "Other jobs with a higher priority are ahead in the queue."
    )
