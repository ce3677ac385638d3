"""Event streams: content, keep-alive, end."""

# ruff: noqa: RUF001 - French writes apostrophes so

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from minihub.servers.model import State
from minihub.servers.service import Progress
from minihub.tasks import TaskKeeper
from minihub.web.sse import EventStream, Streams
from tests.fakes import until
from tests.web.fakes import make_attempt


def events_in(text):
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: ")]


async def test_the_progress_comes_as_events_and_ends_with_the_last(browser):
    world = browser.log_in().world
    queued, ready = make_attempt(State.QUEUED), make_attempt(State.READY)
    world.servers.attempts["ada"] = queued
    world.servers.steps = [
        Progress(20, "The job is waiting in the queue.", attempt=queued),
        Progress(100, "Your server is ready.", ready=True, attempt=ready),
    ]
    answer = await browser.get("/hub/spawn-pending/ada/events", **{"Accept-Language": "fr"})
    first, last = events_in(await answer.text())

    assert answer.content_type == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    assert (first["message"], first["percent"]) == ("La tâche attend dans la file.", 20)
    assert first["reason"].startswith("D’autres tâches")
    assert first["waiting_words"] == "37 tâches attendent dans toute la grappe"
    assert (last["ready"], last["url"]) == (True, "/user/ada/lab")
    assert world.servers.watching == 0


async def test_who_leaves_is_not_waited_for(browser):
    world = browser.log_in().world
    world.servers.attempts["ada"] = make_attempt(State.QUEUED)
    answer = await browser.get("/hub/spawn-pending/ada/events")
    await answer.content.readline()
    assert world.servers.watching == 1
    answer.close()
    await until(lambda: world.servers.watching == 0)


async def test_open_streams_end_when_the_hub_goes_down(browser):
    world = browser.log_in().world
    world.servers.attempts["ada"] = make_attempt(State.QUEUED)
    answer = await browser.get("/hub/spawn-pending/ada/events")
    await answer.content.readline()

    await asyncio.wait_for(browser.client.server.close(), 30)

    assert world.servers.watching == 0


async def test_a_quiet_stream_says_that_it_lives(aiohttp_client):
    keeper, streams = TaskKeeper(), Streams()

    async def handler(request):
        async with EventStream(request, streams, keeper, keep_alive_s=0.01) as stream:
            await asyncio.sleep(0.1)
            await stream.send({"a": "ü"}, event="x")
        return stream.response

    app = web.Application()
    app.router.add_get("/", handler)
    text = await (await (await aiohttp_client(app)).get("/")).text()

    assert text.count(": still here\n\n") >= 2
    assert text.endswith('event: x\ndata: {"a": "ü"}\n\n')
    assert len(streams) == 0
    await keeper.close()
