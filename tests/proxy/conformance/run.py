"""Running a row: the hub, its server, the client, and one more request to see whether all is in step."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from contextlib import asynccontextmanager

import pytest

from minihub.schedulers.base import Endpoint
from tests.proxy.conformance.compare import check_answers, check_requests, is_status, show
from tests.proxy.conformance.ends import RawClient, ServerEnd
from tests.proxy.conformance.kit import (
    ABORTED,
    CLOSED,
    DEAF_PORT,
    EITHER,
    HUNG_UP,
    OK,
    OPEN,
    REFUSES,
    RST,
    TICK_S,
    Answer,
    NoServer,
    Script,
    as_bytes,
    get,
    whole,
)
from tests.proxy.conformance.reader import Reader
from tests.proxy.kit import run_hub

PATIENCE_S = 8.0
"""How long anything may take before it counts as not happening: less than the hub's own ten seconds for a head."""
DEADLINES_S = 2.0
"""How much longer where the hub waits first."""

IN_STEP = "/user/alice/in-step"
"""The target of the one more request."""
_IN_STEP_ANSWER = "HTTP/1.1 200 OK\r\nX-Upstream: 1\r\nContent-Length: 7\r\n\r\nin step"


class Run:
    """One row, being run."""

    def __init__(self, case, patience_s=PATIENCE_S):
        self.case = case
        self.patience_s = patience_s + (DEADLINES_S if case.settings else 0)
        self.cues = defaultdict(asyncio.Event)
        self.problems = []
        self.clients = []
        self.connections = []
        self.requests = []
        """(connection, message, is ours) in the order of arrival."""
        self._moved = asyncio.Event()
        self._tasks = set()
        self._scripts = list(case.upstream) if isinstance(case.upstream, (list, tuple)) else []
        if isinstance(case.upstream, Script):
            self._scripts = [case.upstream]
        self.hub = None

    def poke(self):
        """Something happened: whoever waits looks again."""
        self._moved.set()

    async def until(self, test, what, seconds=None):
        """Wait until `test` holds; that it never did is a problem, unless `what` is empty."""
        try:
            async with asyncio.timeout(seconds or self.patience_s):
                while not test():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            if what:
                self.problems.append(f"waited in vain: {what}")
            return False
        return True

    async def stuck(self, transport, size):
        """Wait until what `transport` has still to send grows no smaller, and is at least `size`."""
        last = None
        while transport.get_write_buffer_size() != last:
            last = transport.get_write_buffer_size()
            await asyncio.sleep(0.1)
        if last < size:
            self.problems.append(f"all but {last} bytes were taken: there is no end to the buffers")

    def script_for(self, connection, message):
        is_probe = message.target == IN_STEP
        self.requests.append((connection, message, is_probe))
        if is_probe:
            return whole(_IN_STEP_ANSWER)
        return self._scripts.pop(0) if self._scripts else whole(OK)

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)

    @asynccontextmanager
    async def server(self):
        """The server; yields its endpoint."""
        loop = asyncio.get_running_loop()
        if self.case.upstream in (REFUSES, DEAF_PORT):
            with _DeadPort(full=self.case.upstream == DEAF_PORT) as port:
                yield Endpoint(host="127.0.0.1", port=port)
            for client in self.clients:
                client.abort()
            return
        bound = socket.create_server(("127.0.0.1", 0))
        self._make_small(bound)
        server = await loop.create_server(lambda: ServerEnd(self), sock=bound)
        try:
            yield Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for end in (*self.clients, *self.connections):
                end.abort()
            for task in self._tasks:
                task.cancel()
            for result in await asyncio.gather(*self._tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    def _make_small(self, sock):
        """Else the kernel takes whole answers for those who do not read."""
        if self.case.small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)

    async def connect(self, *, to_head=()):
        made = socket.socket()
        made.setblocking(False)
        self._make_small(made)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(made, (self.hub.host, self.hub.port))
        except OSError:
            made.close()
            raise
        reader = Reader(requests=False, to_head=to_head)
        _, client = await loop.create_connection(lambda: RawClient(self, reader), sock=made)
        self.clients.append(client)
        return client


class _DeadPort:
    """A port where nobody listens, or (full) where somebody does but accepts nobody."""

    def __init__(self, *, full):
        self._full = full

    def __enter__(self):
        self._held = [socket.socket()]
        self._held[0].bind(("127.0.0.1", 0))
        if self._full:
            self._held[0].listen(0)
            while len(self._held) < 4:
                made = socket.socket()
                made.setblocking(False)
                made.connect_ex(self._held[0].getsockname())
                self._held.append(made)
        return self._held[0].getsockname()[1]

    def __exit__(self, *_):
        for held in self._held:
            held.close()


async def check(case, start_hub=run_hub, patience_s=PATIENCE_S):
    """Run a row and compare."""
    run = Run(case, patience_s)
    async with start_hub(case.settings) as hub, run.server() as endpoint:
        run.hub = hub
        hub.route_to(endpoint)
        await _perform(run)
    if run.problems:
        pytest.fail("\n".join(run.problems), pytrace=False)


async def _perform(run):
    case = run.case
    expected = _spell_out(case.answers)
    finals = [a for a in expected if _is_final(a)]
    client = await run.connect(to_head=[a.head for a in finals])
    try:
        await client.do(case.send if isinstance(case.send, (list, tuple)) else [case.send])
        await _wait_for_answers(run, client, len(finals))
        if case.silent and not client.received:
            expected = []
        elif (
            case.instead and client.reader.messages and not is_status(client.reader.messages[0], expected[0])
        ):
            expected = _spell_out(case.instead)
        await _check_end(run, client)
        await _wait_for_requests(run)
        check_answers(run, client, expected)
        client.abort()
        await _check_next_client(run)
        check_requests(run)
    finally:
        client.abort()


def _spell_out(answers):
    return [a if isinstance(a, Answer) else Answer(a, "ok" if a == 200 else None) for a in answers]


def _is_final(wanted):
    return wanted.status == 101 or not (isinstance(wanted.status, int) and wanted.status < 200)


async def _wait_for_answers(run, client, count):
    unfinished = run.case.then == ABORTED

    def is_there():
        done = sum(m.whole for m in client.reader.finals)
        return client.ended or client.reader.problem or (done >= count and not unfinished)

    if count or run.case.then == ABORTED:
        await run.until(is_there, f"{count} answers")


async def _check_end(run, client):
    """How is the client's connection left?"""
    case, reader = run.case, client.reader
    last = reader.finals[-1] if reader.finals else None
    switched = last is not None and last.status == 101
    says_close = last is not None and last.says_close
    wanted = case.then
    if wanted == EITHER:
        # A body that ends with the connection leaves no choice.
        wanted = CLOSED if says_close or (last is not None and last.until_close) else OPEN
    if switched and case.tunnel is not None:
        await run.until(lambda: len(reader.tunnel) >= len(case.tunnel), "what follows 101")
    if wanted == OPEN:
        if switched:
            await asyncio.sleep(TICK_S)
            if client.ended:
                run.problems.append(f"the connection ended: {client.ended}")
        else:
            await _probe(run, client)
        return
    if not await run.until(lambda: client.ended, ""):
        run.problems.append(f"the connection is not {wanted}")
        return
    if wanted in (CLOSED, HUNG_UP) and client.ended == RST and case.then != EITHER:
        run.problems.append("the connection was broken off: that could lose the answer")
    if wanted == CLOSED and last is not None and not says_close:
        run.problems.append("the last answer does not say Connection: close")
    if wanted == ABORTED:
        unfinished = last is not None and (not last.whole or last.until_close)
        if client.ended == RST:
            pass
        elif switched or not unfinished or last.until_close:
            run.problems.append("the connection ended as if all were well")


async def _probe(run, client):
    """Is it in step? One more request tells."""
    if client.ended:
        run.problems.append(f"the connection is not open: {client.ended}")
        return
    if client.reader.problem or client.reader.rest:
        return  # reported elsewhere
    before = len(client.reader.messages)
    reachable = not isinstance(run.case.upstream, NoServer)
    # Where there is no server the hub's own answer must do: /user/NAME means /user/NAME/.
    client.transport.write(as_bytes(get(target=IN_STEP if reachable else "/user/alice")))
    await run.until(
        lambda: client.ended or client.reader.problem or client.answered > before, "another request's answer"
    )
    found = client.reader.messages[before:]
    wanted = (200, b"in step") if reachable else (302, None)
    if len(found) != 1 or found[0].status != wanted[0] or (wanted[1] and bytes(found[0].body) != wanted[1]):
        run.problems.append(
            f"another request on the connection gets {show(found)} {client.reader.rest[:60]!r}"
        )
    del client.reader.messages[before:]


async def _check_next_client(run):
    if isinstance(run.case.upstream, NoServer):
        return
    last = [connection.number for connection, _, is_probe in run.requests if not is_probe]
    probed = [connection.number for connection, _, is_probe in run.requests if is_probe]
    client = await run.connect()
    try:
        await _probe(run, client)
    finally:
        client.abort()
    if run.case.reuse is not None and last:
        used = (probed or [c.number for c, _, is_probe in run.requests if is_probe] or [0])[0]
        if (used == last[-1]) != run.case.reuse:
            run.problems.append(f"the next request is on connection {used} after {last[-1]}")


async def _wait_for_requests(run):
    """Wait for what is still on its way to the server, and a little for what should not be."""
    wanted = [r for r in run.case.reaches if not r.maybe and not r.cut]

    def is_there():
        complete = [m for _, m, is_probe in run.requests if m.whole and not is_probe]
        tunnels = sum(len(c.reader.tunnel) for c in run.connections)
        return len(complete) >= len(wanted) and tunnels >= sum(len(r.tunnel or "") for r in wanted)

    await run.until(is_there, "requests at the server")
    for index, (connection, _, _) in enumerate(r for r in run.requests if not r[2]):
        request = run.case.reaches[index] if index < len(run.case.reaches) else None
        if request is not None and (request.cut or request.ends):
            await run.until(lambda c=connection: c.ended, f"end of connection {connection.number}")
    await asyncio.sleep(TICK_S)
