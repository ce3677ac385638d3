"""What users may ask for, read from Slurm behind the scenes: nobody waits for it but the first asker.

Two caches: the cluster (partitions, reservations, QOS, accounts), shared by all, and one entry per user. An entry
that is older than `slurm.limits_refresh_s` is still given out while it is read again; if that fails it stays, and
says so in `problem`.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from minihub.clock import Clock
from minihub.config import SlurmSettings
from minihub.errors import SchedulerError, SchedulerUnavailable
from minihub.schedulers.base import Limits
from minihub.schedulers.slurm import commands, discovery
from minihub.schedulers.slurm.answers import SILENT
from minihub.schedulers.slurm.discovery import Cluster
from minihub.schedulers.slurm.proof import Proof
from minihub.schedulers.slurm.runner import CommandRunner
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    read_at: float
    """Monotonic seconds."""


class LimitsCache:
    """Answers `Scheduler.limits`."""

    def __init__(
        self, settings: SlurmSettings, runner: CommandRunner, proof: Proof, clock: Clock, tasks: TaskKeeper
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._proof = proof
        self._clock = clock
        self._tasks = tasks
        self._cluster: _Entry[Cluster] | None = None
        self._users: dict[str, _Entry[Limits]] = {}
        self._reading: dict[str, asyncio.Task[SchedulerError | None]] = {}
        patterns = [fnmatch.translate(pattern) for pattern in settings.accounts]
        self._accounts = re.compile("|".join(patterns)) if patterns else None

    def _is_old(self, read_at: float) -> bool:
        return self._clock.monotonic() - read_at >= self._settings.limits_refresh_s

    async def get(self, user: str) -> Limits:
        """Return what `user` may ask for, at once if it was ever read.

        Raises:
            SchedulerUnavailable: Never read yet, and nobody answers now.
        """
        commands.verify_user(user)
        entry = self._users.get(user)
        if entry is not None:
            if self._is_old(entry.read_at):
                self._read_once(f"user {user}", lambda: self._read_user(user))
            return entry.value
        error = await asyncio.shield(self._read_once(f"user {user}", lambda: self._read_user(user)))
        entry = self._users.get(user)
        if entry is None:
            detail = str(error) if error is not None else ""
            raise SchedulerUnavailable(error.user_message if error is not None else SILENT, detail)
        return entry.value

    def refresh_cluster(self) -> None:
        """Read the shared part behind the scenes, so that the first user waits for less."""
        self._read_once("cluster", self._read_cluster)

    def _read_once(
        self, what: str, read: Callable[[], Awaitable[None]]
    ) -> asyncio.Task[SchedulerError | None]:
        """Start reading unless it is under way; whoever waits gets the same answer."""

        async def guarded() -> SchedulerError | None:
            try:
                await read()
            except SchedulerError as error:
                log.warning("limits (%s) could not be read: %s", what, error)
                return error
            finally:
                self._reading.pop(what, None)
            return None

        if what not in self._reading:
            self._reading[what] = self._tasks.start(guarded(), name=f"limits of {what}")
        return self._reading[what]

    async def _read_user(self, user: str) -> None:
        try:
            cluster = await self._fresh_cluster()
            await self._proof.renew_if_old()
            record = discovery.UserRecord(user)
            if cluster.uses_accounts:
                asker = user if self._proof.hides_accounts else None
                shown = await self._runner.ask(commands.build_show_user(user), user=asker)
                record = discovery.parse_user(shown, user, self._proof.cluster_name)
        except SchedulerError as error:
            old = self._users.get(user)
            if old is not None:
                problem = f"These limits may be out of date: {error.user_message}"
                self._users[user] = replace(old, value=replace(old.value, problem=problem))
            raise
        limits = discovery.merge_limits(cluster, record, accounts=self._accounts, read_at=self._clock.wall())
        self._users[user] = _Entry(limits, self._clock.monotonic())

    async def _fresh_cluster(self) -> Cluster:
        if self._cluster is None or self._is_old(self._cluster.read_at):
            error = await asyncio.shield(self._read_once("cluster", self._read_cluster))
            if self._cluster is None:
                raise error or SchedulerUnavailable(SILENT)
            if error is not None:
                problem = f"These limits may be out of date: {error.user_message}"
                return replace(self._cluster.value, problem=problem)
        return self._cluster.value

    async def _read_cluster(self) -> None:
        await self._proof.renew_if_old()
        ask = self._runner.ask
        partitions = discovery.parse_partitions(
            await ask(commands.build_show_partitions()), await ask(commands.build_sinfo())
        )
        reservations = discovery.parse_reservations(await ask(commands.build_show_reservations()))
        cluster = Cluster(partitions, reservations, uses_accounts=self._proof.uses_accounts)
        if cluster.uses_accounts:
            cluster = replace(
                cluster,
                qos_caps=discovery.parse_qos(await ask(commands.build_show_qos())),
                account_caps=discovery.parse_accounts(
                    await ask(commands.build_show_accounts()), self._proof.cluster_name
                ),
            )
        self._cluster = _Entry(cluster, self._clock.monotonic())
