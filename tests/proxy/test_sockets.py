"""What the kernel says of real connections."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from minihub.proxy.memory import connect
from minihub.proxy.sockets import break_off, was_used_within
from tests.proxy.kit import PATIENCE_S, until


@asynccontextmanager
async def pair(path=None):
    """A transport of ours and the blocking-free socket at its other end."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    class Ours(asyncio.Protocol):
        def connection_made(self, transport):
            self.received, self.lost = b"", False
            made.set_result((transport, self))

        def data_received(self, data):
            self.received += data

        def connection_lost(self, exc):
            self.lost = True

    if path is None:
        server = await loop.create_server(Ours, "127.0.0.1", 0)
        peer = socket.socket()
        address = server.sockets[0].getsockname()
    else:
        server = await loop.create_unix_server(Ours, str(path))
        peer, address = socket.socket(socket.AF_UNIX), str(path)
    peer.setblocking(False)
    await loop.sock_connect(peer, address)
    transport, protocol = await made
    try:
        yield transport, protocol, peer
    finally:
        transport.abort()
        peer.close()
        await until(lambda: protocol.lost)
        server.close()
        await server.wait_closed()


async def read_end(peer):
    """Read until the other end ends it."""
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.get_running_loop().sock_recv(peer, 1_000_000):
            pass


async def test_silence_is_noticed_and_so_is_data_in_either_direction():
    async with pair() as (transport, _, peer):
        transport.write(b"x")
        assert await asyncio.get_running_loop().sock_recv(peer, 10) == b"x"
        assert was_used_within(transport, 60)

        def is_silent():
            return not was_used_within(transport, 0.2)

        def writes():
            transport.write(b"x")
            return not is_silent()

        def hears():
            peer.send(b"y")
            return not is_silent()

        await until(is_silent)
        assert was_used_within(transport, 60)
        await until(writes)
        await until(is_silent)
        await until(hears)


async def test_what_is_gone_or_no_tcp_was_not_used(short_dir):
    assert not was_used_within(None, 60)
    async with pair(short_dir / "s") as (transport, protocol, peer):
        peer.send(b"x")
        await until(lambda: protocol.received)
        assert not was_used_within(transport, 60)
    async with pair() as (transport, protocol, peer):
        peer.send(b"x")
        await until(lambda: protocol.received)
        transport.abort()
        await until(lambda: protocol.lost)
        assert not was_used_within(transport, 60)


async def test_a_memory_pair_was_not_used():
    class End(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

    near, far = End(), End()
    connect(asyncio.get_running_loop(), near, far, other_sees={"peername": ("192.0.2.1", 1)})
    near.transport.write(b"x")
    assert not was_used_within(near.transport, 60)
    assert not was_used_within(far.transport, 60)


async def test_an_end_in_order_is_no_reset():
    async with pair() as (transport, _, peer):
        transport.close()
        await read_end(peer)


@pytest.mark.parametrize("pending", [0, 20_000_000])
async def test_breaking_off_resets(pending):
    async with pair() as (transport, protocol, peer):
        transport.write(b"x" * pending)
        break_off(transport)
        with pytest.raises(ConnectionResetError):
            await read_end(peer)
        await until(lambda: protocol.lost)


async def test_breaking_off_what_is_gone_already():
    async with pair() as (transport, protocol, _):
        break_off(transport)
        break_off(transport)
        await until(lambda: protocol.lost)
        break_off(transport)
    async with pair() as (transport, protocol, _):
        transport.close()
        break_off(transport)
        await until(lambda: protocol.lost)


async def test_where_there_is_no_tcp_it_just_ends(short_dir):
    async with pair(short_dir / "s") as (transport, protocol, peer):
        break_off(transport)
        await read_end(peer)
        await until(lambda: protocol.lost)


async def test_a_memory_pair_is_aborted():
    class End(asyncio.Protocol):
        error = "none yet"

        def connection_made(self, transport):
            self.transport = transport

        def connection_lost(self, exc):
            self.error = exc

    near, far = End(), End()
    connect(asyncio.get_running_loop(), near, far, other_sees={})
    break_off(near.transport)
    await until(lambda: isinstance(far.error, ConnectionResetError))
    assert near.error is None
