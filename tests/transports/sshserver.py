"""A real ssh server in this process, on a free port, whose "login shell" and moods a test scripts."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncssh

from minihub.transports.framing import REMOTE_COMMAND
from tests.fakes import until


class FakeLoginNode:
    """sshd and an account whose start-up file is `startup`. Commands really run, by real shells, as ourselves."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.startup = ""
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.authorized = ""
        self.max_sessions = 10
        self.deaf_channels = False
        """Neither accept nor refuse a channel."""
        self.unheard = 0
        """Channels asked for meanwhile."""
        self.logins: list[str] = []
        self.commands: list[str] = []
        self.channels: list[asyncssh.SSHServerChannel] = []
        self.open_now = 0
        self.most_open = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.port = 0
        self._listener: asyncssh.SSHAcceptor | None = None

    async def start(self, port: int = 0) -> None:
        self._listener = await asyncssh.listen(
            "127.0.0.1",
            port,
            server_host_keys=[self.host_key],
            server_factory=lambda: Sshd(self),
            authorized_client_keys=asyncssh.import_authorized_keys(self.authorized),
            encoding=None,
            keepalive_interval=0,
        )
        self.port = self._listener.get_port()

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
            self._listener = None
        self.drop()
        await until(lambda: not self.connections)

    def drop(self) -> None:
        """Break every connection, as a cut cable would."""
        for connection in tuple(self.connections):
            connection.abort()

    def known_hosts_line(self) -> str:
        key = self.host_key.export_public_key().decode().strip()
        return f"[127.0.0.1]:{self.port} {key}\n"

    async def shell(self, stdin, stdout, stderr) -> None:
        """Run what was asked, with the start-up file before it, as sshd and bash do."""
        channel = stdin.channel
        self.channels.append(channel)
        self.commands.append(channel.get_command())
        assert channel.get_command() == REMOTE_COMMAND
        process = await asyncio.create_subprocess_exec(
            *("/bin/bash", "-c", f"{self.startup}\n{channel.get_command()}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "x"},
            start_new_session=True,
        )
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        pumps = [
            asyncio.create_task(self._pump(stdin.read, process.stdin.write, process.stdin.close)),
            asyncio.create_task(self._pump(process.stdout.read, stdout.write)),
            asyncio.create_task(self._pump(process.stderr.read, stderr.write)),
        ]
        try:
            await asyncio.gather(*pumps[1:])
            channel.exit(await process.wait())
        finally:
            self.open_now -= 1
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            if process.returncode is None:
                os.killpg(process.pid, 9)
                await process.wait()
            process._transport.close()  # a grandchild may still hold the pipes

    @staticmethod
    async def _pump(read, write, close=lambda: None) -> None:
        try:
            while data := await read(65536):
                write(data)
            close()
        except (OSError, asyncssh.Error):
            close()


class Sshd(asyncssh.SSHServer):
    def __init__(self, node: FakeLoginNode) -> None:
        self.node = node

    def connection_made(self, conn) -> None:
        self.conn = conn
        self.node.connections.add(conn)

    def connection_lost(self, exc) -> None:
        self.node.connections.discard(self.conn)

    def begin_auth(self, username: str) -> bool:
        self.node.logins.append(username)
        return True

    def session_requested(self):
        if self.node.deaf_channels:
            self.node.unheard += 1
            return self._never()
        if self.node.open_now >= self.node.max_sessions:
            return False
        return self.node.shell

    @staticmethod
    async def _never():
        await asyncio.sleep(60)

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port) -> bool:
        return dest_host == "127.0.0.1"
