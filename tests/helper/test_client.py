"""The hub's end, against a helper that a test plays."""

from __future__ import annotations

import asyncio
import socket

import pytest

from minihub.errors import AuthError, BadCredentials, ConnectionLost, HelperError, NotAllowed, TooManyAttempts
from minihub.helper.client import HelperClient
from minihub.helper.parent import HelperHandle, HelperSettings
from minihub.helper.wire import Unpacker, pack


@pytest.fixture
async def played():
    """(client, the helper's end as a stream)."""
    ours, its = socket.socketpair()
    client = await HelperClient.connect(HelperHandle(ours, 0))
    reader, writer = await asyncio.open_unix_connection(sock=its)
    yield client, reader, writer
    writer.close()
    await client.close()


async def ask(reader):
    unpacker = Unpacker()
    messages = []
    while not messages:
        messages = unpacker.feed(await reader.read(65536))
    return messages


async def test_answers_find_their_questions_in_any_order(played):
    client, reader, writer = played
    asked = asyncio.gather(client.authenticate("a", "x"), client.authenticate("b", "x"))
    await asyncio.sleep(0.01)
    first, second = await ask(reader)
    for question in (second, first):
        writer.write(pack({"id": question["id"], "user": question["username"].upper()}))
    assert await asked == ["A", "B"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("bad_credentials", BadCredentials),
        ("not_allowed", NotAllowed),
        ("busy", TooManyAttempts),
        ("auth", AuthError),
        ("trouble", AuthError),
        ("timeout", HelperError),
        ("crashed", HelperError),
        ("something new", AuthError),
    ],
)
async def test_refusals(played, kind, error):
    client, reader, writer = played
    asked = asyncio.gather(client.authenticate("a", "Secr3t"), return_exceptions=True)
    [question] = await ask(reader)
    writer.write(pack({"id": question["id"], "error": kind, "message": "words"}))
    [caught] = await asked
    assert type(caught) is error
    assert "Secr3t" not in str(caught)


async def test_the_end_of_the_helper_ends_all_waiting(played):
    client, _, writer = played
    asked = asyncio.gather(client.jobs(), client.authenticate("a", "x"), return_exceptions=True)
    await asyncio.sleep(0.01)
    writer.close()
    assert [type(error) for error in await asked] == [ConnectionLost, ConnectionLost]
    await client.closed
    with pytest.raises(HelperError):
        await client.jobs()


async def test_a_question_given_up_is_forgotten(played):
    client, reader, writer = played
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await client.jobs()
    [question] = await ask(reader)
    writer.write(pack({"id": question["id"], "jobs": []}))
    second = asyncio.gather(client.jobs())
    [question] = await ask(reader)
    writer.write(pack({"id": question["id"], "jobs": []}))
    assert await second == [()]


async def test_garbage_ends_the_connection(played, caplog):
    client, _, writer = played
    writer.write(b"\xff\xff\xff\xffgarbage")
    await client.closed
    assert "garbage" not in caplog.text


def test_settings_refused_are_an_error_with_the_reason():
    ours, its = socket.socketpair()
    its.sendall(pack({"id": 0, "error": "refused", "message": "no such user"}))
    with pytest.raises(HelperError, match="no such user"):
        HelperHandle(ours, 0).configure(HelperSettings("/x"))
    its.close()
    with pytest.raises(HelperError):
        HelperHandle(ours, 0).configure(HelperSettings("/x"))
    ours.close()
