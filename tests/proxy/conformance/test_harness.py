"""The harness itself: it reads strictly, and it finds fault with a hub that passes everything on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from tests.proxy.conformance.kit import (
    CLOSED,
    EITHER,
    OK,
    Answer,
    Case,
    Req,
    X,
    answer,
    get,
    post,
    refused,
    whole,
)
from tests.proxy.conformance.reader import Reader, read_with_h11
from tests.proxy.conformance.run import check

GOOD = f"GET {X} HTTP/1.1\r\nHost: h\r\n\r\n"
POST = f"POST {X} HTTP/1.1\r\nHost: h\r\n"


def read(text, *, requests=True, to_head=(), ended=False):
    reader = Reader(requests=requests, to_head=to_head)
    for character in text:
        reader.feed(character.encode("latin-1"))
    if ended:
        reader.end()
    return reader


@pytest.mark.parametrize(
    ("text", "bodies"),
    [
        (GOOD * 2, [b"", b""]),
        (f"{POST}Content-Length: 3\r\n\r\nabc{GOOD}", [b"abc", b""]),
        (f"{POST}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n{GOOD}", [b"abc", b""]),
    ],
)
def test_what_it_reads_h11_reads(text, bodies):
    reader = read(text)
    assert reader.problem is None
    assert [bytes(message.body) for message in reader.messages] == bodies
    found, _ = read_with_h11(text.encode("latin-1"), [])
    assert found == [[m.method, m.target, bytes(m.body), True] for m in reader.messages]


@pytest.mark.parametrize(
    "text",
    [
        "\r\n" + GOOD, GOOD.replace("\r\n", "\n"), GOOD.replace(" HTTP", "  HTTP"), GOOD.replace("1.1", "1.2"),
        f"{POST}A : 1\r\n\r\n", f"{POST}A: 1\r\n 2\r\n\r\n", f"{POST}A: \x00\r\n\r\n", f"{POST}A: 1\r2\r\n\r\n",
        f"{POST}Content-Length: +3\r\n\r\n", f"{POST}Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
        f"{POST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", f"{POST}Transfer-Encoding: gzip\r\n\r\n",
        *(f"{POST}Transfer-Encoding: chunked\r\n\r\n{body}"
          for body in ("0x1\r\n", "1;a\r\n", "1\n", "1\r\nab\r\n", "0\r\nA: 1\r\n", "\r\n")),
    ],
)  # fmt: skip
def test_it_reads_nothing_loose(text):
    assert read(text).problem


@pytest.mark.parametrize(
    ("text", "to_head", "bodies"),
    [
        (OK + OK, (), [b"ok", b"ok"]),
        (answer(204, length=False) + OK, (), [b"", b"ok"]),
        (answer(304, "Content-Length: 9", length=False) + OK, (), [b"", b"ok"]),
        (answer(200, "Content-Length: 9", length=False) + OK, (True, False), [b"", b"ok"]),
        ("HTTP/1.1 103 Hints\r\n\r\n" + OK, (), [b"", b"ok"]),
        (answer(200, body="until the end", length=False), (), [b"until the end"]),
    ],
)
def test_it_reads_answers(text, to_head, bodies):
    reader = read(text, requests=False, to_head=to_head, ended=True)
    assert reader.problem is None
    assert [bytes(message.body) for message in reader.messages] == bodies
    assert all(message.whole for message in reader.messages)


def test_it_sees_what_is_missing():
    for at in range(1, len(OK)):
        assert not any(message.whole for message in read(OK[:at], requests=False, ended=True).messages)


@asynccontextmanager
async def splice(settings):
    """A hub that is none: it connects client and server."""
    hub, tasks, writers = SimpleNamespace(host="127.0.0.1"), set(), []

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader, writer):
        server_reader, server_writer = await asyncio.open_connection(hub.endpoint.host, hub.endpoint.port)
        writers.extend((writer, server_writer))
        tasks.update(
            asyncio.create_task(pump(*ends)) for ends in ((reader, server_writer), (server_reader, writer))
        )

    hub.route_to = lambda endpoint: setattr(hub, "endpoint", endpoint)
    listener = await asyncio.start_server(serve, hub.host, 0)
    hub.port = listener.sockets[0].getsockname()[1]
    try:
        yield hub
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        (Case("", "the hub's own fields", get(), reaches=[Req("GET")], answers=[200]), "authorization is []"),
        (Case("", "its cookie", get(), reaches=[Req("GET")], answers=[200]), "b'alice-cookie' is told to the server"),
        (Case("", "what should not get there", get(), answers=[403], then=EITHER),
         "the server got 'GET /user/alice/x HTTP/1.1'"),
        (Case("", "another answer", get(), whole(answer(204, length=False)), [Req("GET")], [200]),
         "answers ['204'] instead of [200]"),
        (Case("", "another body", get(), whole(answer(200, body="no")), [Req("GET")], [200]),
         "body b'no' (2) instead of b'ok' (2)"),
        (Case("", "left open", get(), reaches=[Req("GET")], answers=[200], then=CLOSED),
         "the connection is not closed"),
        (Case("", "a field kept", get(), whole(answer(200, "NEL: 1", body="ok")), [Req("GET")],
              [Answer(200, lacks=("nel",))]), "has nel"),
        (Case("", "one answer over", get(), whole(OK + OK), [Req("GET")], [200]),
         "answers ['200', '200'] instead of [200]"),
        (refused("", "both lengths", post("Content-Length: 3", "Transfer-Encoding: chunked", body="0\r\n\r\n")),
         "framed twice"),
        (refused("", "a bare LF", get("A: 1\nB: 2")), "line end of"),
        (Case("", "a refusal of its own", get(), whole(answer(400, body="no").replace("X-Upstream", "X")),
              [Req("GET")],
              [400]), "own refusal without X-Request-ID"),
    ],
    ids=str,
)  # fmt: skip
async def test_it_finds_fault(case, complaint):
    with pytest.raises(pytest.fail.Exception) as caught:
        await check(case, splice, patience_s=1)
    assert complaint in str(caught.value)
