"""Single values as Slurm prints them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.errors import OutputNotUnderstood
from minihub.schedulers.slurm.values import (
    expand_nodes,
    parse_gres,
    parse_memory_mib,
    parse_time_limit,
    parse_timestamp,
    parse_tres,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", timedelta(minutes=30)),
        ("30:00", timedelta(minutes=30)),
        ("0:45", timedelta(seconds=45)),
        ("8:00:00", timedelta(hours=8)),
        ("1-02", timedelta(days=1, hours=2)),
        ("1-02:30", timedelta(days=1, hours=2, minutes=30)),
        ("1-02:00:00", timedelta(days=1, hours=2)),
        ("00:00:20", timedelta(seconds=20)),
        ("00:01.250", timedelta(seconds=1)),
        ("UNLIMITED", None),
        ("infinite", None),
        ("NOT_SET", None),
    ],
)
def test_time_limit(text, expected):
    assert parse_time_limit(text) == expected


@pytest.mark.parametrize(
    "text", ["", "INVALID", "Partition_Limit", "1:2:3:4", "-1", "1-", "1:", "٣", "1 2", "99999999-00"]
)
def test_time_limit_of_another_kind_raises(text):
    with pytest.raises(OutputNotUnderstood):
        parse_time_limit(text)


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_time_limit_as_slurm_writes_it(days, hours, minutes, seconds):
    """secs2time_str() in Slurm: days only if there are any, then two digits each."""
    text = f"{hours:02}:{minutes:02}:{seconds:02}"
    text = f"{days}-{text}" if days else text
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_time_limit(text) == expected


@given(st.text())
def test_time_limit_never_crashes(text):
    with contextlib.suppress(OutputNotUnderstood):
        parse_time_limit(text)


@given(st.integers(946684800, 4102444800).map(lambda s: datetime.fromtimestamp(s, UTC).replace(tzinfo=None)))
def test_timestamp(moment):
    assert parse_timestamp(moment.isoformat()) == moment.replace(tzinfo=UTC).timestamp()
    assert parse_timestamp(moment.isoformat(), timezone(timedelta(hours=-5))) == (
        moment.replace(tzinfo=UTC).timestamp() + 5 * 3600
    )


def test_timestamp_may_be_missing():
    assert [parse_timestamp(t) for t in ("N/A", "Unknown", "None", "")] == [None] * 4


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00", "2026-11-22", "Tomorr 12:00", "23:10"])
def test_timestamp_of_another_kind_raises(text):
    with pytest.raises(OutputNotUnderstood):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500M", 500),
        ("16G", 16384),
        ("1.5G", 1536),
        ("2T", 2 * 1024**2),
        ("16000", 16000),
        ("300K", 1),
        ("12340K", 13),
        ("0", 0),
        ("4000Mc", 4000),
        ("4Gn", 4096),
        ("", None),
        ("UNLIMITED", None),
    ],
)
def test_memory(text, expected):
    assert parse_memory_mib(text) == expected


@pytest.mark.parametrize("text", ["much", "-1G", "1X", "1.G", "٣G"])
def test_memory_of_another_kind_raises(text):
    with pytest.raises(OutputNotUnderstood):
        parse_memory_mib(text)


def test_tres():
    assert parse_tres("cpu=8,mem=16000M,gres/gpu:v100=2") == {
        "cpu": "8",
        "mem": "16000M",
        "gres/gpu:v100": "2",
    }
    assert parse_tres("") == parse_tres("(null)") == {}
    with pytest.raises(OutputNotUnderstood):
        parse_tres("cpu")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu:v100:2", (("gpu", "v100", 2),)),
        ("gpu:v100:2(S:0,1),gpu:a100:4(IDX:0-3)", (("gpu", "v100", 2), ("gpu", "a100", 4))),
        ("gpu:4", (("gpu", "", 4),)),
        ("gpu", (("gpu", "", 1),)),
        ("gpu:a100_3g.20gb:4,shard:8", (("gpu", "a100_3g.20gb", 4), ("shard", "", 8))),
        ("bandwidth:lustre:4K", (("bandwidth", "lustre", 4096),)),
        ("(null)", ()),
        ("", ()),
    ],
)
def test_gres(text, expected):
    assert parse_gres(text) == expected


def test_gres_of_another_kind_raises():
    with pytest.raises(OutputNotUnderstood):
        parse_gres("gpu:a:b:c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node1", ("node1",)),
        ("node[1-3,07],login", ("node1", "node2", "node3", "node07", "login")),
        ("n[008-010]-ib", ("n008-ib", "n009-ib", "n010-ib")),
        ("", ()),
        ("(null)", ()),
        ("None assigned", ()),
    ],
)
def test_nodes(text, expected):
    assert expand_nodes(text) == expected


@pytest.mark.parametrize(
    "text", ["node[1-", "node[3-1]", "node]1", "a,,b", "n[1-999999]", "n[x]", "n[1-2-3]"]
)
def test_nodes_of_another_kind_raise(text):
    with pytest.raises(OutputNotUnderstood):
        expand_nodes(text)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20, unique=True))
def test_nodes_of_a_list(numbers):
    text = f"node[{','.join(str(n) for n in numbers)}]"
    assert expand_nodes(text) == tuple(f"node{n}" for n in numbers)
