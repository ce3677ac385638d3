"""Those who take their time: deadlines, and that nobody has to wait, or to give memory, for another.

Sections are RFC 9112's, and `hub` where the rule is the hub's own. The deadlines are made short; what must not end at
a deadline is left alone for twice as long. Where something has to come in time, they are longer: the machine is busy.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.proxy.conformance.kit import (
    ABORTED,
    CLOSED,
    DEAF,
    DEAF_PORT,
    EITHER,
    GONE,
    HEAR,
    HOLD,
    HUNG_UP,
    OK,
    OPEN,
    RST,
    WHOLE,
    Answer,
    Await,
    Case,
    Cue,
    Drip,
    Ended,
    Got,
    Pause,
    Reached,
    Req,
    Seen,
    Stuck,
    Taken,
    X,
    answer,
    early,
    get,
    post,
    whole,
)
from tests.proxy.conformance.run import IN_STEP, Run, check
from tests.proxy.kit import run_hub

DEADLINE_S = 0.3
SHORT = {
    "proxy": dict.fromkeys(
        ("head_timeout_s", "idle_timeout_s", "body_timeout_s", "dial_timeout_s"), DEADLINE_S
    )
}
LONGER = Pause(2 * DEADLINE_S)
ROOMY_S = 1.5
ROOMY = {"proxy": dict.fromkeys(SHORT["proxy"], ROOMY_S)}
IN_TIME = Pause(ROOMY_S / 2)
TE = "Transfer-Encoding: chunked"
MB = 1024 * 1024
HUGE = 32 * MB


def slow(section, id, send, upstream=(), reaches=(), answers=(), then=OPEN, **more):  # noqa: A002
    return Case(section, id, send, upstream, reaches, answers, then, settings=SHORT, **more)


def drip(text, seconds=DEADLINE_S / 3):
    """One byte at a time."""
    return Drip(tuple(text), seconds)


def in_time(row):
    """The same, where each step of it has to come before a deadline."""
    return replace(row, settings=ROOMY)


HALF_UP = Req("POST", X, "abcdef", cut=True)
HALF = answer(200, "Content-Length: 6", body="abc", length=False)
WS = get(
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

# -- Clients that send slowly --------------------------------------------------------------------------------

SENDERS = [
    slow("9.5", "nothing is ever sent", [], then=HUNG_UP),
    slow("9.5", "only an empty line", "\r\n", then=GONE, answers=[408], silent=True),
    slow("9.5", "half a head", get()[:40], answers=[408], then=CLOSED),
    slow("9.5", "all but the last byte of a head", get()[:-1], answers=[408], then=CLOSED),
    slow("9.5", "a head that never stops coming", [drip(get(), DEADLINE_S / 6)], answers=[408], then=CLOSED),
    slow("9.5", "half a second head", [get() + get()[:40]], reaches=[Req("GET")], answers=[200, 408], then=CLOSED),
    in_time(slow("9.5", "a head that takes its time", [get()[:40], IN_TIME, get()[40:]], reaches=[Req("GET")],
                 answers=[200])),
    slow("9.5", "idle between requests", [get(), Seen(1)], reaches=[Req("GET")], answers=[200], then=HUNG_UP),
    in_time(slow("9.5", "idle, but not for too long", [get(), Seen(1), IN_TIME, get(), Seen(2), IN_TIME, get()],
                 reaches=[Req("GET")] * 3, answers=[200] * 3)),
    slow("9.5", "a body that does not come", post("Content-Length: 6"), reaches=[HALF_UP], answers=[408], then=CLOSED,
         reuse=False),
    slow("9.5", "a body that stops", [post("Content-Length: 6", body="abc"), Reached("abc")], reaches=[HALF_UP],
         answers=[408], then=CLOSED, reuse=False),
    slow("9.5", "chunks that stop", post(TE, body="3\r\nabc\r\n"), reaches=[HALF_UP], answers=[408], then=CLOSED,
         reuse=False),
    slow("9.5", "trailers that stop", post(TE, body="3\r\nabc\r\n0\r\nA: 1\r\n"), reaches=[HALF_UP], answers=[408],
         then=CLOSED, reuse=False),
    in_time(slow("9.5", "a body that goes on, slowly", [post("Content-Length: 6"), drip("abcdef", ROOMY_S / 3)],
                 reaches=[Req("POST", X, "abcdef")], answers=[200])),
    in_time(slow("9.5", "chunks that go on, slowly", [post(TE),
                                                      Drip(("1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n",
                                                            "1\r\nd\r\n", "1\r\ne\r\n", "0\r\n\r\n"),
                                                           ROOMY_S / 3)],
                 reaches=[Req("POST", X, "abcde")], answers=[200])),
    slow("9.5", "a body that stops after the answer began", [post("Content-Length: 6", body="abc"), Got("half")],
         early(answer(200, "Content-Length: 9", body="half", length=False)), [HALF_UP], [Answer(200, "half")],
         ABORTED, reuse=False),
    slow("9.5", "a body nobody wants that stops", [post("Content-Length: 6", body="abc", target="/user/bob/x")],
         answers=[403], then=HUNG_UP),
]  # fmt: skip

# -- Servers that answer slowly: no deadline, for what they do may take its time ------------------------------

ANSWERERS = [
    slow("9.5", "an answer that takes its time", [get(), Reached(X), LONGER, Cue("go on")], whole(Await("go on"), OK),
         [Req("GET")], [200], reuse=True),
    slow("9.5", "an answer to a body that takes its time", [post("Content-Length: 3", body="abc"), Reached("abc"),
                                                            LONGER, Cue("go on")],
         whole(Await("go on"), OK), [Req("POST", X, "abc")], [200], reuse=True),
    slow("9.5", "a head, byte by byte", get(), whole(drip("HTTP/1.1 "), answer(200, body="ok")[9:]), [Req("GET")],
         [200]),
    slow("9.5", "a body that pauses", [get(), Got("abc"), LONGER, Cue("go on")], whole(HALF, Await("go on"), "def"),
         [Req("GET")], [Answer(200, "abcdef")], reuse=True),
    slow("9.5", "chunks that pause", [get(), Got("abc"), LONGER, Cue("go on")],
         whole(answer(200, TE, body="3\r\nabc\r\n", length=False), Await("go on"), "0\r\n\r\n"), [Req("GET")],
         [Answer(200, "abc")], reuse=True),
    slow("9.5", "a pipelined request waits for it", [get(target=X + "?a") + get(), Reached("?a"), LONGER,
                                                     Cue("go on")],
         whole(Await("go on"), OK), [Req("GET", X + "?a"), Req("GET")], [200, 200]),
    slow("9.5", "half a pipelined head waits for it, too", [get(target=X + "?a") + get()[:40], Reached("?a"), LONGER,
                                                            Cue("go on"), Seen(1), get()[40:]],
         whole(Await("go on"), OK), [Req("GET", X + "?a"), Req("GET")], [200, 200]),
    slow("9.5", "a tunnel that is silent", [WS, Seen(1), LONGER, "a", Got("b")], whole(SWITCH, Got("a"), "b"),
         [Req("GET", tunnel="a")], [101], tunnel="b"),
    slow("9.5", "a tunnel that is silent before", [WS, Reached(X), LONGER, Cue("go on"), Seen(1), "a"],
         whole(Await("go on"), SWITCH), [Req("GET", tunnel="a")], [101], tunnel=""),
    slow("hub", "nobody takes the call", get(), DEAF_PORT, [], [503], EITHER),
    slow("hub", "nobody takes the call, for a body", post("Content-Length: 3", body="abc"), DEAF_PORT, [], [503],
         EITHER),
    slow("hub", "nobody takes the call, and another waits", get() + get(), DEAF_PORT, [], [503, 503], EITHER),
]  # fmt: skip

# -- Those who do not read -----------------------------------------------------------------------------------

BODY = b"x" * MB
LENGTH = f"Content-Length: {HUGE}"
DOWNLOAD = (answer(200, LENGTH, length=False), *[BODY] * (HUGE // MB))
UPLOAD = (post(LENGTH), *[BODY] * (HUGE // MB))
# What both hops' socket buffers may hold is a few MB, which is beside the point.
UNSENT = Stuck(HUGE // 4)


def lazy(section, id, send, upstream, reaches, answers, then=OPEN, **more):  # noqa: A002
    return slow(section, id, send, upstream, reaches, answers, then, small=True, **more)


def patient(*row):
    """The same, before any deadline."""
    return replace(lazy(*row), settings={})


READERS = [
    lazy("hub", "a client that does not read is left", [DEAF, get(), Ended(1), HEAR], whole(*DOWNLOAD),
         [Req("GET", on=1)], [Answer(200)], ABORTED, reuse=False),
    lazy("hub", "a client that does not read chunks is left", [DEAF, get(), Ended(1), HEAR],
         whole(answer(200, TE, length=False), *[f"{MB:x}\r\n".encode() + BODY + b"\r\n"] * (HUGE // MB)),
         [Req("GET", on=1)],
         [Answer(200)], ABORTED, reuse=False),
    in_time(lazy("hub", "a client that reads again in time gets it all", [DEAF, get(), IN_TIME, HEAR],
                 whole(*DOWNLOAD), [Req("GET")], [Answer(200, size=HUGE)])),
    # In large steps: what the kernel can still send is no progress that the hub sees.
    in_time(lazy("hub", "a client that reads now and then gets it all",
                 [DEAF, get(), *[step for n in range(1, 5) for step in (IN_TIME, HEAR, Taken(6 * n * MB), DEAF)],
                  HEAR],
                 whole(*DOWNLOAD), [Req("GET")], [Answer(200, size=HUGE)])),
    lazy("hub", "a server that does not read is given up", [*UPLOAD, Seen(1), Cue("given up")],
         early(DEAF, Await("given up"), HEAR),
         [Req("POST", X, None, cut=True)],
         [503], EITHER, reuse=False),
    patient("hub", "what the client does not read stays with the server", [DEAF, get(), Await("stuck"), HEAR],
            whole(*DOWNLOAD, UNSENT, Cue("stuck")),
         [Req("GET")], [Answer(200, size=HUGE)]),
    patient("hub", "what the server does not read stays with the client", [*UPLOAD, UNSENT, Cue("stuck")],
            early(DEAF, Await("stuck"), HEAR, WHOLE, OK),
         [Req("POST", X, None)], [200]),
    patient("hub", "what the server does not read of a tunnel stays with the client",
            [WS, Seen(1), *[BODY] * (HUGE // MB), UNSENT], whole(SWITCH, DEAF), [Req("GET")], [101]),
    patient("hub", "what the client does not read of a tunnel stays with the server",
            [WS, Seen(1), DEAF, Cue("go on"), Await("stuck")],
         whole(SWITCH, Await("go on"), *[BODY] * (HUGE // MB), UNSENT, Cue("stuck")), [Req("GET")], [101]),
    patient("hub", "requests that have to wait stay with the client",
            [get(target=X + "?a"), Reached("?a"), *[get("Z: " + "z" * 32_000) * 32] * 64, UNSENT, RST],
         whole(HOLD), [Req("GET", X + "?a")], [], GONE),
]  # fmt: skip


@pytest.mark.parametrize("case", [*SENDERS, *ANSWERERS, *READERS], ids=str)
async def test_slow(case):
    await check(case)


@asynccontextmanager
async def started(case):
    """A hub and a server, to be used by several clients."""
    run = Run(case)
    async with run_hub(case.settings) as hub, run.server() as endpoint:
        run.hub = hub
        hub.route_to(endpoint)
        yield run


async def test_nobody_waits_for_those_who_do_not_read():
    """Their answers may be complete at the server before they are read: its connection then serves the next."""
    sizes = [MB // 4 * n for n in range(1, 25)]
    scripts = [whole(answer(200, body="x" * size)) for size in sizes]
    async with started(Case("hub", "many", "", scripts)) as run:
        clients = []
        for count, _ in enumerate(sizes, 1):
            client = await run.connect()
            clients.append(client)
            await client.do([DEAF, get()])
            assert await run.until(lambda n=count: len(run.requests) == 2 * n - 1, "a request")
            await asyncio.sleep(0.02)
            other = await run.connect()
            other.transport.write(get(target=IN_STEP).encode())
            assert await run.until(lambda c=other: c.answered == 1, "another's answer")
            assert bytes(other.reader.messages[0].body) == b"in step"
            other.abort()
        for client, size in zip(clients, sizes, strict=True):
            await client.do([HEAR])
            assert await run.until(lambda c=client: c.answered == 1, "the answer at last")
            assert len(client.reader.messages[0].body) == size
            client.abort()
    assert run.problems == []


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
async def test_one_connection_too_many(limit):
    """It waits, or is refused, in any case without a server; and gets in when another has left."""
    held = Case("hub", "limit", "", [whole(HOLD)] * 2, settings={"proxy": {limit: 2}})
    async with started(held) as run:
        clients = [await run.connect(), await run.connect()]
        # One after the other, so that the first connection to the server is the first client's.
        for count, client in enumerate(clients, 1):
            client.transport.write(get().encode())
            assert await run.until(lambda n=count: len(run.requests) == n, f"request {count}")
        third = await run.connect()
        third.transport.write(get().encode())
        await run.until(lambda: third.ended, "", seconds=0.2)
        assert len(run.requests) == 2
        assert all(
            message.status in (429, 503) and message.values("x-request-id")
            for message in third.reader.messages
        )
        third.abort()
        clients[0].abort()
        assert await run.until(lambda: run.connections[0].ended, "the end of the first")
        fourth = await run.connect()
        fourth.transport.write(get().encode())
        assert await run.until(lambda: fourth.answered, "an answer")
        assert fourth.reader.messages[0].status == 200
        for client in (*clients, fourth):
            client.abort()
    assert run.problems == []
