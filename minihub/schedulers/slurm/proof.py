"""What the service account may see and do, proven by asking Slurm instead of assumed.

PrivateData=jobs makes squeue leave out other users' jobs without a word. An absent job means something only where
that is off, or where the service account is at least an Operator. The configuration can change while the hub runs,
so the proof gets old, and it is renewed at once when a listing lacks a job that it should have (see scheduler).
"""

from __future__ import annotations

import logging
import os
import pwd

from minihub.clock import Clock
from minihub.config import SlurmSettings
from minihub.errors import SchedulerError
from minihub.schedulers.slurm import commands, discovery, parsers
from minihub.schedulers.slurm.runner import CommandRunner

log = logging.getLogger(__name__)


def own_user() -> str:
    """The name of the user as whom this process runs."""
    return pwd.getpwuid(os.geteuid()).pw_name


class Proof:
    """What is known of Slurm's configuration and of the service account's place in it."""

    def __init__(self, settings: SlurmSettings, runner: CommandRunner, clock: Clock) -> None:
        self._settings = settings
        self._runner = runner
        self._clock = clock
        self._read_at: float | None = None
        self._private: frozenset[str] = frozenset()
        self._is_operator = False
        self.cluster_name = ""
        self.uses_accounts = True

    @property
    def sees_all_users(self) -> bool:
        """Whether a listing by the service account shows everybody's jobs; False until proven."""
        return self._read_at is not None and (self._is_operator or "jobs" not in self._private)

    @property
    def hides_accounts(self) -> bool:
        """Whether the service account cannot read other users' associations."""
        return not self._is_operator and bool(self._private & {"users", "accounts"})

    @property
    def is_operator(self) -> bool:
        """Whether the service account may cancel other users' jobs."""
        return self._is_operator

    def forget(self) -> None:
        """Take nothing as proven until it is asked again."""
        self._read_at = None

    async def renew_if_old(self) -> None:
        """Ask again if the last proof is older than `slurm.limits_refresh_s`; as `renew`."""
        age = None if self._read_at is None else self._clock.monotonic() - self._read_at
        if age is None or age >= self._settings.limits_refresh_s:
            await self.renew()

    async def renew(self) -> None:
        """Ask Slurm.

        Raises:
            SchedulerError: No answer. What was proven before is then no longer taken as proven.
        """
        # Until the answer is there the last proof holds: somebody else's listing may come in between.
        try:
            config = parsers.parse_config(await self._runner.ask(commands.build_show_config()))
            cluster_name = config["ClusterName"]
            uses_accounts = config.get("AccountingStorageType", "").endswith("slurmdbd")
            slurm_user = config.get("SlurmUser", "")
            is_operator = await self._ask_operator(slurm_user, cluster_name, uses_accounts=uses_accounts)
        except SchedulerError:
            self._read_at = None
            raise
        private = frozenset(config["PrivateData"].split(",")) - {"none"}
        if "all" in private:  # as slurm.conf may spell it
            private = frozenset({"jobs", "users", "accounts", "usage"})
        self.cluster_name, self.uses_accounts = cluster_name, uses_accounts
        self._private, self._is_operator = private, is_operator
        self._read_at = self._clock.monotonic()
        if not self.sees_all_users:
            log.warning(
                "PrivateData hides other users' jobs from the service account %s: make it an Operator "
                "(sacctmgr modify user %s set adminlevel=Operator)",
                *([self._settings.service_user or own_user()] * 2),
            )

    async def _ask_operator(self, slurm_user: str, cluster_name: str, *, uses_accounts: bool) -> bool:
        """Root and SlurmUser are; others where accounting says so; where it does not answer nobody is."""
        name = self._settings.service_user or own_user()
        if name in ("root", slurm_user.partition("(")[0]):
            return True
        if not uses_accounts:
            return False
        try:
            shown = await self._runner.ask(commands.build_show_user(name))
            return discovery.parse_user(shown, name, cluster_name).is_operator
        except SchedulerError as error:
            log.warning("whether %s is an Operator could not be read: %s", name, error)
            return False
