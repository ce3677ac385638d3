"""A hub made of fakes, for looking at its pages: `python -m tests.web.demo` prints its address.

?as=NAME logs a visitor in as one of SCENES, each of which shows another state of a server.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from minihub.errors import OptionsError
from minihub.schedulers.base import JobEnding
from minihub.servers import explain
from minihub.servers.manager import describe
from minihub.servers.model import ServerOptions, State
from minihub.servers.service import Progress, SchedulerHealth
from tests.web.fakes import NOW, World, make_app, make_attempt, make_form, make_world

LOG = """[I 2026-11-22 14:05:01 ServerApp] jupyterlab | extension was successfully linked.
[I 2026-11-22 14:05:02 ServerApp] Serving notebooks from local directory: /home/ada
[E 2026-11-22 14:05:02 ServerApp] OSError: [Errno 122] Disk quota exceeded: '/home/ada/.local/share/jupyter'
slurmstepd: error: *** JOB 4242 ON node7 CANCELLED ***
"""


def fill(world: World) -> World:
    servers = world.servers
    servers.attempts = {
        "ready": make_attempt(State.READY, "ready"),
        "queued": make_attempt(State.QUEUED, "queued"),
        "starting": make_attempt(State.STARTING, "starting", log_tail=LOG),
        "stopping": make_attempt(State.STOPPING, "stopping", job_state="COMPLETING", node="node7"),
        "stopped": make_attempt(State.STOPPED, "stopped"),
        "failed": make_attempt(
            State.FAILED,
            "failed",
            failure=explain.spawn_timeout(make_attempt(State.QUEUED, "failed"), 300),
            job_reason="Priority",
            log_tail=LOG,
            job_id="4242",
            ended_at=NOW - 5,
        ),
    }
    world.users.names |= set(servers.attempts)
    gpu = ServerOptions(12, 8, 65536, "notebook", "rrg-prof", None, "gpu", None, "a100", 2)
    oom = explain.ending(make_attempt(State.READY), JobEnding("OUT_OF_MEMORY"))
    for user in servers.attempts:
        servers.ended += [
            make_attempt(
                State.STOPPED, user, created_at=NOW - 90000, started_at=NOW - 89900, ended_at=NOW - 80000
            ),
            make_attempt(
                State.FAILED,
                user,
                options=gpu,
                failure=oom,
                created_at=NOW - 190000,
                started_at=NOW - 189000,
                ended_at=NOW - 180000,
                job_id="3977",
                node="gpu2",
            ),
        ]
    return world


async def main(port: int) -> None:
    raw = {
        "hub": {
            "site_name": "Narwhal JupyterHub",
            "help_url": "https://docs.example.org",
            "status_page_url": "https://status.example.org",
        }
    }
    world = fill(make_world(raw))
    if "--outage" in sys.argv:
        world.servers.scheduler_health = SchedulerHealth(
            "slurm", NOW - 900, NOW - 890, "The login node refuses connections."
        )
        world.servers.form_now = make_form(
            accounts=(), problem="Slurm does not answer, so no server can be started now."
        )
    for name in ("nobody", "root-of-all"):
        world.log_in(name)
    await world.tokens.create(
        "nobody", note="VS Code on my laptop", scopes=frozenset({"self"}), lifetime_s=604800
    )

    async def progress(user):
        attempt = world.servers.attempts[user]
        percent = {"queued": 20, "starting": 70, "stopping": 50}.get(attempt.state.value, 100)
        yield Progress(percent, describe(attempt, world.servers.health()).message, attempt=attempt)
        await asyncio.Event().wait()

    world.servers.progress = progress
    world.servers.start_error = OptionsError(
        {"cores": "At most 64 cores on one node.", "time_hours": "This is no number: use 1.5 or 1,5."}
    )
    app = make_app(world)

    async def become(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        response = web.Response(text=f"you are {name}")
        response.set_cookie("minihub-login", world.log_in(name), path="/")
        return response

    app.router.add_get("/demo/{name}", become)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    numbers = [word for word in sys.argv[1:] if word.isdecimal()]
    asyncio.run(main(int(numbers[0]) if numbers else 0))
