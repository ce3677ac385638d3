"""What the hops of one check share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from minihub.building import Ground
from minihub.clock import Clock
from minihub.config import Settings
from minihub.helper.client import HelperClient
from minihub.schedulers.base import Scheduler
from minihub.schedulers.slurm.proof import Proof
from minihub.schedulers.slurm.runner import CommandRunner
from minihub.tasks import TaskKeeper
from minihub.transports.base import Transport


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked of the check."""

    user: str = ""
    """For whom the test job runs; "" = who runs the command."""
    with_job: bool = True
    password: str | None = field(default=None, repr=False)
    """Of `user`; None: PAM is only asked something it must refuse."""
    url: str = ""
    """The address that users type; "" = hub.public_url."""
    idle_s: float = 5.0
    """How long a silent websocket has to stay open."""


@dataclass(slots=True)
class Bench:
    """Filled as the hops go along; what a hop needs, the hops named in its `needs` have put here."""

    ground: Ground
    wish: Wish
    clock: Clock
    keeper: TaskKeeper
    stack: contextlib.AsyncExitStack
    """Ends what the hops have begun."""
    helper: HelperClient
    transport: Transport | None
    scheduler: Scheduler
    mention: Callable[[str], None]
    """Tells a person what is being waited for."""
    runner: CommandRunner | None = None
    proof: Proof | None = None
    user: str = ""
    """The test user, once it is known to exist."""
    home: str = ""

    @property
    def settings(self) -> Settings:
        """All settings."""
        return self.ground.settings

    @property
    def is_local(self) -> bool:
        """Servers run on this machine, without Slurm."""
        return self.transport is None

    @property
    def service_user(self) -> str:
        """Who runs the listing."""
        return self.settings.slurm.service_user or self.ground.hub_user
