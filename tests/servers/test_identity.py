"""The secrets of an attempt; the handshakes run in memory."""

from __future__ import annotations

import ssl
import tempfile
import time
from datetime import timedelta

import pytest
from cryptography import x509

from minihub.errors import UpstreamUnsafe
from minihub.servers.identity import client_context, make_secrets
from minihub.servers.model import Secrets

NOW = 1_800_000_000.0


def make(user="ada", now=None):
    return make_secrets(user, tls=True, not_before=now or time.time(), lifetime=timedelta(hours=3))


def server_context(tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=tls.client)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(tls.certificate + tls.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def shake_hands(server, client):
    """A whole handshake and one byte each way, without a network."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = {
        "client": client.wrap_bio(to_client, to_server),
        "server": server.wrap_bio(to_server, to_client, server_side=True),
    }
    open_ends = dict(ends)
    for _ in range(10):
        for name, end in list(open_ends.items()):
            try:
                end.do_handshake()
                del open_ends[name]
            except ssl.SSLWantReadError:
                pass
    assert not open_ends
    for sender, receiver in (("client", "server"), ("server", "client")):
        ends[sender].write(b"x")
        assert ends[receiver].read(1) == b"x"


def test_the_two_sides_of_one_attempt_meet():
    secrets, tls = make()
    shake_hands(server_context(tls), client_context(secrets))


def test_another_attempts_client_is_refused():
    secrets, _ = make()
    other, other_tls = make()
    mixed = Secrets("", "", secrets.server_cert, other.client_cert, other.client_key)
    _, tls = make()
    with pytest.raises(ssl.SSLError):
        shake_hands(server_context(tls), client_context(mixed))
    # and what a job holds, its server's pair, is no client anywhere
    stolen = Secrets("", "", secrets.server_cert, other_tls.certificate, other_tls.key)
    with pytest.raises(ssl.SSLError):
        shake_hands(server_context(tls), client_context(stolen))


def test_another_attempts_server_is_not_accepted():
    secrets, _ = make()
    _, tls = make()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_context(tls), client_context(secrets))


def test_no_certificate_can_sign_another():
    secrets, _ = make()
    for text in (secrets.server_cert, secrets.client_cert):
        certificate = x509.load_pem_x509_certificate(text.encode())
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_validity_covers_the_lifetime_and_wrong_clocks():
    secrets, _ = make(now=NOW)
    certificate = x509.load_pem_x509_certificate(secrets.server_cert.encode())
    assert certificate.not_valid_before_utc.timestamp() <= NOW - 3600
    assert certificate.not_valid_after_utc.timestamp() >= NOW + 3 * 3600 + 3600


def test_all_secrets_differ_and_none_shows():
    first, tls = make()
    second, _ = make()
    assert len({first.token, first.report, second.token, second.report}) == 4
    assert first.server_cert == tls.certificate
    assert first.client_cert == tls.client
    for hidden in (first.token, first.report, first.client_key, tls.key):
        assert len(hidden) >= 64
        assert hidden not in repr(first) + repr(tls)


def test_without_tls_there_are_only_words():
    secrets, tls = make_secrets("ada", tls=False, not_before=NOW, lifetime=timedelta(hours=1))
    assert tls is None
    assert secrets.token
    assert not secrets.server_cert
    with pytest.raises(UpstreamUnsafe):
        client_context(secrets)


def test_damaged_certificates_are_unsafe_and_not_a_crash():
    secrets, _ = make()
    for damaged in (
        Secrets("", "", "no certificate", secrets.client_cert, secrets.client_key),
        Secrets("", "", secrets.server_cert, secrets.client_cert, ""),
    ):
        with pytest.raises(UpstreamUnsafe):
            client_context(damaged)


def test_contexts_are_bare():
    secrets, _ = make()
    context = client_context(secrets)
    assert context.cert_store_stats()["x509"] == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
