"""The edge to `cryptography` and `ssl`: the secrets of one attempt, and the TLS context that uses them.

There is no authority. Each attempt has one self-signed pair for the server and one for the hub as its client, and each
side trusts exactly the other's certificate: with a shared authority, one user's server certificate would open
another's server.
"""

from __future__ import annotations

import os
import secrets as random
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from minihub.errors import UpstreamUnsafe
from minihub.servers.model import Secrets, ServerTls

CLOCK_SKEW = timedelta(hours=1)
"""How far a node's clock may be behind or ahead of ours."""


def make_secrets(
    user: str, *, tls: bool, not_before: float, lifetime: timedelta
) -> tuple[Secrets, ServerTls | None]:
    """Make what only the hub and one job know.

    Args:
        user: Goes into the certificates' names, for people who look at them; nothing depends on it.
        tls: False for plain TCP and unix sockets.
        not_before: Wall seconds, now.
        lifetime: How long the certificates are valid: more than queue and time limit together.

    Returns:
        The hub's part, and the job's part (None without TLS).
    """
    token, report = random.token_hex(32), random.token_hex(32)
    if not tls:
        return Secrets(token=token, report=report), None
    start = datetime.fromtimestamp(not_before, UTC)
    until = start + lifetime + CLOCK_SKEW
    start -= CLOCK_SKEW
    server_cert, server_key = _make_pair(
        f"minihub server {user}", ExtendedKeyUsageOID.SERVER_AUTH, start, until
    )
    client_cert, client_key = _make_pair(f"minihub hub {user}", ExtendedKeyUsageOID.CLIENT_AUTH, start, until)
    hub = Secrets(
        token=token, report=report, server_cert=server_cert, client_cert=client_cert, client_key=client_key
    )
    return hub, ServerTls(certificate=server_cert, key=server_key, client=client_cert)


def _make_pair(name: str, use: ObjectIdentifier, start: datetime, until: datetime) -> tuple[str, str]:
    # Trusted for itself alone: it signs nobody else.
    alone = (x509.BasicConstraints(ca=False, path_length=None), True)
    return make_self_signed(name, start, until, (alone, (x509.ExtendedKeyUsage([use]), True)))


def make_self_signed(
    name: str, start: datetime, until: datetime, extensions: Sequence[tuple[x509.ExtensionType, bool]]
) -> tuple[str, str]:
    """Make a key and a certificate for it that nobody else has signed.

    Args:
        name: Its common name; what is too long for one is cut off.
        start: Valid from.
        until: Valid to.
        extensions: Each with whether it is critical.

    Returns:
        Certificate and key, both PEM.
    """
    # P-256 and not ed25519: as quick (0.2 ms), and known to every OpenSSL that a node may have.
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(until)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def client_context(secrets: Secrets) -> ssl.SSLContext:
    """The TLS context with which the hub reaches this attempt's server, and no other one.

    Bare: no default authorities are loaded (they cost 0.8 MB in each context). Names are not checked, since the very
    certificate is.

    Raises:
        UpstreamUnsafe: The attempt has no TLS identity, or a damaged one.
    """
    if not secrets.server_cert:
        raise UpstreamUnsafe("This server has no TLS identity.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=secrets.server_cert)
        _load_pair(context, secrets)
    except (ssl.SSLError, ValueError) as error:
        raise UpstreamUnsafe("This server's TLS identity is damaged.", detail=str(error)) from error
    return context


def _load_pair(context: ssl.SSLContext, secrets: Secrets) -> None:
    # The ssl module takes a pair from a file only; this one lies in memory and has no name in any directory.
    descriptor = os.memfd_create("minihub-client-pair", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(f"{secrets.client_key}\n{secrets.client_cert}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
