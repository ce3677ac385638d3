"""Codes in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.schedulers.base import JobPhase
from minihub.schedulers.slurm.reasons import explain_reason, explain_refusal, never_starts, phase_of


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("PENDING", JobPhase.WAITING),
        ("CONFIGURING", JobPhase.WAITING),
        ("RUNNING", JobPhase.RUNNING),
        ("SUSPENDED", JobPhase.RUNNING),
        ("COMPLETING", JobPhase.ENDING),
        ("COMPLETED", JobPhase.ENDED),
        ("CANCELLED+", JobPhase.ENDED),
        ("OUT_OF_MEMORY", JobPhase.ENDED),
        ("NODE_FAIL", JobPhase.ENDED),
        ("BRAND_NEW", JobPhase.UNKNOWN),
        ("", JobPhase.UNKNOWN),
    ],
)
def test_phases(state, phase):
    assert phase_of(state) is phase


@given(st.text())
def test_only_a_known_word_ends_a_job(text):
    known = "COMPLETED CANCELLED FAILED TIMEOUT DEADLINE PREEMPTED NODE_FAIL BOOT_FAIL OUT_OF_MEMORY LAUNCH_FAILED RECONFIG_FAIL REVOKED"
    if phase_of(text) is JobPhase.ENDED:
        assert text.strip().rstrip("+").upper() in known.split()


@pytest.mark.parametrize(
    ("reason", "part", "never"),
    [
        ("Priority", "higher priority", False),
        ("Resources", "next in line", False),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-2]", "not available now", False),
        ("(ReqNodeNotAvail, May be reserved for other job)", "not available now", False),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "down, drained or reserved",
            False,
        ),
        ("PartitionTimeLimit", "more time than the partition", True),
        ("PartitionConfig", "does not have or allow", True),
        ("QOSMaxJobsPerUserLimit", "As many jobs run or wait as the QOS allows", False),
        ("AssocMaxJobsLimit", "As many jobs run or wait as your account allows", False),
        ("AssocGrpCpuLimit", "As many CPU cores as your account allows", False),
        ("AssocGrpCPUMinutesLimit", "The time on CPU cores that your account may use is used up", False),
        ("QOSMaxCpuPerUserLimit", "in use by your jobs", False),
        ("QOSMaxGRESPerUser", "As many GPUs", False),
        ("AssocMaxWallDurationPerJobLimit", "more time than your account allows", True),
        ("QOSMaxWallDurationPerJobLimit", "more time than the QOS allows", True),
        ("AssocMaxCpuPerJobLimit", "more CPU cores than your account allows in one job", True),
        ("AssocGrpMemLimit", "As much memory as your account allows", False),
        ("QOSMinGRES", "less than the QOS demands", True),
        ("BrandNewReason", "Slurm gives the reason BrandNewReason.", False),
    ],
)
def test_reasons(reason, part, never):
    assert part in explain_reason(reason)
    assert never_starts(reason) is never


def test_no_reason():
    assert [explain_reason(text) for text in ("", "(null)", "N/A")] == [""] * 3


@given(st.text())
def test_any_reason_gets_one_line(text):
    assert "\n" not in explain_reason(text)


def test_refusals():
    assert explain_refusal(
        "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch ..."
    ) == ("No node has that much memory.")
    assert explain_refusal("something else") is None
