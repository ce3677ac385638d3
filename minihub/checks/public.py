"""Hops from the address that users type to the running hub: through whatever stands in front, a websocket and all.

The hub's probe (`minihub.web.pages.probe`) tells how the requests arrived. What breaks them is named with its cure in the
words of the usual front proxies (`fronts`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from minihub import places
from minihub.auth import probe_keys
from minihub.checks import fronts
from minihub.checks.bench import Bench
from minihub.checks.model import CheckFailed, Found, NotTested
from minihub.store.keys import load_keys

ANSWER_S = 20.0
FIRST_MESSAGE_S = 10.0
HELD_BACK_S = 0.3
"""Events that the hub sends 1.2 s apart and that arrive closer than this were held back."""
LARGE = 128 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class Public:
    """The way from the public address to the hub that runs here."""

    bench: Bench
    url: str = ""
    """As users type it, without trailing slash."""
    is_guessed: bool = False
    """No public address is known: it is the hub's own."""
    seen: dict[str, Any] = field(default_factory=dict)
    """How a plain request arrived."""
    is_direct: bool = False
    """Nothing stands in front."""
    client: aiohttp.ClientSession | None = None
    websocket: aiohttp.ClientWebSocketResponse | None = None
    _sockets: list[socket.socket] = field(default_factory=list)
    _own_address: Any = None
    """Of our end of the plain request's connection."""

    # ---- public URL ---------------------------------------------------------------------------------------------

    async def reach(self) -> Found:
        """The address leads to this hub."""
        _verify_running(self.bench)
        self.url, self.is_guessed = self._find_url()
        await self._open_client()
        answer = await self._get()
        self.seen = self._read(*answer)
        self.is_direct = self._is_direct()
        what = "straight to the hub" if self.is_direct else "to this hub"
        advice = ""
        if self.is_guessed:
            advice = "hub.public_url is not set: what stands in front, if anything does, was not tried. Set it, or add --url URL."
        return Found(f"{self.url} leads {what}", advice)

    def _find_url(self) -> tuple[str, bool]:
        hub, wish = self.bench.settings.hub, self.bench.wish
        if given := wish.url or hub.public_url:
            parts = urlsplit(given)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise CheckFailed(f"{given!r} is no http(s) URL", "Set hub.public_url to what users type.")
            # The path is base_path, whether or not it was said.
            return f"{parts.scheme}://{parts.netloc}{hub.base_path.rstrip('/')}", False
        if not hub.port:
            raise NotTested("hub.port is 0, so where the hub listens is not known", "Add --url URL.")
        tls = self.bench.settings.tls
        scheme = "https" if tls.cert_file or tls.self_signed else "http"
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(hub.host, hub.host)  # noqa: S104 - compared, not bound
        return f"{scheme}://{host}:{hub.port}{hub.base_path.rstrip('/')}", True

    async def _open_client(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls(), force_close=True, socket_factory=self._make_socket)
        self.client = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_S, sock_read=ANSWER_S),
        )
        self.bench.stack.push_async_callback(self.client.close)

    def _make_socket(self, address: Any) -> socket.socket:
        family, kind, proto, _, _ = address
        made = socket.socket(family, kind, proto)
        self._sockets.append(made)
        return made

    def _tls(self) -> ssl.SSLContext | bool:
        if self.is_guessed:
            return False  # its certificate is for the name that users type
        own = self.bench.ground.state_dir / "tls.crt"
        if self.bench.settings.tls.self_signed and own.exists():
            context = ssl.create_default_context()
            context.load_verify_locations(own)
            return context
        return True

    def _address(self, more: str = "") -> str:
        secret = load_keys(self.bench.ground.state_dir).derive(probe_keys.PURPOSE)
        key = probe_keys.make_key(secret, self.bench.clock.wall())
        return f"{self.url}/hub/probe?key={key}{more}"

    async def _get(self) -> tuple[int, str, str]:
        assert self.client is not None
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self.client.get(self._address(), allow_redirects=False) as answer,
            ):
                self._own_address = self._sockets[-1].getsockname()[:2]
                return answer.status, await answer.text(errors="replace"), answer.headers.get("Location", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreached(self.url, error) from error

    def _is_direct(self) -> bool:
        """Whether the hub's connection is ours: nothing in between made one of its own."""
        return self._own_address is not None and list(self._own_address) == self.seen.get("peer")

    def _read(self, status: int, text: str, location: str) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            body = json.loads(text)
            if status == 200 and isinstance(body, dict) and "http_version" in body:
                return body
            if isinstance(body, dict) and body.get("status") == status and "message" in body:
                raise CheckFailed(
                    f"{self.url} leads to another hub, or to another path of this one: {body['message']} ({status})",
                    f"{fronts.PATH} The hub's hub.base_path is {self.bench.settings.hub.base_path}",
                )
        if 300 <= status < 400 and location:
            raise CheckFailed(f"{self.url} leads on to {location}", "Set hub.public_url to where it leads.")
        if status in (502, 503, 504):
            hub = self.bench.settings.hub
            raise CheckFailed(
                f"what stands in front of the hub answers {status}: it does not reach the hub",
                f"It has to go to {hub.host}:{hub.port}, by {'https' if self._hub_has_tls() else 'http'}.\n{fronts.PATH}",
            )
        raise CheckFailed(
            f"what answers at {self.url} is no hub ({status}: {' '.join(text.split())[:60]!r})",
            f"{fronts.PATH} See configs/nginx.conf.",
        )

    def _hub_has_tls(self) -> bool:
        tls = self.bench.settings.tls
        return bool(tls.cert_file or tls.self_signed)

    # ---- what is said of the browser ----------------------------------------------------------------------------

    async def headers(self) -> Found:
        """The hub is told by which scheme, at which host and from which address a browser came."""
        if self.is_direct:
            return Found("nothing stands in front that could change them")
        scheme, host = self._wanted()
        seen, client = self.seen, self.seen["client"]
        public = self.bench.settings.hub.public_url
        if (client["scheme"], _with_port(client["host"], client["scheme"])) != (scheme, host):
            raise CheckFailed(
                f"users come to {scheme}://{host}, and the hub believes that they come to "
                f"{client['scheme']}://{client['host']}: it would refuse their forms",
                self._cure_headers(scheme, host, public),
            )
        if seen["forwarded"]["for"] and not seen["trusted"]:
            raise CheckFailed(
                f"what the front proxy says of browsers is not believed: {_peer(seen)} is not in hub.trusted_proxies, so "
                "all users seem to have its address",
                f'Set hub.trusted_proxies = ["{_peer(seen)}"] and restart the hub.',
            )
        found = f"{scheme}://{host}, browsers have an address of their own"
        advice = self._odd(scheme, host)
        return Found(found if seen["forwarded"]["for"] else f"{scheme}://{host}", "\n".join(advice))

    def _wanted(self) -> tuple[str, str]:
        parts = urlsplit(self.url)
        return parts.scheme, _with_port(parts.netloc, parts.scheme)

    def _cure_headers(self, scheme: str, host: str, public: str) -> str:
        if public:
            return f"hub.public_url is {public}: set it to what users type, and restart the hub."
        lines = [f'Set hub.public_url = "{self.url}"; or have the front proxy say it:']
        odd = self._odd(scheme, host)
        if not self.seen["trusted"]:
            odd.append(f"hub.trusted_proxies has to name {_peer(self.seen)}, or nothing it says is believed.")
        return "\n".join([*lines, *odd])

    def _odd(self, scheme: str, host: str) -> list[str]:
        """What the front proxy passes on otherwise than it should, each with its cure."""
        said = self.seen["forwarded"]
        lines = []
        proto = said["proto"].rpartition(",")[2].strip().lower()
        if proto and proto != scheme:
            lines.append(
                f"X-Forwarded-Proto says {proto!r}, not {scheme!r}.\n{fronts.PROTO.format(scheme=scheme)}"
            )
        elif not proto and scheme == "https" and not self._hub_has_tls():
            lines.append(f"X-Forwarded-Proto is missing.\n{fronts.PROTO.format(scheme=scheme)}")
        told = said["host"].rpartition(",")[2].strip() or self.seen["host"]
        if _with_port(told, scheme) != host:
            name = "X-Forwarded-Host" if said["host"] else "Host"
            lines.append(f"{name} says {told!r}, not {host!r}.\n{fronts.HOST}")
        if not said["for"]:
            lines.append(
                f"X-Forwarded-For is missing: all users seem to have the address {_peer(self.seen)} (audit log, limits).\n"
                f"{fronts.ADDRESS}"
            )
        return lines

    # ---- websocket ----------------------------------------------------------------------------------------------

    async def open_websocket(self) -> Found:
        """A websocket opens, and messages pass both ways at once."""
        assert self.client is not None
        parts = urlsplit(self.url)
        try:
            async with asyncio.timeout(ANSWER_S):
                self.websocket = await self.client.ws_connect(
                    self._address(), origin=f"{parts.scheme}://{parts.netloc}", max_msg_size=0, autoping=True
                )
        except aiohttp.WSServerHandshakeError as error:
            raise await self._no_websocket(error.status) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CheckFailed(
                f"the handshake of a websocket gets no answer: {type(error).__name__} {error}", fronts.UPGRADE
            ) from error
        self.bench.stack.push_async_callback(self.websocket.close)
        await self._expect_text("its first message did not come")
        took_s = await self._echo("ping", "a small message did not come back")
        await self._echo("x" * LARGE, f"a message of {LARGE // 1024} KiB did not come back")
        return Found(f"opens; messages come back ({took_s * 1000:.0f} ms)")

    async def _no_websocket(self, status: int) -> CheckFailed:
        """Ask again without a websocket client, to see what of the handshake reaches the hub."""
        assert self.client is not None
        fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                # Without its key the hub answers it as a plain request, whatever arrives.
                self.client.get(self._address(), headers=fields, allow_redirects=False) as answer,
            ):
                seen = json.loads(await answer.text(errors="replace"))
                version, upgrade = seen["http_version"], seen["upgrade"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return CheckFailed(
                f"the front proxy answers the handshake of a websocket with {status} itself", fronts.UPGRADE
            )
        if version == "1.0":
            return CheckFailed(
                "the front proxy speaks HTTP/1.0 to the hub, which knows no websockets: kernels and terminals would not work",
                fronts.UPGRADE,
            )
        if not upgrade:
            return CheckFailed(
                "the front proxy does not pass Upgrade on: kernels and terminals would not work",
                fronts.UPGRADE,
            )
        return CheckFailed(
            f"the handshake of a websocket is answered with {status}; Upgrade arrives ({upgrade!r}), but not the rest of it, "
            "such as Connection: upgrade",
            fronts.UPGRADE,
        )

    async def _expect_text(self, problem: str) -> str:
        assert self.websocket is not None
        try:
            message = await self.websocket.receive(FIRST_MESSAGE_S)
        except TimeoutError:
            raise CheckFailed(
                f"the websocket opens, but {problem}: messages are held back", fronts.HELD
            ) from None
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise CheckFailed(f"the websocket opens, but {problem}: it was closed", fronts.HELD)
        return str(message.data)

    async def _echo(self, text: str, problem: str) -> float:
        assert self.websocket is not None
        began = self.bench.clock.monotonic()
        try:
            await self.websocket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise CheckFailed(f"the websocket opens, but {problem}: it was closed", fronts.HELD) from error
        if await self._expect_text(problem) != text:
            raise CheckFailed("what comes back over the websocket is not what was sent", fronts.HELD)
        return self.bench.clock.monotonic() - began

    async def stay_idle(self) -> Found:
        """The websocket stays open while nobody says anything."""
        assert self.websocket is not None
        began, wanted_s = self.bench.clock.monotonic(), self.bench.wish.idle_s
        with contextlib.suppress(TimeoutError):
            message = await self.websocket.receive(wanted_s)
            lasted_s = self.bench.clock.monotonic() - began
            raise CheckFailed(
                f"a silent websocket is ended after {lasted_s:.0f} s ({message.type.name.lower()}): kernels would be cut off",
                fronts.IDLE,
            )
        await self._echo("still there?", f"after {wanted_s:g} s of silence nothing comes back")
        more = "" if self.is_direct else f"Longer silences were not tried; --idle {fronts.USUAL_IDLE_S} does."
        return Found(
            f"stays open through {wanted_s:g} s of silence", "" if wanted_s >= fronts.USUAL_IDLE_S else more
        )

    # ---- event stream -------------------------------------------------------------------------------------------

    async def stream(self) -> Found:
        """Events arrive when they are sent, not at the end."""
        assert self.client is not None
        came: dict[str, float] = {}
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self.client.get(
                    self._address("&stream=1"), headers={"Accept": "text/event-stream"}
                ) as answer,
            ):
                async for line in answer.content:
                    for word in ("next", "last"):
                        if f'"event": "{word}"'.encode() in line:
                            came[word] = self.bench.clock.monotonic()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CheckFailed(
                f"an event stream breaks off: {type(error).__name__} {error}", fronts.IDLE
            ) from error
        if len(came) < 2:
            raise CheckFailed("an event stream ends before its last event", fronts.IDLE)
        if came["last"] - came["next"] < HELD_BACK_S:
            raise CheckFailed(
                "the front proxy collects events until the end: waiting pages would not move",
                fronts.BUFFERING,
            )
        return Found("events arrive as they are sent")


def _verify_running(bench: Bench) -> None:
    """Raise NotTested unless a hub runs on this state directory."""
    try:
        with (
            places.short_path(places.admin_socket(bench.ground.state_dir)) as name,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial,
        ):
            trial.settimeout(ANSWER_S)
            trial.connect(name)
    except OSError:
        raise NotTested(
            "no hub runs here", "Start it and check again, to try the way from users' browsers."
        ) from None


def _unreached(url: str, error: Exception) -> CheckFailed:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
            told = getattr(cause, "verify_message", "") or cause
            return CheckFailed(f"the certificate of {url} is not trusted: {told}", fronts.CERTIFICATE)
        case aiohttp.ClientConnectorDNSError():
            return CheckFailed(
                f"{url}: this machine knows no such host", "Add it to DNS, or to /etc/hosts here."
            )
        case TimeoutError():
            return CheckFailed(f"nothing answers at {url} within {ANSWER_S:g} s", fronts.NOBODY)
    return CheckFailed(f"nobody answers at {url}: {error}", fronts.NOBODY)


def _with_port(host: str, scheme: str) -> str:
    """`host` without the port that the scheme means anyway."""
    default = f":{_DEFAULT_PORTS.get(scheme, 0)}"
    return host.lower().removesuffix(default)


def _peer(seen: dict[str, Any]) -> str:
    peer = seen.get("peer")
    return str(peer[0]) if peer else "the front proxy"
