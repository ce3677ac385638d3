"""TLS in front of the hub: certificate files, or a self-signed certificate for trying it out; renewal without restart.

Touches the certificate files and `cryptography`; TLS 1.2 and newer, HTTP/1.1 only.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import ConfigError
from minihub.store.keys import write_private

log = logging.getLogger(__name__)

RELOAD_S = 60.0
_SELF_SIGNED_LIFETIME = timedelta(days=825)


class FrontTls:
    """The certificate in front; `context` takes a renewed one within a minute."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._cert_file, self._key_file = cert_file, key_file
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._loaded = self._stamp()
        self._load()

    def _stamp(self) -> tuple[int, int]:
        try:
            return self._cert_file.stat().st_mtime_ns, self._key_file.stat().st_mtime_ns
        except OSError as error:
            raise ConfigError(f"tls: {error.filename}: {error.strerror}") from error

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self._cert_file, self._key_file)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"tls: {self._cert_file} and {self._key_file} are no usable pair: {error}"
            ) from error

    @property
    def pin(self) -> str:
        """SHA-256 (hex) of the first certificate in DER: launchers report to nobody else."""
        first = self._cert_file.read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0].lstrip() + first[1])).hexdigest()

    async def reload_when_renewed(self) -> None:
        """Look at the files now and then; never returns. A broken renewal keeps the old certificate."""
        while True:
            await asyncio.sleep(RELOAD_S)
            try:
                stamp = self._stamp()
                if stamp != self._loaded:
                    self._load()
                    self._loaded = stamp
                    log.info("loaded the renewed certificate %s", self._cert_file)
            except ConfigError as error:
                log.error("the certificate was not renewed, the old one stays: %s", error)


def load_front_tls(settings: Settings, state_dir: Path, clock: Clock) -> FrontTls | None:
    """The TLS that the settings ask for, None if none.

    Raises:
        ConfigError: The files are missing or do not fit together.
    """
    tls = settings.tls
    if tls.cert_file:
        return FrontTls(Path(tls.cert_file), Path(tls.key_file or tls.cert_file))
    if not tls.self_signed:
        return None
    cert_file, key_file = state_dir / "tls.crt", state_dir / "tls.key"
    if not cert_file.exists():
        _make_self_signed(cert_file, key_file, settings.hub.host, clock.wall())
        log.warning(
            "made a self-signed certificate %s: browsers will warn; use a real one for more than a trial",
            cert_file,
        )
    return FrontTls(cert_file, key_file)


def _make_self_signed(cert_file: Path, key_file: Path, host: str, now: float) -> None:
    # Needed once in a hub's life, and only for trials.
    from cryptography import x509  # noqa: PLC0415

    from minihub.servers.identity import make_self_signed  # noqa: PLC0415

    start = datetime.fromtimestamp(now, UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName(socket.gethostname())]
    for text in {"127.0.0.1", host}:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    certificate, key = make_self_signed(
        "minihub (self-signed)",
        start - timedelta(hours=1),
        start + _SELF_SIGNED_LIFETIME,
        [(x509.SubjectAlternativeName(names), False)],
    )
    # The certificate last: where it is, both are whole.
    write_private(key_file, key.encode())
    write_private(cert_file, certificate.encode())
