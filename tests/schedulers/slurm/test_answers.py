"""What sbatch and scancel said: is there a job or not?"""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.errors import OutputNotUnderstood, SchedulerUnavailable, SubmitDoubtful, SubmitRejected
from minihub.schedulers.slurm.answers import (
    parse_estimate,
    parse_submitted,
    verify_answered,
    verify_cancelled,
)
from minihub.transports.base import CommandResult
from tests.schedulers.slurm.replay import failed, ok, read_recorded


def test_a_job_id():
    assert parse_submitted(read_recorded("sbatch_ok")) == "1"
    assert parse_submitted(ok("17;cluster\n")) == "17"
    assert parse_submitted(ok("You have new mail.\n17\n")) == "17"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_account", "You may not use this account, or not in this partition."),
        ("foreign_account", "You may not use this account, or not in this partition."),
        ("no_association", "You may not use this account, or not in this partition."),
        ("bad_partition", "There is no such partition."),
        ("bad_qos", "You may not use this QOS with this account."),
        ("bad_reservation", "There is no such reservation, or it is over."),
        ("reservation_not_mine", "You may not use this reservation."),
        ("too_many_cores", "No node has that many cores."),
        ("too_much_memory", "No node has that much memory."),
        ("bad_gpu_type", "No node has all of what you ask for: cores, memory, GPUs together."),
        ("bad_time", "Slurm refused the job: Invalid --time specification"),
        ("no_shebang", "Slurm refused the job: For instance: #!/bin/sh"),
    ],
)
def test_a_recorded_refusal(name, message):
    with pytest.raises(SubmitRejected) as caught:
        parse_submitted(read_recorded(f"sbatch_{name}"))

    assert caught.value.user_message == message


def test_an_unknown_refusal_is_quoted():
    with pytest.raises(SubmitRejected) as caught:
        parse_submitted(failed("sbatch: error: Batch job submission failed: The stars are wrong\n"))

    assert caught.value.user_message == "Slurm refused the job: The stars are wrong"


def _submission_failed(text):
    return failed(f"sbatch: error: Batch job submission failed: {text}\n")


@pytest.mark.parametrize(
    "result",
    [
        read_recorded("sbatch_no_slurmctld"),
        read_recorded("sbatch_no_munge"),
        failed("sbatch: error: Munge encode failed: Failed to access socket\nsbatch: error: authentication: x"),
        failed("sbatch: fatal: Unable to process configuration file"),
        failed("sbatch: error: fetch_config: DNS SRV lookup failed\nsbatch: fatal: Could not establish a configuration source"),
        failed("env: 'sbatch': No such file or directory", 127),
    ],
    ids=lambda result: result.stderr[:40],
)  # fmt: skip
def test_nobody_was_asked(result):
    with pytest.raises(SchedulerUnavailable):
        parse_submitted(result)


@pytest.mark.parametrize(
    "result",
    [
        _submission_failed("Socket timed out on send/recv operation"),
        _submission_failed("Protocol authentication error"),
        _submission_failed("Zero Bytes were transmitted or received"),
        _submission_failed("Unable to contact slurm controller (receive failure)"),
        failed("sbatch: error: Munge decode failed: x\nsbatch: error: Batch job submission failed: y"),
        failed("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying."),
        # The first try may have been heard although the last one was not.
        failed("sbatch: error: Socket timed out on send/recv operation\nsbatch: error: (connect failure)"),
        ok(""),
        ok("Welcome!\n"),
        ok("12 13\n"),
        CommandResult(1, "17\n", "sbatch: error: write failed"),
        failed("", 1),
        failed("sbatch: error: Batch job submission failed: Invalid account", 124),
        failed("", 137),
        failed("bash: line 1: oops", 1),
    ],
    ids=lambda result: f"{result.exit_status} {result.stdout!r} {result.stderr[:40]}",
)
def test_nobody_knows(result):
    with pytest.raises(SubmitDoubtful) as caught:
        parse_submitted(result)

    assert caught.value.settles_after_s > 0


@given(st.integers(0, 255), st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_said_only_an_error_of_sbatch_is_a_refusal(status, stdout, stderr):
    try:
        assert parse_submitted(CommandResult(status, stdout, stderr)).isdecimal()
    except SubmitRejected:
        assert "sbatch: error: " in stderr or "sbatch: fatal: " in stderr or "allocation failure: " in stderr
    except (SchedulerUnavailable, SubmitDoubtful):
        pass


def test_an_estimate():
    estimate = parse_estimate(read_recorded("test_only_ok"))

    assert estimate.starts_at == 1795391601.0  # 2026-11-22T23:53:21 UTC
    assert estimate.message.startswith("Job 2 to start at 2026-11-22T23:53:21 using 1 processors")


def test_an_estimate_in_the_login_nodes_time_zone():
    estimate = parse_estimate(read_recorded("test_only_ok"), timezone(timedelta(hours=-5)))

    assert estimate.starts_at == 1795391601.0 + 5 * 3600


@pytest.mark.parametrize("name", ["bad_account", "bad_partition", "too_many_cores", "bad_time"])
def test_an_estimate_is_refused(name):
    with pytest.raises(SubmitRejected):
        parse_estimate(read_recorded(f"test_only_{name}"))


def test_an_estimate_is_never_doubtful():
    with pytest.raises(SchedulerUnavailable):
        parse_estimate(_submission_failed("Socket timed out on send/recv operation"))
    with pytest.raises(OutputNotUnderstood):
        parse_estimate(ok(stderr="sbatch: soon\n"))


def test_cancelled():
    verify_cancelled(read_recorded("scancel_unknown"))
    verify_cancelled(failed("scancel: error: Kill job error on job id 2: Invalid job id specified"))
    verify_cancelled(
        failed("scancel: error: Kill job error on job id 2: Job/step already completing or completed")
    )
    for name in ("scancel_foreign", "scancel_no_slurmctld"):
        with pytest.raises(SchedulerUnavailable):
            verify_cancelled(read_recorded(name))


def test_an_answer():
    assert verify_answered(ok("x"), "squeue") == "x"
    with pytest.raises(SchedulerUnavailable) as caught:
        verify_answered(read_recorded("squeue_no_slurmctld"), "squeue")
    assert "connect failure" in caught.value.detail
