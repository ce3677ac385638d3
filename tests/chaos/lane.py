"""One hub, its people, and one kill after another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yarl import URL

from tests.chaos.judging import judge_records, judge_rest
from tests.chaos.reading import newest, read_jobs, read_rows
from tests.chaos.scenarios import AT_REST, GONE, SCENARIOS, Facts, Scenario, Someone, someone
from tests.chaos.standin import install_jupyter
from tests.cluster.conftest import Cluster
from tests.e2e.kit import Hub, cluster_settings, new_hub, slurm, visitor

HERE = Path(__file__).resolve().parent
PLUGGED = HERE / "plugged.py"
SETTLE_S = 90.0
PATIENCE_S = 90.0
"""With a hub that starts while four others do, on a busy machine."""
END_S = 30.0
"""How long what a killed hub leaves behind may live on."""

KINDS: dict[str, dict[str, Any]] = {
    "push": {},
    "pull": {"hub": {"callback_url": "none"}},
    # Jobs that wait for hours.
    "late": {"slurm": {"extra_args": ["--begin=now+2hours"]}, "servers": {"spawn_timeout_s": 2.5}},
    # Jupyter that never listens.
    "hung": {"servers": {"start_timeout_s": 2.5}},
}
BASE = {
    "auth": {"pam_workers": 1},
    "servers": {"spawn_timeout_s": 60, "start_timeout_s": 60, "cancel_repeat_s": 1},
    "options": {"memory_mb": {"default": 256, "min": 64}},
    "slurm": {"command_timeout_s": 4, "settle_s": 2, "listing_waiting_s": 0.3, "listing_quiet_s": 1},
}


@dataclass(frozen=True)
class Point:
    """Where to kill. In all kinds of plan the phase is before, during or after."""

    name: str = ""
    user: str = "-"
    """The name of somebody, "-" where nobody's name is in it; USER stands for the one whose scenario it is."""
    number: int = 1
    phase: str = "before"
    delay_s: float | None = None
    """Instead of all that: so long after it began."""

    def __str__(self) -> str:
        if self.delay_s is not None:
            return f"{self.delay_s:.3f}s"
        return f"{self.phase}:{self.name}:{self.user}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """The opposite of str()."""
        if ":" not in text:
            return cls(delay_s=float(text.removesuffix("s")))
        phase, name, user, number = text.split(":")
        return cls(name, user, int(number), phase)


@dataclass(frozen=True)
class Case:
    """One kill, and perhaps another while the next hub takes over."""

    kind: str
    scenario: str
    point: Point
    again: Point | None = None
    """A second kill, while the next hub starts and takes over."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.scenario}/{self.point}{f'/{self.again}' if self.again else ''}"

    @classmethod
    def parse(cls, text: str) -> Case:
        """The opposite of str()."""
        kind, scenario, point, *again = text.split("/")
        return cls(kind, scenario, Point.parse(point), Point.parse(again[0]) if again else None)


@dataclass
class Outcome:
    """What came of a case."""

    case: Case
    broken: list[str] = field(default_factory=list)
    kills: int = 0
    missed: int = 0
    """Planned crossings that did not come; the hub was killed at rest instead."""
    took_s: float = 0.0
    ended: str = ""
    """How the servers were at rest, in short."""


class Lane:
    """Runs cases on one hub."""

    def __init__(self, hub: Hub, kind: str, people: list[Someone], seed: int) -> None:
        self.hub = hub
        self.kind = kind
        self.people = people
        self.seed = seed
        """What the others do follows from it and from the case."""

    # ---- one case ---------------------------------------------------------------------------------------------------

    async def run(self, case: Case) -> Outcome:
        """Bring everybody to the beginning, let them act, kill, start again, wait, judge."""
        began = time.monotonic()
        outcome = Outcome(case)
        rng = random.Random(f"{self.seed} {case}")
        fitting = [scenario.name for scenario in SCENARIOS.values() if self.kind in scenario.hubs]
        names = [case.scenario, *(rng.choice(fitting) for _ in self.people[1:])]
        cast = [(one, SCENARIOS[name]) for one, name in zip(self.people, names, strict=True)]
        try:
            await asyncio.gather(*(self._prepare(one, scenario) for one, scenario in cast))
            facts = [Facts(one.name, self._newest_id(one.name)) for one, _ in cast]
            self.plan(case.point)
            await self._act(cast, facts, case.point, outcome)
            outcome.broken += judge_records(read_rows(self.hub), read_jobs(self.hub))
            if case.again is not None:
                await self._die_again(case.again, outcome)
            self.plan(None)
            await asyncio.to_thread(self.hub.start, PATIENCE_S)
            await self._settle()
            outcome.broken += await self._judge(cast, facts, outcome)
        except Exception as error:  # noqa: BLE001 - one case must not end the others
            outcome.broken.append(f"{type(error).__name__}: {str(error)[-1500:]}")
            with contextlib.suppress(Exception):
                await self._mend()
        outcome.took_s = time.monotonic() - began
        return outcome

    async def _prepare(self, one: Someone, scenario: Scenario) -> None:
        await one.log_in()
        await scenario.prepare(one)

    async def _act(self, cast: Any, facts: list[Facts], point: Point, outcome: Outcome) -> None:
        """Let everybody act until the hub is dead; kill it at rest if it is not dead by then."""

        async def one_acts(one: Someone, scenario: Scenario, told: Facts) -> None:
            with contextlib.suppress(*GONE):
                await scenario.act(one, told)

        async with asyncio.TaskGroup() as group:
            acting = [
                group.create_task(one_acts(one, scenario, told))
                for (one, scenario), told in zip(cast, facts, strict=True)
            ]
            if point.delay_s is not None:
                await asyncio.sleep(point.delay_s)
                self.hub.kill()
            await asyncio.wait(acting)
        await self._dead(outcome, missed=point.delay_s is None)

    async def _dead(self, outcome: Outcome, *, missed: bool) -> None:
        assert self.hub.process is not None
        if self.hub.process.poll() is None and not self._says_killed():
            outcome.missed += missed
            self.hub.kill()
        await asyncio.to_thread(self.hub.process.wait)
        outcome.kills += 1
        await self._nothing_left(outcome)

    def _says_killed(self) -> bool:
        file = self.hub.directory / "crossings"
        return file.exists() and '"killed"' in file.read_text()

    async def _nothing_left(self, outcome: Outcome) -> None:
        """The helper and its workers end with their hub."""
        end = time.monotonic() + END_S
        while left := await asyncio.to_thread(self._processes):
            if time.monotonic() > end:
                outcome.broken.append(f"processes live on without their hub: {left}")
                return
            await asyncio.sleep(0.1)

    def _processes(self) -> list[str]:
        found = subprocess.run(
            ["pgrep", "-f", f"serve --config {self.hub.config}"], capture_output=True, text=True, check=False
        )
        return found.stdout.split()

    async def _die_again(self, point: Point, outcome: Outcome) -> None:
        """Kill the next hub too, while it takes over."""
        self.plan(point)
        self.hub.launch()
        assert self.hub.process is not None
        end = time.monotonic() + (point.delay_s if point.delay_s is not None else SETTLE_S)
        while self.hub.process.poll() is None and time.monotonic() < end:
            if point.delay_s is None and self._has_taken_over() and self._at_rest():
                break
            await asyncio.sleep(0.1)
        await self._dead(outcome, missed=point.delay_s is None)

    def _has_taken_over(self) -> bool:
        """It has looked several times, so that nothing of its start is still to come."""
        return (self.hub.directory / "crossings").read_text().count('"slurm.list_jobs"') > 3

    async def _settle(self) -> None:
        end = time.monotonic() + SETTLE_S
        while not self._at_rest() and time.monotonic() < end:
            await asyncio.sleep(0.25)

    def _at_rest(self) -> bool:
        return all(row.state in AT_REST for row in read_rows(self.hub) if row.live)

    async def _judge(self, cast: Any, facts: list[Facts], outcome: Outcome) -> list[str]:
        rows, jobs = read_rows(self.hub), read_jobs(self.hub)
        broken = judge_records(rows, jobs)
        for (one, scenario), told in zip(cast, facts, strict=True):
            said = judge_rest(told, scenario, rows, jobs) + await self._judge_by_browser(one, told)
            broken += [f"{one.name} ({scenario.name}): {sentence}" for sentence in said]
        ends = [(one, newest(rows, one.name)) for one, _ in cast]
        outcome.ended = ", ".join(row.failure or row.state if row else "nothing" for _, row in ends)
        return broken

    async def _judge_by_browser(self, one: Someone, told: Facts) -> list[str]:
        """What only the hub itself can tell."""
        broken = []
        for cookies in told.old_cookies:
            async with visitor(self.hub) as stranger:
                stranger.client.cookie_jar.update_cookies(cookies, URL(self.hub.url))
                status, _ = await stranger.get("/hub/home", allow_redirects=False)
                if status == 200:
                    broken.append("the login that was ended lives again")
        if "logout" not in told.asked or "login" in told.acknowledged:
            status, _ = await one.person.get("/hub/home", allow_redirects=False)
            if status != 200:
                broken.append("the login is lost")
        await one.log_in()
        row = newest(read_rows(self.hub), one.name)
        shown = (await one.person.server()).get("state", "")
        if row is not None and shown != row.state:
            broken.append(f"the hub says {shown}, its store {row.state}")
        if shown == "ready":
            status, _ = await one.person.get(f"/user/{one.name}/api/status", headers={"Accept": "*/*"})
            if status != 200:
                broken.append(f"the server answers {status}")
        return broken

    async def _mend(self) -> None:
        """After a case that broke half-way: a hub without jobs for the next one."""
        if self.hub.process is not None and self.hub.process.poll() is None:
            self.hub.kill()
        self.plan(None)
        if ids := [job.id for job in read_jobs(self.hub) if job.is_live]:
            slurm("scancel", *ids)
        await asyncio.to_thread(self.hub.start, PATIENCE_S)
        await self._settle()

    # ---- what there is ----------------------------------------------------------------------------------------------

    def plan(self, point: Point | None) -> None:
        """Tell the hub where to die; and forget the crossings of before."""
        plan: dict[str, Any] = {"made": time.time_ns()}
        if point is not None and point.delay_s is None:
            user = self.people[0].name if point.user == "USER" else point.user
            plan |= {"name": point.name, "user": user, "number": point.number, "phase": point.phase}
        (self.hub.directory / "crossings").write_text("")
        new = self.hub.directory / "plan.new"
        new.write_text(json.dumps(plan))
        new.chmod(0o644)
        new.rename(self.hub.directory / "plan.json")

    def crossings(self) -> list[Point]:
        """All points at which the hub could have been killed since `plan`, without those of other users."""
        name, others = self.people[0].name, {one.name for one in self.people[1:]}
        lines = [json.loads(line) for line in (self.hub.directory / "crossings").read_text().splitlines()]
        return [
            Point(line["name"], "USER" if line["user"] == name else line["user"], line["number"], phase)
            for line in lines
            if "name" in line and line["user"] not in others
            for phase in line["phases"]
        ]

    async def rehearse(self, scenario: Scenario) -> list[Point]:
        """Act without being killed, to learn what is crossed."""
        one = self.people[0]
        await self._prepare(one, scenario)
        self.plan(None)
        await scenario.act(one, Facts(one.name))
        return self.crossings()

    async def rehearse_again(self, scenario: Scenario) -> list[Point]:
        """The same for the hub that takes over, when the one before was killed a moment after the scenario began."""
        one = self.people[0]
        await self._prepare(one, scenario)
        await self._act(
            [(one, scenario)], [Facts(one.name)], Point(delay_s=0.25), Outcome(Case("", "", Point()))
        )
        self.plan(None)
        await asyncio.to_thread(self.hub.start, PATIENCE_S)
        await self._settle()
        return self.crossings()

    def _newest_id(self, user: str) -> str:
        row = newest(read_rows(self.hub), user)
        return "" if row is None else row.id


@contextlib.asynccontextmanager
async def open_lane(cluster: Cluster, kind: str, users: list[str], seed: int) -> AsyncIterator[Lane]:
    """A hub of this kind, started, with these people logged in."""
    settings = cluster_settings(cluster)
    with new_hub(cluster, settings, None, **BASE) as hub:
        install_jupyter(hub.directory / "jupyter", hung=kind == "hung")
        hub.change(jupyter={"bin_dir": str(hub.directory / "jupyter")})
        hub.change(**KINDS[kind])
        hub.program = (str(PLUGGED),)
        await asyncio.to_thread(hub.start, PATIENCE_S)
        async with contextlib.AsyncExitStack() as stack:
            people = [
                await stack.enter_async_context(someone(hub, user, cluster.passwords[user])) for user in users
            ]
            yield Lane(hub, kind, people, seed)
