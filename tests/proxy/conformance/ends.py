"""The two ends of the hub: a raw client, and a raw server in Jupyter's place. Protocols, not streams: these lose what
came just before a connection was broken off.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct

from tests.proxy.conformance.kit import (
    FIN,
    HANGS_UP,
    RESETS,
    RST,
    Await,
    Cue,
    Drip,
    Ended,
    Got,
    Mark,
    Only,
    Pause,
    Reached,
    Seen,
    Stuck,
    Taken,
    Torn,
    as_bytes,
    is_data,
)
from tests.proxy.conformance.reader import Reader


class End(asyncio.Protocol):
    """One end of a connection: keeps what it receives, and how that ended."""

    def __init__(self, run, reader):
        self.run = run
        self.reader = reader
        self.received = bytearray()
        self.ended = None
        self.transport = None
        self.tunnel = False

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.received += data
        self.reader.feed(data)
        self.run.poke()

    def eof_received(self):
        self._end(FIN)
        return True

    def connection_lost(self, error):
        self._end(RST if error else FIN)

    def _end(self, how):
        if self.ended is None or how == RST:
            self.ended = how
        self.reader.end()
        self.run.poke()

    def abort(self):
        """Send RST, even with everything read and written."""
        if not self.transport.is_closing():
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.transport.abort()

    async def step(self, step):
        """Do one step that both ends know."""
        match step:
            case Mark.DEAF:
                self.transport.pause_reading()
            case Mark.HEAR:
                self.transport.resume_reading()
            case Mark.RST:
                self.abort()
            case str() | bytes():
                self.transport.write(as_bytes(step))
            case Torn(data=data):
                for at in range(len(data)):
                    self.transport.write(as_bytes(data[at : at + 1]))
                    for _ in range(3):  # the hub, in this very loop, reads it meanwhile
                        await asyncio.sleep(0)
            case Drip(data=pieces, seconds=seconds):
                for piece in pieces:
                    await asyncio.sleep(seconds)
                    if self.ended:
                        break
                    self.transport.write(as_bytes(piece))
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
            case Got(data=data):
                await self.run.until(lambda: as_bytes(data) in self.received, f"receive {data!r}")
            case Taken(size=size):
                await self.run.until(lambda: len(self.received) >= size, f"receive {size} bytes")
            case Stuck(size=size):
                await self.run.stuck(self.transport, size)
            case Cue(name=name):
                self.run.cues[name].set()
                self.run.poke()
            case Await(name=name):
                await self.run.until(self.run.cues[name].is_set, f"cue {name}")


class RawClient(End):
    """The browser's end."""

    async def do(self, steps):
        for step in steps:
            match step:
                case Mark.FIN:
                    self.transport.write_eof()
                case Seen(count=count):
                    await self.run.until(lambda n=count: self.answered >= n, f"see {count} answers")
                case Reached(data=data):
                    await self.run.until(
                        lambda d=data: any(as_bytes(d) in c.received for c in self.run.connections),
                        f"reach the server: {data!r}",
                    )
                case Ended(number=number):
                    await self.run.until(
                        lambda n=number: len(self.run.connections) >= n and self.run.connections[n - 1].ended,
                        f"end connection {number}",
                    )
                case Only(count=count):
                    begun = sum(bool(c.received) for c in self.run.connections)
                    begun = max(begun, len(self.run.requests))
                    if begun != count:
                        self.run.problems.append(f"{begun} requests have reached the server, not {count}")
                case _ if self.transport.is_closing() and (is_data(step) or step == RST):
                    return
                case _:
                    await self.step(step)

    @property
    def answered(self):
        return sum(message.whole for message in self.reader.messages)


class ServerEnd(End):
    """The server's end: runs the script of each request that arrives."""

    def __init__(self, run):
        super().__init__(run, Reader(requests=True))
        self.number = 0
        self._begun = 0
        self._scripts = {}
        self.switched = []

    def connection_made(self, transport):
        super().connection_made(transport)
        self.run.connections.append(self)
        self.number = len(self.run.connections)
        if self.run.case.upstream == HANGS_UP:
            transport.close()
        elif self.run.case.upstream == RESETS:
            self.abort()

    def data_received(self, data):
        super().data_received(data)
        self._look()

    def eof_received(self):
        super().eof_received()
        # As servers do; but a switched connection is closed in each direction by itself.
        return self.tunnel

    def _look(self):
        """Begin the script of the request that has come as far as its script wants."""
        while len(self.reader.messages) > self._begun:
            message = self.reader.messages[self._begun]
            script = self._scripts.get(self._begun)
            if script is None:
                script = self._scripts[self._begun] = self.run.script_for(self, message)
            if not (script.early or message.whole):
                return
            self._begun += 1
            self.run.start(self._perform(script, message))

    async def _perform(self, script, message):
        switches = bool(
            message.is_handshake and re.match(rb"(HTTP/1.1 1(?!01)[^\n]*\r\n\r\n)*HTTP/1.1 101", script.text)
        )
        self.switched.append(switches)
        decided = not message.is_handshake
        for step in script.steps:
            if not decided and is_data(step):
                decided = True
                if self.reader.rest:
                    self.run.problems.append(f"before the switch the server got {self.reader.rest[:60]!r}")
                self.tunnel = switches
                self.reader.decide(switches=switches)
            if self.transport.is_closing():
                return
            match step:
                case Mark.HOLD:
                    await asyncio.Event().wait()
                case Mark.WHOLE:
                    await self.run.until(lambda: message.whole, "the whole request")
                case Mark.FIN:
                    self.transport.close()
                case Mark.HALF:
                    self.transport.write_eof()
                case _:
                    await self.step(step)
