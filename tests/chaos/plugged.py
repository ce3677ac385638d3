"""`minihub` with its crossings watched: run as `python plugged.py serve --config FILE`.

Beside FILE lie `plan.json`, in which crossing and phase to die (nothing, if it is not there), and `crossings`, one JSON line
for each crossing since that plan was made. Every crossing has three phases: *before* the hub begins to wait, *during*
(in the store inside of the transaction, at a command when it was sent but not answered, at a report when the launcher
has had its answer), and *after*, before the hub learns what came of it.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

SLOW_DISK_S = 0.03
SENT_S = 0.004
"""A quarter of what sbatch takes here."""


class Recorder:
    """Numbers the crossings, writes them down, and ends the process in the one that is planned."""

    def __init__(self, directory: Path) -> None:
        self._plan_file = directory / "plan.json"
        # Opened while this is root; written as the hub's user.
        self._log = os.open(directory / "crossings", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._made = None
        self._plan = {}
        self._counts = Counter()

    def cross(self, name: str, user: str | None, *, phases: str = "before during after") -> Crossing:
        self._read_plan()
        key = f"{name} {user or '-'}"
        self._counts[key] += 1
        number = self._counts[key]
        self._write(name=name, user=user or "-", number=number, phases=phases.split())
        plan = self._plan
        wanted = (plan.get("name"), plan.get("user"), plan.get("number")) == (name, user or "-", number)
        return Crossing(self, plan.get("phase") if wanted else None)

    def _read_plan(self) -> None:
        try:
            made = self._plan_file.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if made != self._made:
            self._made, self._plan = made, json.loads(self._plan_file.read_text())
            self._counts.clear()
            self._write(plan=self._plan)

    def _write(self, **line) -> None:
        os.write(self._log, json.dumps(line).encode() + b"\n")

    def die(self) -> None:
        self._write(killed=True)
        os.kill(os.getpid(), signal.SIGKILL)


class Crossing:
    """One passage."""

    def __init__(self, recorder: Recorder, phase: str | None) -> None:
        self._recorder = recorder
        self._phase = phase

    def reach(self, phase: str) -> None:
        if self._phase == phase:
            self._recorder.die()

    def reach_soon(self, phase: str, delay_s: float) -> None:
        if self._phase == phase:
            asyncio.get_running_loop().call_later(delay_s, self._recorder.die)


def around(recorder, owner, method, name):
    """Watch an async method; `name(arguments)` gives the crossing's name and user."""
    original = getattr(owner, method)
    signature = inspect.signature(original)

    @functools.wraps(original)
    async def watched(*args, **kwargs):
        arguments = signature.bind(*args, **kwargs).arguments
        crossing = recorder.cross(*name(arguments), phases="before after")
        crossing.reach("before")
        result = await original(*args, **kwargs)
        crossing.reach("after")
        return result

    setattr(owner, method, watched)


# ---- the store ------------------------------------------------------------------------------------------------------


def name_work(work):
    """What a transaction of the store is, and whose: "store.Attempts.save[queued]"."""
    inner = inspect.getclosurevars(work).nonlocals
    row = inner.get("row")
    detail = (
        f"[{row.state}{'+port' if json.loads(row.data).get('port') else ''}]" if hasattr(row, "state") else ""
    )
    user = getattr(row, "user", None) or inner.get("user") or inner.get("name") or inner.get("actor")
    place = work.__qualname__.partition(".<locals>")[0]
    return f"store.{place}{detail}", user if isinstance(user, str) else None


def watch_store(recorder, module):
    database = module.Database
    read, write = database.read, database.write

    @functools.wraps(write)
    async def watched_write(self, work):
        crossing = recorder.cross(*name_work(work))

        @functools.wraps(work)
        def inside(connection):
            result = work(connection)
            if crossing._phase == "during":
                time.sleep(SLOW_DISK_S)
            crossing.reach("during")
            return result

        crossing.reach("before")
        result = await write(self, inside)
        crossing.reach("after")
        return result

    @functools.wraps(read)
    async def watched_read(self, work):
        crossing = recorder.cross(*name_work(work), phases="before after")
        crossing.reach("before")
        result = await read(self, work)
        crossing.reach("after")
        return result

    database.write, database.read = watched_write, watched_read


# ---- ssh ------------------------------------------------------------------------------------------------------------


def program_of(words):
    """Program and user of one remote command, which stands behind its environment and timeout(1)."""
    environment = dict(word.split("=", 1) for word in words if "=" in word and word.split("=")[0].isupper())
    rest = words[words.index("timeout") + 4 :]
    return rest[2] if rest[0] == "env" else rest[0], environment["LOGNAME"]


def watch_ssh(recorder, module):
    run_command = module.run_command

    async def watched(connection, words, stdin, limits, keeper):
        program, user = program_of(words)
        crossing = recorder.cross(f"ssh.{program}", user)
        crossing.reach("before")
        carried[tuple(words)] = crossing
        result = await run_command(connection, words, stdin, limits, keeper)
        crossing.reach("after")
        return result

    carried: dict[tuple, Crossing] = {}
    module.run_command = watched
    channel = sys.modules["minihub.transports.command"].CommandChannel
    build, feed = channel.__init__, channel.data_received

    def watched_init(self, words, stdin):
        build(self, words, stdin)
        self.crossing = carried.pop(tuple(words), None)

    def watched_feed(self, data, datatype):
        was_sent = self.sent
        feed(self, data, datatype)
        if self.sent and not was_sent and self.crossing is not None:
            self.crossing.reach_soon("during", SENT_S)

    channel.__init__, channel.data_received = watched_init, watched_feed


def watch_dialing(recorder, module):
    around(recorder, module.Dialer, "dial", lambda a: ("ssh.dial", a["user"]))


# ---- Slurm, reports, Jupyter ----------------------------------------------------------------------------------------


def watch_slurm(recorder, module):
    scheduler = module.SlurmScheduler
    around(recorder, scheduler, "submit", lambda a: ("slurm.submit", a["request"].user))
    around(recorder, scheduler, "estimate", lambda a: ("slurm.estimate", a["request"].user))
    for method in ("cancel", "ending", "log_tail", "limits"):
        around(recorder, scheduler, method, lambda a, method=method: (f"slurm.{method}", a["user"]))
    for method in ("list_jobs", "start"):
        around(recorder, scheduler, method, lambda a, method=method: (f"slurm.{method}", None))


def watch_reports(recorder, module):
    report = module.report

    @functools.wraps(report)
    async def watched(request):
        body = json.loads(await request.read())
        asked = module.DEPS
        attempt = request.app[asked].servers._registry.waiting_for_report(body["secret"])
        kind = "notice" if body["port"] is None else "port"
        crossing = recorder.cross(f"report[{kind}]", attempt.user if attempt else None)
        crossing.reach("before")
        answer = await report(request)
        crossing.reach_soon("during", SENT_S)
        crossing.reach("after")
        return answer

    module.report = watched


def watch_prober(recorder, module):
    around(recorder, module.Prober, "verify", lambda a: ("prove", a["route"].user))


WATCHED = {
    "minihub.store.database": watch_store,
    "minihub.transports.ssh": watch_ssh,
    "minihub.transports.dialing": watch_dialing,
    "minihub.schedulers.slurm.scheduler": watch_slurm,
    "minihub.web.api.handlers": watch_reports,
    "minihub.proxy.prober": watch_prober,
}


class Finder(importlib.abc.MetaPathFinder):
    """Changes a module right after it was imported, whenever the hub comes to that."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def find_spec(self, name, path=None, target=None):
        if name not in WATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_watch(module):
            execute(module)
            WATCHED[name](self._recorder, module)

        spec.loader.exec_module = execute_and_watch
        return spec


def main() -> int:
    # Nothing of this folder is to be found by the hub.
    sys.path.pop(0)
    config = Path(sys.argv[sys.argv.index("--config") + 1])
    sys.meta_path.insert(0, Finder(Recorder(config.parent)))
    from minihub.cli import main as serve  # noqa: PLC0415 - only now is it watched

    return serve()


if __name__ == "__main__":
    raise SystemExit(main())
