"""From what Slurm prints to what one user may ask for."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from minihub.errors import OutputNotUnderstood, SchedulerUnavailable
from minihub.schedulers.base import Association, GpuType
from minihub.schedulers.slurm.discovery import (
    Caps,
    Cluster,
    Reservation,
    merge_limits,
    parse_accounts,
    parse_partitions,
    parse_qos,
    parse_reservations,
    parse_user,
)
from tests.schedulers.slurm.replay import ok, read_recorded

NODES = "compute|idle|8|16000|gpu:v100:2|0/8/0/8|1\n"
SHOWN = "PartitionName=compute AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES Hidden=NO MaxTime=08:00:00 MaxCPUsPerNode=UNLIMITED RootOnly=NO State=UP MaxMemPerNode=UNLIMITED\n"


def test_partitions():
    partitions = {
        p.name: p for p in parse_partitions(read_recorded("show_partition"), read_recorded("sinfo_nodes"))
    }

    assert list(partitions) == ["compute", "gpu", "short"]
    compute = partitions["compute"]
    assert (compute.default, compute.up, compute.max_time) == (True, True, timedelta(hours=8))
    assert (compute.max_cores, compute.max_memory_mib) == (8, 16000)
    assert compute.gpus == (GpuType("a100", 1, ("compute",)), GpuType("v100", 2, ("compute",)))
    assert compute.allow_accounts is compute.allow_qos is compute.allow_groups is None
    assert partitions["short"].max_time == timedelta(minutes=30)


def test_a_partition_that_is_down():
    partitions = parse_partitions(read_recorded("show_partition_down"), read_recorded("sinfo_nodes"))

    assert [(p.name, p.up) for p in partitions] == [("compute", True), ("gpu", False), ("short", True)]


def test_a_node_that_is_down_is_not_idle_but_counts_for_the_size():
    gpu = parse_partitions(read_recorded("show_partition"), read_recorded("sinfo_node_down"))[1]

    assert gpu.idle_cores == 8
    assert [g.name for g in gpu.gpus] == ["a100", "v100"]


def test_what_partitions_forbid():
    shown = SHOWN.replace("AllowAccounts=ALL", "AllowAccounts=def-a,def-b").replace(
        "MaxCPUsPerNode=UNLIMITED", "MaxCPUsPerNode=4"
    )
    shown = shown.replace("MaxMemPerNode=UNLIMITED", "MaxMemPerNode=8000").replace("08:00:00", "UNLIMITED")
    (partition,) = parse_partitions(ok(shown), ok(NODES))

    assert partition.allow_accounts == ("def-a", "def-b")
    assert (partition.max_cores, partition.max_memory_mib, partition.max_time) == (4, 8000, None)


def test_partitions_not_for_users():
    for change in (("Hidden=NO", "Hidden=YES"), ("RootOnly=NO", "RootOnly=YES")):
        assert parse_partitions(ok(SHOWN.replace(*change)), ok(NODES)) == ()


def test_a_partition_without_nodes():
    (partition,) = parse_partitions(ok(SHOWN), ok(""))

    assert (partition.max_cores, partition.gpus, partition.idle_cores) == (0, (), None)


def test_two_gpus_of_one_kind_on_different_sockets_add_up():
    (partition,) = parse_partitions(
        ok(SHOWN), ok(NODES.replace("gpu:v100:2", "gpu:v100:2(S:0),gpu:v100:2(S:1)"))
    )

    assert partition.gpus == (GpuType("v100", 4, ("compute",)),)


@pytest.mark.parametrize(
    ("shown", "nodes"),
    [
        ("garbage\n", NODES),
        (SHOWN, "compute|idle|8\n"),
        (SHOWN, NODES.replace("|8|16000", "|8+|16000")),
        (SHOWN.replace("08:00:00", "INVALID"), NODES),
    ],
)
def test_partitions_that_cannot_be_read(shown, nodes):
    with pytest.raises(OutputNotUnderstood):
        parse_partitions(ok(shown), ok(nodes))


def test_partitions_that_nobody_tells():
    with pytest.raises(SchedulerUnavailable):
        parse_partitions(ok(SHOWN), read_recorded("sinfo_no_slurmctld"))


def test_reservations():
    assert parse_reservations(read_recorded("show_reservation")) == (Reservation("course", ("carol",)),)
    assert parse_reservations(ok("No reservations in the system\n")) == ()


def test_qos():
    qos = parse_qos(read_recorded("show_qos"))

    assert qos["debug"] == Caps(timedelta(minutes=30), 4)
    assert qos["normal"] == Caps()


def test_accounts():
    accounts = parse_accounts(read_recorded("show_accounts"), "record")

    assert accounts["rrg-prof2"] == ("root", Caps(timedelta(hours=4), 8, 16000))
    assert accounts["def-prof1"] == ("root", Caps())
    assert parse_accounts(read_recorded("show_accounts"), "elsewhere") == {}


def test_a_user():
    alice = parse_user(read_recorded("show_user_alice"), "alice", "record")

    assert not alice.is_operator
    assert {a.account: (a.default, a.qos, a.max_time) for a in alice.associations} == {
        "def-prof1": (True, ("normal",), None),
        "rrg-prof2": (False, ("debug", "normal"), timedelta(hours=4)),
    }


def test_users_without_associations_and_operators():
    assert parse_user(read_recorded("show_user_dave"), "dave", "record").associations == ()
    assert parse_user(read_recorded("show_user_minihub"), "minihub", "record").is_operator
    assert parse_user(read_recorded("show_user_root"), "root", "record").is_operator
    assert not parse_user(read_recorded("show_user_minihub"), "alice", "record").is_operator


CLUSTER = Cluster(
    account_caps={
        "rrg": ("physics", Caps(timedelta(hours=9), 16)),
        "physics": ("root", Caps(timedelta(hours=5), 32, 64000, 4)),
        "root": ("", Caps()),
    },
    qos_caps={"debug": Caps(timedelta(minutes=30)), "normal": Caps()},
    reservations=(
        Reservation("mine", ("alice",)),
        Reservation("theirs", ("bob",)),
        Reservation("our-account", (), ("rrg",)),
        Reservation("not-me", ("-alice",), ("rrg",)),
        Reservation("a-group", (), (), ("students",)),
    ),
)
ALICE = parse_user(
    ok(
        "alice|def|None|here|def||normal||||gres/gpu=2|\n"
        "alice|def|None|here|rrg|gpu|normal,debug|debug|1-00:00:00|cpu=8|mem=4G|\n"
        "alice|def|None|there|far||normal|||||\n"
    ),
    "alice",
    "here",
)


def test_a_users_limits():
    limits = merge_limits(CLUSTER, ALICE, accounts=None, read_at=5.0)

    assert limits.associations == (
        Association("def", None, ("normal",), None, None, None, None, 2, default=True),
        Association("rrg", "gpu", ("normal", "debug"), "debug", timedelta(hours=5), 8, 4096, 4),
    )
    assert limits.reservations == ("mine", "our-account", "a-group")
    assert limits.qos_max_time == {"debug": timedelta(minutes=30)}
    assert (limits.read_at, limits.problem) == (5.0, "")


def test_a_users_limits_with_the_sites_choice_of_accounts():
    limits = merge_limits(CLUSTER, ALICE, accounts=re.compile("def.*"), read_at=5.0)

    assert [a.account for a in limits.associations] == ["def"]
    assert limits.reservations == ("mine", "a-group")


def test_accounts_in_a_circle_end():
    circle = Cluster(account_caps={"def": ("rrg", Caps()), "rrg": ("def", Caps(None, 3))})

    assert merge_limits(circle, ALICE, accounts=None, read_at=0).associations[0].max_cores == 3


def test_the_longest_time():
    def longest(shown):
        return merge_limits(
            Cluster(parse_partitions(ok(shown), ok(NODES))), ALICE, accounts=None, read_at=0
        ).max_time

    other = SHOWN.replace("PartitionName=compute", "PartitionName=long")
    assert longest(SHOWN) == timedelta(hours=8)
    assert longest(SHOWN + other.replace("08:00:00", "2-00:00:00")) == timedelta(days=2)
    assert longest(SHOWN + other.replace("08:00:00", "UNLIMITED")) is None
    assert longest(
        SHOWN + other.replace("08:00:00", "9:00:00").replace("State=UP", "State=DOWN")
    ) == timedelta(hours=8)
