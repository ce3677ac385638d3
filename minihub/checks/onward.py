"""Hops from a running test job to Jupyter's first page, in the order in which a start goes through them."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass, field

from minihub.checks import trial as trials
from minihub.checks.bench import Bench
from minihub.checks.model import CheckFailed, Found
from minihub.checks.trial import Trial
from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy.pool import Pool, Pools, make_rules
from minihub.proxy.prober import Prober
from minihub.proxy.question import get
from minihub.servers.jobscript import INTERFACES, default_path, verify_proof
from minihub.servers.model import Route, server_path

log = logging.getLogger(__name__)

PUSH_LATE_S = 3.0
"""A node that reached the hub would have told it by then; afterwards Slurm's comment alone counts."""
REACH_S = 25.0
PROVE_PAUSE_S = 0.5
LOG_LINES = 12
_STARTED_BY = re.compile(r"^minihub: started on \S+ by (.+)$", re.MULTILINE)


@dataclass(slots=True)
class Onward:
    """The way from one test job to its first page."""

    bench: Bench
    trial: Trial | None = None
    pools: Pools | None = None
    pool: Pool | None = field(default=None, repr=False)

    async def job(self) -> Found:
        """A job like that of a user's start is taken and runs."""
        self.trial = await trials.prepare(self.bench)
        return await trials.run(self.bench, self.trial)

    async def node_name(self) -> Found:
        """The hub's machine knows the node's name as Slurm writes it."""
        node = self._node()
        if self.bench.settings.servers.via == "ssh":
            return Found(f"{node} is resolved on the login node (servers.via = 'ssh')")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(node, None)
        except OSError as error:
            raise CheckFailed(
                f"the hub's machine does not know {node}: {error.strerror or error}",
                "Add the nodes to DNS or to /etc/hosts on the hub's machine, or set servers.via = 'ssh'.",
            ) from error
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return Found(f"{node} is {', '.join(addresses)}")

    def _node(self) -> str:
        assert self.trial is not None
        job = self.trial.job
        if job is None or not job.node:
            raise CheckFailed("Slurm named no node for the job", "Look at `scontrol show job` for this job.")
        return job.node

    async def jupyter(self) -> Found:
        """Jupyter is found on the node, comes up and tells its port."""
        trial = self._trial()
        seconds = self.bench.settings.servers.start_timeout_s
        began = self.bench.clock.monotonic()
        while trial.port is None and self.bench.clock.monotonic() - began < seconds:
            if trial.listener.reported.is_set():
                trial.pushed, trial.port = True, trial.listener.port
                break
            await trials.look(self.bench, trial)
            if trial.is_over and trial.port is None:
                break
            await asyncio.sleep(trials.LOOK_S / 2)
        took_s = self.bench.clock.monotonic() - began
        await self._read_log()
        if trial.port is None:
            raise CheckFailed(await self._why_no_jupyter(seconds), _CURE_JUPYTER)
        found = _STARTED_BY.search(trial.log)
        return Found(
            f"started by {found[1] if found else 'an unknown interpreter'}; up {took_s:.1f} s after the job"
        )

    def _trial(self) -> Trial:
        assert self.trial is not None
        return self.trial

    async def _why_no_jupyter(self, seconds: float) -> str:
        trial = self._trial()
        if trial.is_over:
            ending = await self.bench.scheduler.ending(self.bench.user, trial.job_id)
            how = f"the job ended ({ending.state})" if ending else "the job ended"
        else:
            how = f"no report of a port within {seconds:g} s"
        tail = "\n".join(trial.log.rstrip().splitlines()[-LOG_LINES:])
        return f"{how}; the end of its log:\n{tail}" if tail else f"{how}; its log is empty or out of reach"

    async def _read_log(self) -> None:
        trial = self._trial()
        for _ in range(3):
            trial.log = await self.bench.scheduler.log_tail(self.bench.user, trial.log_path)
            if trial.log:
                return
            await asyncio.sleep(trials.LOOK_S)  # a shared file system shows it a moment later

    async def report(self) -> Found:
        """How the hub learns the port: from the node itself, or through Slurm's comment."""
        trial = self._trial()
        listener = trial.listener
        if listener.url is None:
            why = listener.note or "hub.callback_url is 'none', or the hub listens on loopback only"
            return Found(f"by Slurm's comment ({why})")
        if not trial.pushed:
            try:
                async with asyncio.timeout(PUSH_LATE_S):
                    await listener.reported.wait()
                trial.pushed = True
            except TimeoutError:
                return Found(
                    "by Slurm's comment",
                    f"The node did not reach the hub at {listener.url}, so a start takes up to one listing "
                    f"({self.bench.settings.slurm.listing_waiting_s:g} s) longer.\n"
                    "Open that port to the nodes, or set hub.callback_url to what they can reach.",
                )
        note = f" ({listener.note})" if listener.note else ""
        return Found(f"the node reports to {listener.url}{note}")

    async def reach(self) -> Found:
        """The hub reaches the server, and it is the right one, protected."""
        trial, bench = self._trial(), self.bench
        assert trial.job is not None
        endpoint = bench.scheduler.endpoint(trial.job, trial.port)
        if endpoint is None:
            raise CheckFailed("where the server listens is not known", "Look at the hops before.")
        via_ssh = bench.settings.servers.via == "ssh" and endpoint.host is not None
        route = Route(bench.user, trial.tag, endpoint, trial.prepared.secrets, via_ssh)
        rules = make_rules(bench.settings)
        self.pools = Pools(bench.keeper, rules, bench.transport)
        bench.stack.push_async_callback(self.pools.close)
        took_s = await self._prove(route)
        self.pool = self.pools.get(route)
        where = endpoint.path or f"{endpoint.host}:{endpoint.port}"
        kind = "mutual TLS" if route.uses_tls else "a unix socket of the user's" if endpoint.path else "plain"
        through = " through the login node" if via_ssh else ""
        return Found(f"{where}{through}, {kind}: answers, and to nobody without the token ({took_s:.2f} s)")

    async def _prove(self, route: Route) -> float:
        assert self.pools is not None
        prober = Prober(self.pools, base_path=self.bench.settings.hub.base_path, verify_proof=verify_proof)
        began = self.bench.clock.monotonic()
        patience_s = min(REACH_S, self.bench.settings.servers.start_timeout_s)
        while True:
            asked = self.bench.clock.monotonic()
            try:
                await prober.verify(route)
            except UpstreamUnsafe as error:
                raise CheckFailed(
                    f"{error.user_message} {error.detail}",
                    "Something else listens there: a proxy on the way, or the user's own Jupyter configuration.",
                ) from error
            except UpstreamError as error:
                if self.bench.clock.monotonic() - began > patience_s:
                    raise CheckFailed(error.detail or error.user_message, _cure_reach(route)) from error
            else:
                return self.bench.clock.monotonic() - asked
            await asyncio.sleep(PROVE_PAUSE_S)

    async def pages(self) -> Found:
        """Which user interfaces this Jupyter has."""
        assert self.pool is not None
        base = server_path(self.bench.settings.hub.base_path, self.bench.user)
        token = self._trial().prepared.secrets.token
        status, body = await get(self.pool, f"{base}api", timeout_s=REACH_S, token=token)
        version = re.search(rb'"version":\s*"([^"]+)"', body)
        there: list[str] = []
        missing: list[str] = []
        for interface in INTERFACES:
            status, _ = await get(self.pool, base + default_path(interface), timeout_s=REACH_S, token=token)
            (there if status == 200 else missing).append(interface)
        offered = set(self.bench.settings.options.interface.choices or INTERFACES)
        if not there:
            raise CheckFailed(
                "Jupyter shows none of its pages", "Install jupyterlab (or notebook) beside this Jupyter."
            )
        lacking = sorted(offered & set(missing))
        advice = ""
        if lacking:
            advice = (
                f"The form offers {', '.join(lacking)}, which this Jupyter has not (the nearest one is shown): install "
                "them\nor leave them out of options.interface.choices."
            )
        number = version[1].decode() if version else "of unknown version"
        return Found(f"Jupyter Server {number}: {', '.join(there)}", advice)

    async def log(self) -> Found:
        """The end of the job's log can be shown to its owner."""
        trial = self._trial()
        if not trial.log:
            await self._read_log()
        if not trial.log:
            raise CheckFailed(
                f"{trial.log_path} is empty or cannot be read as {self.bench.user}",
                "slurm.log_path must lie in a directory that nodes and login nodes share (a home directory).",
            )
        return Found(f"{trial.log_path}, {len(trial.log.splitlines())} lines")


_CURE_JUPYTER = (
    "Set jupyter.bin_dir (a directory that all users and nodes can reach), jupyter.modules or jupyter.prologue so\n"
    "that `jupyter` is found on the nodes; see servers.start_timeout_s if it is only slow."
)


def _cure_reach(route: Route) -> str:
    if route.via_ssh:
        return (
            "The login node has to reach the node, and its sshd has to allow port forwarding for these accounts:\n"
            "AllowTcpForwarding local (or yes) in the Match blocks of `minihub ca show`, and no PermitOpen."
        )
    if route.endpoint.path:
        return "Look at the user's server log, and whether hub.runtime_dir is on a local disk."
    return (
        "Open TCP from the hub's machine to the nodes' unprivileged ports (firewalls, routes), or set\n"
        "servers.via = 'ssh' to go through the login node."
    )
