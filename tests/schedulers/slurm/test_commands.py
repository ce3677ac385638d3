"""argv, and the words that may be in it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.errors import ConfigError, OptionsError
from minihub.schedulers.slurm import commands
from tests.schedulers.slurm.replay import make_request


def test_sbatch_with_everything():
    request = make_request(
        account="def-prof1", qos="normal", partition="gpu", reservation="course", gpu_type="v100", gpu_count=2
    )

    assert commands.build_sbatch(request, extra_args=["--constraint=avx2"]) == (
        "sbatch",
        "--parsable",
        "--export=ALL",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=2",
        "--mem=3000M",
        "--time=90",
        "--account=def-prof1",
        "--partition=gpu",
        "--qos=normal",
        "--reservation=course",
        "--gres=gpu:v100:2",
        "--no-requeue",
        "--chdir=/home/alice",
        "--output=/home/alice/.minihub-%j.log",
        "--job-name=minihub-1a2b-0123456789ab",
        "--comment=minihub-1a2b-0123456789ab",
        "--constraint=avx2",
    )


def test_the_estimate_differs_by_one_flag_only():
    plain = commands.build_sbatch(make_request())
    test_only = commands.build_sbatch(make_request(), test_only=True)

    assert [word for word in test_only if word not in plain] == ["--test-only"]
    assert [word for word in test_only if word != "--test-only"] == list(plain)


def test_the_script_is_in_no_argument():
    assert not any("SECRET" in word for word in commands.build_sbatch(make_request()))


def test_a_gpu_without_type():
    assert "--gres=gpu:1" in commands.build_sbatch(make_request(gpu_count=1))
    assert not any("gres" in word for word in commands.build_sbatch(make_request(gpu_type="v100")))


def test_time_is_rounded_up_to_minutes():
    assert "--time=2" in commands.build_sbatch(make_request(time_limit=timedelta(seconds=61)))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"account": "a b"}, "account"),
        ({"account": ""}, "account"),
        ({"account": "--wrap=id"}, "account"),
        ({"qos": "x;id"}, "qos"),
        ({"partition": "a,b"}, "partition"),
        ({"reservation": "r\n"}, "reservation"),
        ({"gpu_count": 1, "gpu_type": "v100:8,gpu:a100"}, "gpu_type"),
        ({"gpu_count": -1}, "gpu_count"),
        ({"cores": 0}, "cores"),
        ({"cores": True}, "cores"),
        ({"cores": 1.5}, "cores"),
        ({"memory_mib": 0}, "memory_mib".replace("mib", "mb")),
        ({"time_limit": timedelta(0)}, "time_hours"),
        ({"home": "home/alice"}, ""),
        ({"log_path": "/home/%u/log"}, ""),
        ({"log_path": "/home/a/\\%j"}, ""),
        ({"log_path": "/home/a\nb"}, ""),
        ({"tag": "a b"}, ""),
    ],
)
def test_a_wrong_word_is_named(change, field):
    with pytest.raises(OptionsError) as caught:
        commands.build_sbatch(make_request(**change))

    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize("arg", ["-N2", "avx2", "--x=a\nb", "--", "--=x"])
def test_extra_args_are_long_options(arg):
    with pytest.raises(ConfigError):
        commands.verify_extra_args(["--ok=1", arg])


@given(st.text())
def test_a_word_that_passes_is_harmless(text):
    try:
        word = commands.verify_word("account", text)
    except OptionsError:
        return
    assert word.isascii()
    assert not set(word) & set(" ,%;|\n\t'\"\\$`<>()[]{}*?&#!~")


def test_squeue():
    assert commands.build_squeue("<0123abcd>") == (
        "env",
        "TZ=UTC",
        "squeue",
        "--all",
        "--local",
        "--states=all",
        "-o",
        "<0123abcd>%A|%u|%T|%N|%V|%S|%e|%P|%a<0123abcd>%r<0123abcd>%j<0123abcd>%k<0123abcd>",
    )


@pytest.mark.parametrize("separator", ["|", "<short>", "@0123abcd@", "<0123%A01>", "<0123abcd><"])
def test_squeue_wants_a_separator_that_shifts_nothing(separator):
    with pytest.raises(OptionsError):
        commands.build_squeue(separator)


@pytest.mark.parametrize("job_id", ["", "0", "-1", "1,2", "1_2", "a", "1 2", "99999999999", "٣"])
def test_job_ids(job_id):
    for build in (
        commands.build_sacct,
        commands.build_show_job,
        lambda j: commands.build_scancel(j, "alice"),
    ):
        with pytest.raises(OptionsError):
            build(job_id)


@pytest.mark.parametrize("user", ["", "-u", "a b", "a,b", "root;", "a\n", "é"])
def test_users(user):
    for build in (commands.build_show_user, lambda u: commands.build_scancel("1", u)):
        with pytest.raises(OptionsError):
            build(user)


def test_scancel_hits_only_the_users_job():
    assert commands.build_scancel("42", "alice") == ("scancel", "--user=alice", "42")


def test_tail():
    assert commands.build_tail("/home/a/-x", 100) == ("tail", "-c", "100", "--", "/home/a/-x")
    for path in ("log", "/a\x00b", ""):
        with pytest.raises(OptionsError):
            commands.build_tail(path, 100)
