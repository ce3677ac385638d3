"""Records of local jobs, on disk and read again."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from minihub.helper.processes import read_start_time
from minihub.helper.records import JobRecord, Records
from minihub.helper.rules import Refused


def record_of(job_id, **changes):
    own = JobRecord(
        job_id=job_id,
        user="alice",
        uid=os.getuid(),
        gid=0,
        tag="minihub-x-abc",
        pid=os.getpid(),
        start_time=read_start_time(os.getpid()),
        boot_id="this",
        submitted_at=100.5,
        limit_s=60,
    )
    return replace(own, **changes)


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "run", "this")


def test_what_is_saved_is_read_again(records, tmp_path):
    job_id, fd = records.new_id(100.7)
    os.write(fd, b"3\n")
    os.close(fd)
    record = record_of(job_id, cancelled_at=7.5, cancel_cause="cancel")
    records.save(record)
    again = Records(tmp_path / "run", "this")
    assert again.all() == [record]
    assert again.end(record, 500)[1] == "3"


def test_ids_are_never_given_twice(records, tmp_path):
    first, fd = records.new_id(100)
    records.save(record_of(first))
    second, other = Records(tmp_path / "run", "this").new_id(100)
    os.close(fd)
    os.close(other)
    assert first != second


def test_alive_means_this_very_process_in_this_boot(records):
    own = record_of("1-1")
    assert records.is_alive(own)
    assert not records.is_alive(replace(own, start_time=own.start_time + 1))
    assert not records.is_alive(replace(own, boot_id="another"))
    assert not records.is_alive(replace(own, pid=2**22 + 5))


def test_a_zombie_is_dead():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert read_start_time(pid) is None
    os.waitpid(pid, 0)


def test_the_first_wish_for_an_end_counts(records):
    first = records.mark_cancelled(record_of("1-1"), "cancel", 5.0)
    assert records.mark_cancelled(first, "time_limit", 9.0) == first


def test_an_unreadable_record_keeps_nothing_else_from_being_read(records, tmp_path):
    records.save(record_of("1-1"))
    (tmp_path / "run/jobs/1-2.json").write_text("{")
    (tmp_path / "run/jobs/1-3.json").write_text("[]")
    (tmp_path / "run/jobs/1-4.json").write_text("{}")
    (tmp_path / "run/jobs/1-5.exit").write_text("0")
    assert [r.job_id for r in Records(tmp_path / "run", "this").all()] == ["1-1"]
    assert not (tmp_path / "run/jobs/1-5.exit").exists()


@pytest.mark.parametrize("text", ["", "abc", "1" * 70, "\xff", "-1", "3 4"])
def test_a_status_that_is_none(records, text):
    job_id, fd = records.new_id(100)
    os.write(fd, text.encode("latin-1"))
    os.close(fd)
    assert records.end(record_of(job_id), 500)[1] == ""


def test_a_directory_others_can_write_is_refused(tmp_path):
    (tmp_path / "run/jobs").mkdir(parents=True)
    (tmp_path / "run/jobs").chmod(0o777)
    with pytest.raises(Refused):
        Records(tmp_path / "run", "this")


def test_a_link_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/jobs").symlink_to("/etc")
    with pytest.raises(OSError):
        Records(tmp_path / "run", "this")


def test_forgetting_leaves_nothing(records, tmp_path):
    job_id, fd = records.new_id(100)
    os.close(fd)
    records.save(record_of(job_id))
    (tmp_path / "run/users/alice").mkdir()
    (tmp_path / "run/users/alice/abc.sock").touch()
    records.forget(job_id)
    assert records.all() == []
    assert list((tmp_path / "run/jobs").iterdir()) == []
    assert list((tmp_path / "run/users/alice").iterdir()) == []
