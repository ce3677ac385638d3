"""Whole answers: all of it or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.errors import OutputNotUnderstood, SchedulerUnavailable
from minihub.schedulers.base import JobEnding, JobPhase, parse_port
from minihub.schedulers.slurm.parsers import parse_config, parse_listing, parse_sacct, parse_show_job
from tests.schedulers.slurm.replay import failed, ok, read_recorded

RECORDED = "@MARK1234@"
SEP = "<0123456789ab>"
HEADING = f"{SEP}JOBID|USER|STATE|NODELIST|SUBMIT_TIME|START_TIME|END_TIME|PARTITION|ACCOUNT{SEP}REASON{SEP}NAME{SEP}COMMENT{SEP}\n"


def line(job_id="7", reason="None", name="x", comment="(null)", state="RUNNING", separator=SEP):
    fixed = f"{job_id}|alice|{state}|node1|2026-11-22T23:23:28|2026-11-22T23:23:30|2026-11-23T00:23:30|compute|def"
    return f"{separator}{fixed}{separator}{reason}{separator}{name}{separator}{comment}{separator}\n"


def test_a_recorded_listing():
    jobs = {job.id: job for job in parse_listing(read_recorded("squeue_states"), RECORDED)}

    assert len(jobs) == 28
    running = jobs["21"]
    assert (running.user, running.state, running.phase) == ("alice", "RUNNING", JobPhase.RUNNING)
    assert (running.name, running.comment, running.reason) == ("mh-running", "mh-running 40123", "")
    assert (running.node, running.partition, running.account) == ("node1", "compute", "def-prof1")
    assert running.submitted_at == running.started_at == 1795389808.0  # 2026-11-22T23:23:28 UTC
    assert running.ends_at == 1795389808.0 + 2 * 3600
    waiting = jobs["29"]
    assert (waiting.phase, waiting.reason, waiting.node) == (JobPhase.WAITING, "Resources", None)
    assert waiting.started_at is not None
    assert waiting.ends_at is None
    assert jobs["33"].started_at is None
    assert jobs["38"].user == "carol"
    assert jobs["27"].phase is jobs["24"].phase is jobs["23"].phase is JobPhase.ENDED


def test_reasons_come_in_plain_words_and_say_whether_waiting_helps():
    waiting, never, running = parse_listing(
        ok(
            HEADING
            + line("6", "Priority", state="PENDING")
            + line("7", "PartitionTimeLimit", state="PENDING")
            + line("8", "PartitionTimeLimit", state="RUNNING")
        ),
        SEP,
    )

    assert waiting.reason_words == "Other jobs with a higher priority are ahead in the queue."
    assert "more time than the partition allows" in never.reason_words
    assert [job.hopeless for job in (waiting, never, running)] == [False, True, False]
    (none,) = parse_listing(ok(HEADING + line()), SEP)
    assert (none.reason, none.reason_words) == ("", "")


def test_a_recorded_listing_with_a_lost_node():
    jobs = {job.id: job for job in parse_listing(read_recorded("squeue_node_down"), RECORDED)}

    assert (jobs["28"].state, jobs["28"].phase) == ("NODE_FAIL", JobPhase.ENDED)


def test_no_jobs():
    assert parse_listing(ok(HEADING), SEP) == ()
    assert parse_listing(ok("noise of a start-up file\n" + HEADING), SEP) == ()


def test_an_unknown_state_concludes_nothing():
    (job,) = parse_listing(ok(HEADING + line(state="LEVITATING")), SEP)

    assert (job.state, job.phase) == ("LEVITATING", JobPhase.UNKNOWN)


@given(st.text(), st.text(), st.text())
def test_free_text_shifts_nothing(reason, name, comment):
    """Nobody can know the separator of a listing before it is made, so no text holds it."""
    (before, job, after) = parse_listing(
        ok(HEADING + line("6") + line("7", reason, name, comment) + line("8")), SEP
    )

    assert (before.id, job.id, after.id) == ("6", "7", "8")
    assert job.name == name
    assert job.comment == ("" if comment == "(null)" else comment)
    assert (job.user, job.state, job.node) == ("alice", "RUNNING", "node1")


def test_text_that_ends_like_the_separators_beginning():
    (job,) = parse_listing(ok(HEADING + line(name="<0123456789a", comment="<0123456789ab")), SEP)

    assert (job.name, job.comment) == ("<0123456789a", "<0123456789ab")


def test_a_forged_line_is_no_line():
    forged = "x\n" + line("99", separator="<000000000000>").strip("\n")
    (job,) = parse_listing(ok(HEADING + line(name=forged)), SEP)

    assert job.id == "7"
    assert job.name == forged


def test_a_job_listed_twice_spoils_the_listing():
    """As somebody who read the separator from the process list would have it."""
    with pytest.raises(OutputNotUnderstood):
        parse_listing(ok(HEADING + line("7") + line("7", state="COMPLETED")), SEP)


WHOLE = HEADING + line("6") + line("7", comment="tag 40123")


@given(st.integers(0, len(WHOLE) - 1))
def test_a_listing_cut_anywhere_is_whole_lines_or_nothing(length):
    try:
        jobs = parse_listing(ok(WHOLE[:length]), SEP)
    except OutputNotUnderstood:
        return
    # Cut exactly behind a line it cannot be told from a shorter one: there the exit status of the transport speaks.
    assert WHOLE[:length] in (HEADING, HEADING + line("6"))
    assert all(job.comment in ("", "tag 40123") for job in jobs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "noise\n",
        line(),
        HEADING.replace("STATE", "ST"),
        HEADING + "garbage\n",
        HEADING + line() + "slurm_load_jobs error\n",
        HEADING + line(job_id=""),
        HEADING + line(job_id="7_1"),
        HEADING + line().replace("|compute|", "|com|pute|"),
        HEADING + line().replace("2026-11-22T23:23:28", "yesterday"),
    ],
)
def test_garbage_is_no_listing(text):
    with pytest.raises(OutputNotUnderstood):
        parse_listing(ok(text), SEP)


def test_a_failed_squeue_is_no_listing():
    for name in ("squeue_no_slurmctld", "squeue_no_munge", "squeue_no_configuration", "squeue_unknown"):
        with pytest.raises(SchedulerUnavailable):
            parse_listing(read_recorded(name), SEP)
    with pytest.raises(SchedulerUnavailable):
        parse_listing(failed("", 124), SEP)


@pytest.mark.parametrize(
    ("comment", "port"),
    [
        ("minihub-1-2 40123", 40123),
        ("minihub-1-2 65535", 65535),
        ("minihub-1-2 65536", None),
        ("minihub-1-2 0", None),
        ("minihub-1-2 040", None),
        ("minihub-1-2", None),
        ("minihub-1-2 ", None),
        ("minihub-1-2 1 2", None),
        ("minihub-1-2 ٤٢", None),
        ("minihub-1-3 40123", None),
        ("xminihub-1-2 40123", None),
        ("minihub-1-2 40123\n", None),
        ("", None),
    ],
)
def test_port(comment, port):
    assert parse_port(comment, "minihub-1-2") == port


def test_port_of_no_tag():
    assert parse_port(" 40123", "") is None


@pytest.mark.parametrize(
    ("name", "job_id", "user", "expected"),
    [
        ("completed", "23", "alice", JobEnding("COMPLETED", 0, None, 0.0, node="node1")),
        ("failed", "24", "alice", JobEnding("FAILED", 3, None, 0.0, node="node1")),
        ("killed_itself", "25", "alice", JobEnding("FAILED", 0, 9, 0.0, node="node1")),
        ("node_fail", "28", "carol", JobEnding("NODE_FAIL", 0, None, 97.0, node="node1")),
        ("cancelled_pending", "33", "alice", JobEnding("CANCELLED", 0, None, 0.0, "0")),
        ("timeout", "26", "alice", JobEnding("TIMEOUT", 0, None, 83.0, node="node1")),
        (
            "cancelled",
            "27",
            "alice",
            JobEnding("CANCELLED", 0, None, 16.0, "57701", max_memory_mib=4, node="node1"),
        ),
        ("out_of_memory", "1", "alice", JobEnding("OUT_OF_MEMORY", 0, None, 2.0, node="node1")),
        ("pending", "33", "alice", None),
        ("unknown", "99999", "alice", None),
    ],
)
def test_sacct(name, job_id, user, expected):
    assert parse_sacct(read_recorded(f"sacct_{name}"), job_id, user) == expected


def test_sacct_of_another_users_job():
    assert parse_sacct(read_recorded("sacct_failed"), "24", "bob") is None


def test_sacct_that_cannot_be_read():
    with pytest.raises(SchedulerUnavailable):
        parse_sacct(read_recorded("sacct_no_slurmdbd"), "1", "alice")
    for text in ("24|alice|FAILED\n", "24|alice|FAILED|3|00:00:00||node1\n"):
        with pytest.raises(OutputNotUnderstood):
            parse_sacct(ok(text), "24", "alice")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("completed", JobEnding("COMPLETED", 0, None, 0.0, node="node1")),
        ("failed", JobEnding("FAILED", 3, None, 0.0, node="node1")),
        ("cancelled", JobEnding("CANCELLED", 0, 15, 16.0, node="node1")),
        ("out_of_memory", JobEnding("OUT_OF_MEMORY", 0, None, 2.0, node="node1")),
        ("running", None),
        ("pending", None),
        ("unknown", None),
    ],
)
def test_show_job(name, expected):
    assert parse_show_job(read_recorded(f"show_job_{name}"), "alice") == expected


def test_show_job_of_another_user():
    assert parse_show_job(read_recorded("show_job_failed"), "bob") is None
    with pytest.raises(SchedulerUnavailable):
        parse_show_job(failed("Unable to contact slurm controller (connect failure)"), "alice")


def test_config():
    config = parse_config(read_recorded("show_config"))

    assert config["PrivateData"] == "none"
    assert config["AccountingStorageType"] == "accounting_storage/slurmdbd"
    assert config["SlurmUser"].startswith("slurm(")
    with pytest.raises(OutputNotUnderstood):
        parse_config(ok("hello\n"))
