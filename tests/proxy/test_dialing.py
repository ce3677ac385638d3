"""Ways to servers: each kind, and each kind of impostor; and the pools of connections."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import tracemalloc
from contextlib import asynccontextmanager

import pytest

from minihub.config import parse_settings
from minihub.errors import ConnectFailed, UpstreamError, UpstreamUnsafe
from minihub.proxy.dialing import Dialer, _edge
from minihub.proxy.pool import Pool, Pools, make_rules
from minihub.proxy.question import get
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Route, Secrets
from minihub.tasks import TaskKeeper
from tests.proxy.kit import make_tls, serve, until

PLAIN = Secrets("upstream-token", "report-secret")
OTHER_UID = 54321


def route(endpoint, secrets=PLAIN, **more):
    return Route("alice", "a1", endpoint, secrets, **more)


class Forwarder:
    """Leads to one socket, or nowhere."""

    def __init__(self, path):
        self.path = path
        self.calls = []

    async def open_forward(self, user, host, port):
        self.calls.append(("open", user, host, port))
        if self.path is None:
            raise ConnectFailed("no login node")
        return self.path

    async def close_forward(self, user, host, port):
        self.calls.append(("close", user, host, port))


@asynccontextmanager
async def upstream(endpoint, secrets=PLAIN, forwarder=None, **more):
    keeper = TaskKeeper()
    wanted = route(endpoint, secrets, **more)
    made = Pool(wanted, Dialer(wanted, forwarder, timeout_s=5), keeper, rules())
    try:
        yield made
    finally:
        await made.close()
        await keeper.close()


def rules():
    return make_rules(parse_settings({}))


async def ask(pool, target="/user/alice/x"):
    return await get(pool, target, timeout_s=5)


async def test_tcp(backend):
    async with serve(backend) as endpoint, upstream(endpoint) as connection:
        assert (await ask(connection))[0] == 200
        assert (await ask(connection))[0] == 200
    assert len(backend.connections) == 1


async def test_a_host_name_is_looked_up(backend):
    async with (
        serve(backend) as endpoint,
        upstream(Endpoint(host="localhost", port=endpoint.port)) as connection,
    ):
        assert (await ask(connection))[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-node.invalid"])
async def test_nobody_there(unused_tcp_port, host):
    async with upstream(Endpoint(host=host, port=unused_tcp_port)) as connection:
        with pytest.raises(UpstreamError) as caught:
            await ask(connection)
        assert not isinstance(caught.value, UpstreamUnsafe)


async def test_an_endpoint_without_anything():
    async with upstream(Endpoint()) as connection:
        with pytest.raises(UpstreamError):
            await ask(connection)


# -- unix sockets --------------------------------------------------------------------------------------------


async def test_unix_socket_of_the_right_owner(backend, short_dir):
    async with serve(backend, path=short_dir / "s") as endpoint, upstream(endpoint) as connection:
        assert (await ask(connection))[0] == 200


IMPOSTOR = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listening.listen()
print("ready", flush=True)
connection, _ = listening.accept()
sys.stdout.write(repr(connection.recv(1000)))
"""


@pytest.mark.parametrize("expected", [0, None])
async def test_unix_socket_of_somebody_else(short_dir, expected):
    """The impostor really listens with another uid, and must see no byte."""
    short_dir.chmod(0o777)
    path = short_dir / "s"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", IMPOSTOR, path],
        user=OTHER_UID,
        group=OTHER_UID,
        cwd="/",
        stdout=subprocess.PIPE,
    )
    assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
    async with upstream(Endpoint(path=str(path), uid=expected)) as connection:
        with pytest.raises(UpstreamUnsafe, match=str(OTHER_UID)):
            await ask(connection)
    with process.stdout:
        assert await asyncio.to_thread(process.stdout.read) == b"b''"
    assert process.wait(30) == 0


async def test_unix_socket_that_is_a_link_to_somebody_elses(backend, short_dir):
    """The owner of the link is of no interest; who listens is."""
    async with serve(backend, path=short_dir / "s"):
        link = short_dir / "link"
        link.symlink_to(short_dir / "s")
        os.chown(link, OTHER_UID, OTHER_UID, follow_symlinks=False)
        async with upstream(Endpoint(path=str(link), uid=OTHER_UID)) as connection:
            with pytest.raises(UpstreamUnsafe):
                await ask(connection)


async def test_no_unix_socket(short_dir):
    async with upstream(Endpoint(path=str(short_dir / "none"), uid=os.getuid())) as connection:
        with pytest.raises(UpstreamError) as caught:
            await ask(connection)
        assert not isinstance(caught.value, UpstreamUnsafe)


# -- mutual TLS ----------------------------------------------------------------------------------------------


async def test_mutual_tls(backend, tmp_path):
    tls = make_tls()
    async with (
        serve(backend, tls=tls.server_context(tmp_path)) as endpoint,
        upstream(endpoint, tls.secrets) as connection,
    ):
        assert (await ask(connection))[0] == 200


async def test_an_idle_pool_forgets_its_tls_context_but_not_its_distrust(backend, tmp_path, monkeypatch):
    monkeypatch.setattr("minihub.proxy.dialing.KEEP_TLS_S", 0.05)
    tls = make_tls()
    async with serve(backend, tls=tls.server_context(tmp_path)) as endpoint:
        async with upstream(endpoint, tls.secrets) as connection:
            assert (await ask(connection))[0] == 200
            await until(lambda: connection._dialer._tls is None)
            assert (await ask(connection))[0] == 200
        async with upstream(endpoint, make_tls().secrets) as connection:
            with pytest.raises(UpstreamUnsafe):
                await ask(connection)


async def test_another_attempts_certificate_is_not_believed(backend, tmp_path):
    async with (
        serve(backend, tls=make_tls().server_context(tmp_path)) as endpoint,
        upstream(endpoint, make_tls().secrets) as connection,
    ):
        with pytest.raises(UpstreamUnsafe):
            await ask(connection)
    assert backend.requests == 0


async def test_a_server_that_wants_another_client_is_not_reached(backend, tmp_path):
    """With TLS 1.3 its refusal comes after the handshake, or just as an end: no server of ours, but no proof of it."""
    tls, other = make_tls(), make_tls().secrets
    s = tls.secrets
    async with serve(backend, tls=tls.server_context(tmp_path)) as endpoint:
        async with upstream(
            endpoint, Secrets(s.token, s.report, s.server_cert, other.client_cert, other.client_key)
        ) as connection:
            with pytest.raises(UpstreamError):
                await ask(connection)
        async with upstream(endpoint, Secrets(s.token, s.report, s.server_cert)) as connection:
            with pytest.raises(UpstreamError):
                await ask(connection)
    assert backend.requests == 0


async def test_a_server_without_tls_is_not_believed(backend):
    async with serve(backend) as endpoint, upstream(endpoint, make_tls().secrets) as connection:
        with pytest.raises(UpstreamUnsafe):
            await ask(connection)
    assert backend.requests == 0


async def test_a_tls_server_that_hangs_up_may_still_come():
    async def hang_up(_, writer):
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    endpoint = Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    async with server, upstream(endpoint, make_tls().secrets) as connection:
        with pytest.raises(UpstreamError) as caught:
            await ask(connection)
        assert not isinstance(caught.value, UpstreamUnsafe)


@pytest.mark.parametrize(
    ("error", "distrust"),
    [
        (ssl.SSLCertVerificationError("x"), True),
        (ssl.SSLError("wrong version"), True),
        (ssl.SSLEOFError("x"), False),
        (ssl.SSLZeroReturnError("x"), False),
        (ConnectionResetError("x"), False),
    ],
)
async def test_a_broken_line_is_no_impostor(error, distrust):
    with pytest.raises(UpstreamError) as caught, _edge():
        raise OSError from error
    assert isinstance(caught.value, UpstreamUnsafe) is distrust


# -- through ssh ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secured", [True, False])
async def test_through_a_forward(backend, tmp_path, short_dir, secured):
    tls = make_tls() if secured else None
    path = short_dir / "f"
    async with serve(backend, tls=tls.server_context(tmp_path) if tls else None) as endpoint:

        async def copy(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        async def forward(reader, writer):
            far_reader, far_writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)

        forwarder = Forwarder(path)
        secrets = tls.secrets if tls else PLAIN
        far = Endpoint(host="node-7", port=1234)
        async with await asyncio.start_unix_server(forward, path):
            async with upstream(far, secrets, forwarder, via_ssh=True) as connection:
                assert (await ask(connection))[0] == 200
                assert forwarder.calls == [("open", "alice", "node-7", 1234)]
            await until(lambda: len(forwarder.calls) > 1)
        assert forwarder.calls[1:] == [("close", "alice", "node-7", 1234)]


async def test_no_way_through_ssh():
    far = Endpoint(host="node-7", port=1234)
    async with upstream(far, PLAIN, Forwarder(None), via_ssh=True) as connection:
        with pytest.raises(UpstreamError, match="no login node"):
            await ask(connection)
    async with upstream(far, PLAIN, None, via_ssh=True) as connection:
        with pytest.raises(UpstreamError):
            await ask(connection)


# -- all pools -------------------------------------------------------------------------------------------


async def test_one_pool_per_route(backend):
    keeper = TaskKeeper()
    pools = Pools(keeper, rules())
    one = Endpoint(host="a", port=1)
    first = pools.get(route(one))
    assert pools.get(route(one)) is first
    assert pools.get(route(one, Secrets("other", "x"))) is not first
    second = pools.get(Route("alice", "a2", one, PLAIN))
    assert second is not first
    assert pools.get(Route("bob", "a2", one, PLAIN)) is not second
    pools.drop("alice")
    assert pools.get(Route("alice", "a2", one, PLAIN)) is not second
    await pools.close()
    await keeper.close()


async def test_nothing_is_made_before_it_is_needed():
    """A hundred idle servers cost next to nothing."""
    keeper, secrets = TaskKeeper(), make_tls().secrets
    pools = Pools(keeper, rules())
    tracemalloc.start()
    for n in range(100):
        pools.get(Route(f"u{n}", "a", Endpoint(host="h", port=1), secrets))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 120_000
    await pools.close()
