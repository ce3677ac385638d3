"""The command line in this process, against a stand-in that answers as the API's contract says."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from minihub.cli import main


def server(user, **changes):
    job = {
        "id": "17",
        "state": "RUNNING",
        "reason": None,
        "account": "def-prof1",
        "partition": "cpu",
        "node": "node1",
        "resources": {"cores": 2, "memory_mb": 4096, "gpu_type": "a100", "gpu_count": 1, "time_hours": 8},
        "submitted": "2026-11-26T08:00:00Z",
        "started": "2026-11-26T08:00:10.5Z",
        "expected_start": None,
        "ends": None,
        "ended": None,
        "elapsed_s": 3700,
        "time_left_s": 25100,
        "outcome": None,
        **changes.pop("job", {}),
    }
    return {
        "user": user,
        "name": "",
        "state": "ready",
        "ready": True,
        "stopped": False,
        "pending": None,
        "started": "2026-11-26T08:00:00Z",
        "last_activity": "2026-11-26T08:00:00Z",
        "ended": None,
        "url": f"/user/{user}/",
        "failure": None,
        "user_options": {"interface": "lab"},
        "job": job,
        **changes,
    }


class StandIn:
    """Answers what it was given, and remembers what it was asked."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.paths = []
        """As sent."""
        self.token = ""
        """If set, what has to be sent."""

    def will(self, method, path, body, status=200):
        """Answer so; a list is paged as the API does, a function is asked with the request's query or body."""
        self.answers[method, path] = (status, body)

    def asked_for(self, method, path):
        """Queries or bodies of the requests to one endpoint."""
        return [given for asked, given in self.asked if asked == (method, path)]

    async def answer(self, request):
        key = request.method, request.path.partition("/hub/api")[2]
        given = dict(request.query)
        if request.body_exists:
            given = await request.json()
        self.asked.append((key, given))
        self.paths.append(request.raw_path)
        self.headers = dict(request.headers)
        if self.token and request.headers.get("Authorization") != f"token {self.token}":
            message = "This token is unknown, expired or revoked."
            return web.json_response({"status": 403, "message": message}, status=403)
        if key not in self.answers:
            return web.json_response({"status": 404, "message": "There is no such thing."}, status=404)
        status, body = self.answers[key]
        if callable(body):
            body = body(given)
        if isinstance(body, web.Response):
            return body
        if body is None:
            return web.Response(status=status)
        if isinstance(body, str):
            return web.Response(text=body, status=status)
        paged = "jupyterhub-pagination" in request.headers.get("Accept", "")
        return web.json_response(
            page(body, given) if isinstance(body, list) and paged else body, status=status
        )


def page(items, given):
    offset, limit = int(given["offset"]), int(given["limit"])
    part = items[offset : offset + limit]
    rest = offset + len(part)
    following = {"offset": rest, "limit": limit, "url": ""} if rest < len(items) else None
    pagination = {"offset": offset, "limit": limit, "total": len(items), "next": following}
    return {"items": part, "_pagination": pagination}


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def rows(self):
        """The table's cells: columns of a pipe stand two blanks or more apart."""
        return [re.split(r" {2,}", line.strip()) for line in self.out.splitlines()]


def run_main(argv):
    """The exit status, argparse's own too."""
    try:
        return main(argv)
    except SystemExit as error:
        return error.code


@dataclass
class Line:
    """`minihub ...` in a thread: it runs a loop of its own."""

    directory: Path
    capsys: pytest.CaptureFixture

    async def __call__(self, *words):
        config = self.directory / "minihub.toml"
        status = await asyncio.to_thread(run_main, [*words, "--config", str(config)])
        out, err = self.capsys.readouterr()
        return Done(status, out, err)


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="mhc-"))
    (path / "state").mkdir(mode=0o700)
    (path / "minihub.toml").write_text(f'[hub]\nstate_dir = "{path}/state"\nbase_path = "/jupyter/"\n')
    yield path
    shutil.rmtree(path)


@pytest.fixture
def minihub(directory, capsys, monkeypatch):
    monkeypatch.delenv("MINIHUB_TOKEN", raising=False)
    return Line(directory, capsys)


@pytest.fixture
async def hub(directory):
    """The stand-in, on the admin socket and on TCP."""
    made = StandIn()
    app = web.Application()
    app.router.add_route("*", "/jupyter/hub/api{rest:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(directory / "state" / "admin.sock")).start()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[-1][1]
    made.url = f"http://127.0.0.1:{made.port}/jupyter"
    yield made
    await runner.cleanup()
