"""Partitions, accounts, QOS and reservations: from what Slurm prints to what one user may ask for. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

from minihub.schedulers.base import Association, GpuType, Limits, Partition
from minihub.schedulers.slurm.answers import verify_answered
from minihub.schedulers.slurm.commands import ACCOUNT_FIELDS, NODE_FIELDS, QOS_FIELDS, USER_FIELDS
from minihub.schedulers.slurm.values import (
    not_understood,
    parse_gres,
    parse_memory_mib,
    parse_time_limit,
    parse_tres,
)
from minihub.transports.base import CommandResult

T = TypeVar("T", int, timedelta)

_OPEN = frozenset({"ALL", "(null)", ""})
_UNUSABLE = ("inval", "future")


@dataclass(frozen=True, slots=True)
class Caps:
    """Upper bounds that one association or QOS sets. None = none."""

    time: timedelta | None = None
    cores: int | None = None
    memory_mib: int | None = None
    gpus: int | None = None

    def within(self, other: Caps) -> Caps:
        """The stricter of both, bound by bound."""
        return Caps(
            _least(self.time, other.time),
            _least(self.cores, other.cores),
            _least(self.memory_mib, other.memory_mib),
            _least(self.gpus, other.gpus),
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """Who may use a reservation."""

    name: str
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What accounting knows of one user."""

    name: str
    is_operator: bool = False
    """Sees all jobs in spite of PrivateData and may cancel others' jobs."""
    associations: tuple[Association, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is the same for all users."""

    partitions: tuple[Partition, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    account_caps: dict[str, tuple[str, Caps]] = field(default_factory=dict)
    """Account -> (its parent, what it limits as a whole)."""
    qos_caps: dict[str, Caps] = field(default_factory=dict)
    uses_accounts: bool = True
    problem: str = ""


def _least(a: T | None, b: T | None) -> T | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


def _caps(wall: str, *tres_lists: str) -> Caps:
    caps = Caps(parse_time_limit(wall) if wall else None)
    for text in tres_lists:
        tres = parse_tres(text)
        gpus = tres.get("gres/gpu")
        caps = caps.within(
            Caps(
                None,
                int(tres["cpu"]) if tres.get("cpu", "").isdecimal() else None,
                parse_memory_mib(tres["mem"]) if "mem" in tres else None,
                int(gpus) if gpus is not None and gpus.isdecimal() else None,
            )
        )
    return caps


def _rows(result: CommandResult, program: str, columns: int) -> list[list[str]]:
    rows = [line.split("|") for line in verify_answered(result, program).split("\n") if line]
    for row in rows:
        if len(row) != columns:
            raise not_understood(f"{program}'s line", "|".join(row))
    return rows


def _records(result: CommandResult, first_key: str) -> list[dict[str, str]]:
    """Parse what scontrol --oneliner prints: "Key=Value Key=Value" lines."""
    records = []
    for line in verify_answered(result, "scontrol").split("\n"):
        if not line.strip() or line.startswith("No "):
            continue
        record = dict(re.findall(r"(?:^| )([A-Za-z/]+)=(\S*)", line))
        if first_key not in record or not line.startswith(first_key):
            raise not_understood("scontrol's line", line)
        records.append(record)
    return records


def parse_partitions(shown: CommandResult, nodes: CommandResult) -> tuple[Partition, ...]:
    """Merge `scontrol show partition` (who may, how long) with `sinfo` (how large, how busy).

    Partitions for root only and hidden ones are left out.

    Raises:
        SchedulerUnavailable, OutputNotUnderstood: One of them failed or cannot be read.
    """
    sizes = _sizes(nodes)
    found = []
    for record in _records(shown, "PartitionName"):
        if "YES" in (record.get("RootOnly"), record.get("Hidden")):
            continue
        size = sizes.get(record["PartitionName"], Partition(record["PartitionName"]))
        cores, memory = record.get("MaxCPUsPerNode", ""), record.get("MaxMemPerNode", "")
        found.append(
            replace(
                size,
                default=record.get("Default") == "YES",
                up=record.get("State") == "UP",
                max_time=parse_time_limit(record.get("MaxTime", "UNLIMITED")),
                max_cores=min(size.max_cores, int(cores)) if cores.isdecimal() else size.max_cores,
                max_memory_mib=min(size.max_memory_mib, int(memory))
                if memory.isdecimal()
                else size.max_memory_mib,
                allow_accounts=_allowed(record.get("AllowAccounts", "")),
                allow_qos=_allowed(record.get("AllowQos", "")),
                allow_groups=_allowed(record.get("AllowGroups", "")),
            )
        )
    return tuple(found)


def _allowed(text: str) -> tuple[str, ...] | None:
    return None if text in _OPEN else tuple(text.split(","))


def _sizes(nodes: CommandResult) -> dict[str, Partition]:
    sizes: dict[str, Partition] = {}
    for name, state, cores, memory, gres, usage, _count in _rows(nodes, "sinfo", NODE_FIELDS.count("|") + 1):
        cpus = usage.split("/")
        if not cores.isdecimal() or not memory.isdecimal() or len(cpus) != 4 or not cpus[1].isdecimal():
            raise not_understood("sinfo's line", f"{name}|{cores}|{memory}|{usage}")
        size = sizes.get(name, Partition(name, idle_cores=0))
        if not state.startswith(_UNUSABLE):
            size = replace(
                size,
                max_cores=max(size.max_cores, int(cores)),
                max_memory_mib=max(size.max_memory_mib, int(memory)),
                gpus=_merge_gpus(size, gres),
                idle_cores=(size.idle_cores or 0) + int(cpus[1]),
            )
        sizes[name] = size
    return sizes


def _merge_gpus(partition: Partition, gres: str) -> tuple[GpuType, ...]:
    most = {gpu.name: gpu.per_node for gpu in partition.gpus}
    here: dict[str, int] = {}
    for name, kind, count in parse_gres(gres):
        if name == "gpu":
            here[kind] = here.get(kind, 0) + count
    for kind, count in here.items():
        most[kind] = max(most.get(kind, 0), count)
    return tuple(GpuType(kind, count, (partition.name,)) for kind, count in sorted(most.items()))


def parse_reservations(result: CommandResult) -> tuple[Reservation, ...]:
    """Parse `scontrol show reservation`.

    Raises:
        SchedulerUnavailable, OutputNotUnderstood: It failed or cannot be read.
    """

    def names(record: dict[str, str], key: str) -> tuple[str, ...]:
        text = record.get(key, "")
        return () if text in ("", "(null)") else tuple(text.split(","))

    return tuple(
        Reservation(r["ReservationName"], names(r, "Users"), names(r, "Accounts"), names(r, "Groups"))
        for r in _records(result, "ReservationName")
    )


def parse_qos(result: CommandResult) -> dict[str, Caps]:
    """Parse `sacctmgr show qos`: what each QOS bounds in one job (group bounds included: more never starts)."""
    rows = _rows(result, "sacctmgr", QOS_FIELDS.count(",") + 1)
    return {name: _caps(wall, *tres_lists) for name, wall, *tres_lists in rows}


def parse_accounts(result: CommandResult, cluster: str) -> dict[str, tuple[str, Caps]]:
    """Parse `sacctmgr show assoc` for the accounts themselves: account -> (parent, bounds)."""
    table = {}
    for row in _rows(result, "sacctmgr", ACCOUNT_FIELDS.count(",") + 1):
        where, account, user, parent, _partition, wall, *tres_lists = row
        if where == cluster and not user:
            table[account] = (parent, _caps(wall, *tres_lists))
    return table


def parse_user(result: CommandResult, user: str, cluster: str) -> UserRecord:
    """Parse `sacctmgr show user withassoc`; no line means that accounting does not know the user."""
    record = UserRecord(user)
    for row in _rows(result, "sacctmgr", USER_FIELDS.count(",") + 1):
        name, default, level, where, account, partition, qos, default_qos, wall, *tres_lists = row
        if name != user:
            continue
        record = replace(record, is_operator=level.lower() in ("operator", "administrator"))
        if where != cluster or not account:
            continue
        caps = _caps(wall, *tres_lists)
        association = Association(
            account=account,
            partition=partition or None,
            qos=tuple(word for word in qos.split(",") if word),
            default_qos=default_qos or None,
            max_time=caps.time,
            max_cores=caps.cores,
            max_memory_mib=caps.memory_mib,
            max_gpus=caps.gpus,
            default=account == default,
        )
        record = replace(record, associations=(*record.associations, association))
    return record


def merge_limits(
    cluster: Cluster, user: UserRecord, *, accounts: re.Pattern[str] | None, read_at: float
) -> Limits:
    """Make one user's limits: associations with the bounds of all accounts above them, reservations that are open.

    `accounts`, if set, is what the site offers; a user's other accounts are left out.
    """
    kept = tuple(
        _bounded(association, cluster)
        for association in user.associations
        if accounts is None or accounts.fullmatch(association.account)
    )
    mine = {association.account for association in kept}
    return Limits(
        partitions=cluster.partitions,
        associations=kept,
        uses_accounts=cluster.uses_accounts,
        reservations=tuple(r.name for r in cluster.reservations if _may_use(r, user.name, mine)),
        qos_max_time={name: caps.time for name, caps in cluster.qos_caps.items() if caps.time is not None},
        read_at=read_at,
        max_time=_longest(cluster.partitions),
        problem=cluster.problem,
    )


def _bounded(association: Association, cluster: Cluster) -> Association:
    caps = Caps(association.max_time, association.max_cores, association.max_memory_mib, association.max_gpus)
    account, seen = association.account, set[str]()
    while account in cluster.account_caps and account not in seen:
        seen.add(account)
        parent, above = cluster.account_caps[account]
        caps, account = caps.within(above), parent
    return replace(
        association,
        max_time=caps.time,
        max_cores=caps.cores,
        max_memory_mib=caps.memory_mib,
        max_gpus=caps.gpus,
    )


def _may_use(reservation: Reservation, user: str, accounts: set[str]) -> bool:
    """Whether to offer it; with groups alone sbatch decides, since only the cluster knows who is in them."""
    if f"-{user}" in reservation.users:
        return False
    if user in reservation.users or accounts & set(reservation.accounts):
        return True
    return bool(reservation.groups)


def _longest(partitions: tuple[Partition, ...]) -> timedelta | None:
    """The longest time that any open partition allows; None = some partition has no limit, or there is none."""
    limits = [p.max_time for p in partitions if p.up]
    longest = [limit for limit in limits if limit is not None]
    return max(longest) if longest and len(longest) == len(limits) else None
