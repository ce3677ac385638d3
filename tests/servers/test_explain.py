"""Endings in plain words."""

from __future__ import annotations

import pytest

from minihub.schedulers.base import JobEnding
from minihub.servers import explain
from minihub.servers.model import Attempt, FailureKind, Secrets, ServerOptions, State


def make_attempt(state=State.READY, **changes):
    options = ServerOptions(time_hours=1, cores=1, memory_mb=600)
    secrets = Secrets("t", "r")
    made = Attempt("0" * 12, "ada", "minihub-h-000000000000", options, secrets, state, 1000.0, 1000.0)
    return made.with_(job_id="42", **changes)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (JobEnding("OUT_OF_MEMORY", 0, 9, max_memory_mib=599), FailureKind.OUT_OF_MEMORY),
        # Slurm without cgroups, as recorded: the job is killed for its memory, and "failed".
        (JobEnding("FAILED", 0, 9, max_memory_mib=877), FailureKind.OUT_OF_MEMORY),
        (JobEnding("FAILED", 9, max_memory_mib=877), FailureKind.OUT_OF_MEMORY),
        # Killed by somebody; or it needed much and ended for another reason.
        (JobEnding("FAILED", 0, 9, max_memory_mib=141), FailureKind.EXITED),
        (JobEnding("FAILED", 0, 9), FailureKind.EXITED),
        (JobEnding("FAILED", 1, max_memory_mib=877), FailureKind.EXITED),
        (JobEnding("TIMEOUT", 0, 9, max_memory_mib=877), FailureKind.TIME_LIMIT),
    ],
)
def test_what_is_killed_above_its_memory_was_killed_for_it(ending, kind):
    assert explain.ending(make_attempt(), ending).kind is kind


def test_a_signal_is_no_clean_end():
    failure = explain.ending(make_attempt(), JobEnding("FAILED", 0, 11))

    assert failure.reason == "FAILED, signal 11"
    assert explain.ending(make_attempt(), JobEnding("COMPLETED", 0)) is None


def test_an_exit_status_that_is_a_signal_says_so():
    failure = explain.ending(make_attempt(), JobEnding("FAILED", 9, max_memory_mib=141))

    assert failure.reason == "FAILED, exit status 9 (mostly: killed by signal 9), 141 MB used at most"
    assert "mostly" not in explain.ending(make_attempt(), JobEnding("FAILED", 3)).reason


def test_a_failed_node_is_named():
    assert explain.ending(make_attempt(node="n7"), JobEnding("NODE_FAIL")).reason == "NODE_FAIL on n7"


@pytest.mark.parametrize("word", ["SUSPENDED", "STOPPED", "COMPLETING"])
def test_what_hinders_a_job_that_runs(word):
    assert explain.hindrance(make_attempt(job_state=word))
    assert not explain.hindrance(make_attempt(State.STOPPING, job_state=word))
    assert not explain.hindrance(make_attempt(job_state="RUNNING"))


def test_only_what_has_run_was_requeued():
    assert explain.requeued(make_attempt(State.QUEUED, started_at=1.0))
    assert not explain.requeued(make_attempt(State.QUEUED))
    assert not explain.requeued(make_attempt(State.STARTING, started_at=1.0))
