"""Stands in for the hub where a job reports its port: the same address, path and certificate, for one secret."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import json

from aiohttp import web

from minihub.config import Settings
from minihub.launching import build_report_url
from minihub.tls import FrontTls

_MAX_BODY = 4096


class ReportListener:
    """Takes the report of one job."""

    def __init__(self, settings: Settings, tls: FrontTls | None, *, local: bool) -> None:
        self._settings = settings
        self._tls = tls
        self._local = local
        self._secret = ""
        self._runner: web.AppRunner | None = None
        self.url: str | None = None
        """Where jobs shall report; None: nowhere (the settings say so, or it could not be tried)."""
        self.note = ""
        """What about this differs from the real thing."""
        self.reported = asyncio.Event()
        self.port = 0

    @property
    def pin(self) -> str | None:
        """Of the certificate, as `Preparer` wants it."""
        return self._tls.pin if self._tls else None

    async def start(self) -> None:
        """Listen where the hub would; on another port if a hub does."""
        hub = self._settings.hub
        if build_report_url(self._settings, hub.port, tls=bool(self._tls), local=self._local) is None:
            return
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post(f"{hub.base_path}hub/api/report", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            port = await self._listen(hub.port)
        except OSError as error:
            await self.close()
            self.note = f"this machine cannot listen on {hub.host}: {error.strerror}"
            return
        if port != hub.port and hub.port and hub.callback_url:
            await self.close()
            self.note = (
                "a hub listens where hub.callback_url leads, so only the way by Slurm's comment was tried"
            )
            return
        if port != hub.port and hub.port:
            self.note = f"tried on port {port}, since a hub listens on {hub.port}"
        self.url = build_report_url(self._settings, port, tls=bool(self._tls), local=self._local)

    async def _listen(self, wanted: int) -> int:
        assert self._runner is not None
        context = self._tls.context if self._tls else None
        try:
            await web.TCPSite(self._runner, self._settings.hub.host, wanted, ssl_context=context).start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            await web.TCPSite(self._runner, self._settings.hub.host, 0, ssl_context=context).start()
        port = self._runner.addresses[0][1]
        assert isinstance(port, int)
        return port

    def expect(self, secret: str) -> None:
        """Only who knows this is believed."""
        self._secret = secret

    async def _take(self, request: web.Request) -> web.Response:
        with contextlib.suppress(ValueError, AttributeError):
            body = json.loads(await request.text())
            secret, port = str(body.get("secret", "")), body.get("port")
            known = self._secret and hmac.compare_digest(secret.encode(), self._secret.encode())
            if known and type(port) is int and 0 <= port < 65536:
                self.port = port
                self.reported.set()
                return web.Response(status=204)
        return web.Response(status=409)

    async def close(self) -> None:
        """Listen no longer."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
