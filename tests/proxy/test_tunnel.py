"""Two real connections joined: what one end does, the other one sees."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from contextlib import asynccontextmanager

import pytest

from minihub.proxy.sockets import allow_many_files
from minihub.proxy.tunnel import WATER_MARK, Tunnel
from minihub.servers.identity import client_context
from tests.proxy.kit import make_tls, until

MB = 1024 * 1024
READ_SIZE = 256 * 1024
"""What the loops read at once."""


class Waiting(asyncio.Protocol):
    """Holds a connection until the tunnel takes it."""

    def __init__(self, made):
        self.made = made

    def connection_made(self, transport):
        self.made.set_result(transport)


async def accept(buffer=0):
    """A transport of ours and the socket at its other end, which is to buffer no more than so many bytes (0: any)."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()
    server = await loop.create_server(lambda: Waiting(made), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    peer = socket.socket()
    if buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    peer.setblocking(False)
    await loop.sock_connect(peer, address)
    transport = await made
    server.close()
    return transport, peer


class Ends:
    """A tunnel and the sockets at its ends."""

    def __init__(self, tunnel, browser, server, forgotten):
        self.tunnel, self.browser, self.server, self.forgotten = tunnel, browser, server, forgotten


async def make(forgotten):
    near, browser = await accept()
    far, server = await accept()
    tunnel = Tunnel(
        user="alice",
        login_key="k",
        cookie="c",
        address="127.0.0.1",
        transport=near,
        server=far,
        forget=forgotten.append,
    )
    return Ends(tunnel, browser, server, forgotten)


@asynccontextmanager
async def joined():
    ends = await make([])
    try:
        yield ends
    finally:
        ends.browser.close()
        ends.server.close()
        await until(lambda: ends.forgotten)
        await asyncio.sleep(0)
        assert ends.forgotten == [ends.tunnel], "told once"


async def send(peer, data):
    async with asyncio.timeout(10):
        await asyncio.get_running_loop().sock_sendall(peer, data)


async def receive(peer, size):
    loop, data = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(10):
        while len(data) < size and (piece := await loop.sock_recv(peer, 1_000_000)):
            data += piece
    return bytes(data)


async def receive_all(peer):
    return await receive(peer, 1 << 60)


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def both(ends, way):
    """The sending and the receiving end."""
    return (ends.browser, ends.server) if way == "up" else (ends.server, ends.browser)


WAYS = pytest.mark.parametrize("way", ["up", "down"])


@WAYS
async def test_bytes_pass_as_they_are(way):
    async with joined() as ends:
        one, other = both(ends, way)
        for data in (b"\x81\x85nonsense", b"\x00", bytes(range(256)) * 1000):
            await send(one, data)
            assert await receive(other, len(data)) == data


async def test_both_ways_at_once():
    async with joined() as ends:
        up, down = b"u" * 5 * MB, b"d" * 5 * MB
        _, _, got_up, got_down = await asyncio.gather(
            send(ends.browser, up),
            send(ends.server, down),
            receive(ends.server, len(up)),
            receive(ends.browser, len(down)),
        )
        assert (got_up, got_down) == (up, down)


@WAYS
async def test_who_sends_no_more_may_still_hear(way):
    async with joined() as ends:
        one, other = both(ends, way)
        await send(one, b"last words")
        one.shutdown(socket.SHUT_WR)
        assert await receive_all(other) == b"last words"
        assert ends.tunnel.is_half_closed
        await send(other, b"x" * MB)
        assert await receive(one, MB) == b"x" * MB
        assert ends.forgotten == []
        other.shutdown(socket.SHUT_WR)
        assert await receive_all(one) == b""
        await until(lambda: ends.forgotten)


@WAYS
async def test_an_end_in_order_passes_as_one(way):
    async with joined() as ends:
        one, other = both(ends, way)
        await send(one, b"x" * MB)
        one.shutdown(socket.SHUT_WR)
        assert await receive_all(other) == b"x" * MB
        other.close()
        assert await receive_all(one) == b""


@WAYS
async def test_a_reset_passes_as_a_reset(way):
    async with joined() as ends:
        one, other = both(ends, way)
        await send(one, b"x")
        assert await receive(other, 1) == b"x"
        reset(one)
        with pytest.raises(ConnectionResetError):
            await receive_all(other)


@WAYS
async def test_a_reset_after_a_half_close_passes_too(way):
    async with joined() as ends:
        one, other = both(ends, way)
        one.shutdown(socket.SHUT_WR)
        assert await receive_all(other) == b""
        reset(other)
        with pytest.raises(ConnectionResetError):
            await receive_all(one)


@WAYS
@pytest.mark.parametrize("ends_by", ["close", "reset", "break_off"])
async def test_its_bytes_are_counted_whoever_ends_it(way, ends_by):
    counted = []
    async with joined() as ends:
        ends.tunnel._forget = lambda tunnel: (
            counted.append(tunnel.count_bytes()),
            ends.forgotten.append(tunnel),
        )
        one, _ = both(ends, way)
        await send(ends.browser, b"u" * 300_000)
        await send(ends.server, b"d" * 700_000)
        await asyncio.gather(receive(ends.server, 300_000), receive(ends.browser, 700_000))
        # What is not acknowledged yet is not counted.
        await until(lambda: ends.tunnel.count_bytes() == (300_000, 700_000))
        if ends_by == "break_off":
            ends.tunnel.break_off()
        elif ends_by == "reset":
            reset(one)
        else:
            ends.browser.close()
            ends.server.close()
        await until(lambda: counted)
    (up, down), *more = counted
    # TCP counts the end of a connection as a byte.
    assert (up in (300_000, 300_001), down in (700_000, 700_001), more) == (True, True, [])


async def test_breaking_off_resets_both_ends():
    async with joined() as ends:
        ends.tunnel.break_off()
        for peer in (ends.browser, ends.server):
            with pytest.raises(ConnectionResetError):
                await receive_all(peer)
        ends.tunnel.break_off()


@WAYS
async def test_a_slow_reader_slows_the_writer(way):
    async with joined() as ends:
        one, other = both(ends, way)
        tunnel = ends.tunnel
        reads, writes = (
            (tunnel.transport, tunnel.server) if way == "up" else (tunnel.server, tunnel.transport)
        )
        data = bytes(n % 251 for n in range(65_521)) * 500
        sending = asyncio.create_task(send(one, data))
        await until(lambda: not reads.is_reading())
        assert WATER_MARK < writes.get_write_buffer_size() <= WATER_MARK + READ_SIZE
        assert not sending.done()
        assert await receive(other, len(data)) == data
        await sending
        await until(lambda: reads.is_reading() and not writes.get_write_buffer_size())


@WAYS
async def test_a_slow_reader_holds_up_one_direction_only(way):
    async with joined() as ends:
        one, other = both(ends, way)
        tunnel = ends.tunnel
        reads = tunnel.transport if way == "up" else tunnel.server
        sending = asyncio.create_task(send(one, b"x" * 30 * MB))
        await until(lambda: not reads.is_reading())
        await send(other, b"still")
        assert await receive(one, 5) == b"still"
        reset(other)
        with pytest.raises(OSError):
            await sending
        await until(lambda: ends.forgotten)


@asynccontextmanager
async def joined_over_tls(directory):
    """A tunnel to a server over TLS, which knows no half-close: so its end ends the browser's connection."""
    tls = make_tls()
    context = tls.server_context(directory)
    context.verify_mode = ssl.CERT_NONE
    loop, forgotten = asyncio.get_running_loop(), []
    made = loop.create_future()
    listening = await loop.create_server(lambda: Waiting(made), "127.0.0.1", 0, ssl=context)
    _, server = await asyncio.open_connection(
        *listening.sockets[0].getsockname(), ssl=client_context(tls.secrets), server_hostname=""
    )
    near, browser = await accept(4096)
    near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    tunnel = Tunnel(
        user="alice",
        login_key="k",
        cookie="c",
        address="127.0.0.1",
        transport=near,
        server=await made,
        forget=forgotten.append,
    )
    try:
        yield Ends(tunnel, browser, server, forgotten)
    finally:
        browser.close()
        server.transport.abort()
        listening.close()
        await until(lambda: forgotten)


async def fill(ends):
    """Have the server send until the browser takes no more; how many bytes."""
    sent, held = 0, 0
    while not held:
        ends.server.write(b"x" * 65536)
        sent += 65536
        await asyncio.sleep(0.1)
        held = ends.tunnel.transport.get_write_buffer_size()
    assert ends.tunnel.server.is_reading()
    return sent


def is_open(transport):
    """Whether the kernel still has this connection; a function to ask."""
    link = f"/proc/self/fd/{transport.get_extra_info('socket').fileno()}"
    named = os.readlink(link)
    return lambda: os.path.lexists(link) and os.readlink(link) == named


async def test_who_does_not_read_the_last_bytes_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr("minihub.proxy.tunnel.LAST_BYTES_S", 0.1)
    async with joined_over_tls(tmp_path) as ends:
        sent = await fill(ends)
        still_open = is_open(ends.tunnel.transport)
        ends.server.close()
        await until(lambda: not still_open())
        assert len(await receive_all(ends.browser)) < sent


async def test_who_reads_the_last_bytes_gets_them_and_the_timer_finds_nobody(tmp_path, caplog):
    async with joined_over_tls(tmp_path) as ends:
        sent = await fill(ends)
        ends.server.close()
        await until(lambda: ends.forgotten)
        timer = ends.tunnel.last_bytes
        assert len(await receive_all(ends.browser)) == sent
        await until(timer.cancelled)
    assert caplog.records == []


async def test_many_tunnels_forget_themselves():
    allow_many_files()
    forgotten, open_ones = [], set()
    made = [await make(forgotten) for _ in range(300)]
    open_ones.update(ends.tunnel for ends in made)
    assert forgotten == []
    for number, ends in enumerate(made):
        match number % 6:
            case 0:
                ends.browser.close()
                ends.server.close()
            case 1:
                reset(ends.browser)
            case 2:
                reset(ends.server)
            case 3:
                ends.tunnel.break_off()
            case 4:
                ends.browser.shutdown(socket.SHUT_WR)
                ends.server.shutdown(socket.SHUT_WR)
            case 5:
                ends.server.send(b"bye")
                ends.server.close()
                ends.browser.close()
    await until(lambda: len(forgotten) == 300)
    assert set(forgotten) == open_ones
    for ends in made:
        ends.browser.close()
        ends.server.close()
    await until(
        lambda: all(ends.tunnel.transport.is_closing() and ends.tunnel.server.is_closing() for ends in made)
    )
    assert len(forgotten) == 300
