"""Ways to the hub, and what is said where there is none."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from minihub import cli
from minihub.command.reach import Way, way_by_socket
from minihub.config import Settings, parse_settings
from minihub.servers.identity import make_self_signed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def token_file(directory):
    path = directory / "token"
    path.write_text("mh_secret\n")
    path.chmod(0o600)
    return str(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_the_admin_socket_needs_no_token(minihub, hub, monkeypatch):
    hub.will("GET", "/users", [])
    monkeypatch.setenv("MINIHUB_TOKEN", "mh_for_elsewhere")
    assert (await minihub("users", "list")).status == 0
    assert "Authorization" not in hub.headers


async def test_by_url_with_a_token_from_a_file_or_the_environment(minihub, hub, token_file, monkeypatch):
    hub.token = "mh_secret"
    hub.will("GET", "/users", [])
    for url in (hub.url, f"{hub.url}/", f"{hub.url}/hub", f"{hub.url}/hub/", f"{hub.url}/hub/api"):
        assert (await minihub("users", "list", "--url", url, "--token-file", token_file)).status == 0
    monkeypatch.setenv("MINIHUB_TOKEN", "mh_secret")
    assert (await minihub("users", "list", "--url", hub.url)).status == 0
    monkeypatch.setenv("MINIHUB_TOKEN", "mh_other")
    done = await minihub("users", "list", "--url", hub.url)
    assert done.status == 5
    assert "This token is unknown, expired or revoked." in done.err
    assert "mh_other" not in done.err


async def test_by_url_no_settings_are_read(minihub, hub, directory, token_file):
    hub.will("GET", "/users", [])
    (directory / "minihub.toml").write_text("[hub]\nprot = 1\n")
    assert (await minihub("users", "list", "--url", hub.url, "--token-file", token_file)).status == 0
    assert (await minihub("users", "list")).status == 1


async def test_a_token_is_never_sent_in_the_clear_or_taken_from_an_open_file(minihub, token_file):
    done = await minihub("users", "list", "--url", "http://hub.example.org", "--token-file", token_file)
    assert (done.status, "in the clear" in done.err) == (2, True)
    os.chmod(token_file, 0o640)
    done = await minihub("users", "list", "--url", "https://hub.example.org", "--token-file", token_file)
    assert (done.status, f"chmod 600 {token_file}" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--url", "hub.example.org"], "no address of a hub"),
        (["--url", "https://me:pw@hub.example.org"], "no passwords"),
        (["--url", "https://hub.example.org"], "needs an API token"),
        (["--url", "https://x", "--token-file", "/nowhere/token"], "No such file"),
        (["--token-file", "/nowhere/token"], "goes with --url"),
        (["--insecure"], "goes with --url"),
        (["--ca-file", "x"], "goes with --url"),
    ],
)
async def test_wrong_usage(minihub, words, said):
    done = await minihub("users", "list", *words)
    assert (done.status, said in done.err) == (2, True), done.err


async def test_a_file_that_is_no_token_or_no_certificate(minihub, token_file, directory):
    url = ("--url", "https://127.0.0.1:1")
    wrong = directory / "wrong"
    wrong.write_text("two words\n")
    wrong.chmod(0o600)
    done = await minihub("users", "list", *url, "--token-file", str(wrong))
    assert (done.status, "this is no token" in done.err, "two words" in done.err) == (2, True, False)
    done = await minihub("users", "list", *url, "--token-file", token_file, "--ca-file", str(wrong))
    assert (done.status, "holds no certificates" in done.err) == (2, True)


async def test_no_hub_runs_here(minihub, directory):
    done = await minihub("servers", "list")
    assert done.status == 3
    assert f"nobody listens at {directory}/state/admin.sock" in done.err
    assert "systemctl start minihub" in done.err
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(directory / "state" / "admin.sock"))
    dead.close()
    assert (await minihub("servers", "list")).status == 3


async def test_somebody_who_may_not_use_the_socket_is_told_who_may(hub, directory):
    directory.chmod(0o755)
    (directory / "minihub.toml").chmod(0o644)
    program = (
        "import os, sys; os.setgid(65534); os.setuid(65534); from minihub.cli import main; sys.exit(main())"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, "servers", "list", "--config", str(directory / "minihub.toml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 5, done.stderr
    assert "Only root and the hub's own user may use" in done.stderr
    assert "Use sudo" in done.stderr


async def test_nobody_at_the_url(minihub, token_file):
    done = await minihub(
        "users", "list", "--url", f"http://127.0.0.1:{free_port()}", "--token-file", token_file
    )
    assert (done.status, "Nobody answers at" in done.err, "mh_secret" in done.err) == (3, True, False)
    done = await minihub("users", "list", "--url", "https://no-such-host.invalid", "--token-file", token_file)
    assert (done.status, "there is no such host" in done.err) == (3, True)


@pytest.fixture
async def tls_hub(hub, directory):
    """The stand-in behind a certificate that no system trusts."""
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate, key = make_self_signed(
        "minihub", now - timedelta(hours=1), now + timedelta(hours=1), [(names, False)]
    )
    (directory / "hub.pem").write_text(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "hub.pem")
    app = web.Application()
    app.router.add_route("*", "/hub/api{rest:.*}", hub.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_tls_is_verified(minihub, hub, tls_hub, token_file, directory):
    hub.will("GET", "/users", [])
    words = ["users", "list", "--token-file", token_file, "--url", f"https://localhost:{tls_hub}"]
    done = await minihub(*words)
    assert (done.status, hub.asked) == (3, [])
    assert "is not trusted: self-signed certificate" in done.err
    assert "--ca-file" in done.err
    assert (await minihub(*words, "--ca-file", str(directory / "hub.pem"))).status == 0
    assert (await minihub(*words, "--insecure")).status == 0
    # The right certificate at a name that is not in it.
    words[-1] = f"https://127.0.0.1:{tls_hub}"
    done = await minihub(*words, "--ca-file", str(directory / "hub.pem"))
    assert (done.status, "127.0.0.1" in done.err) == (3, True)


async def test_what_answers_is_no_hub(minihub, hub, token_file):
    url = ["--url", hub.url, "--token-file", token_file]
    for body, status in (
        ("<html>Welcome to nginx!</html>", 200),
        ("<html>Bad Gateway</html>", 502),
        ({"x": 1}, 200),
    ):
        hub.will("GET", "/users", body, status)
        done = await minihub("users", "list", *url)
        assert (done.status, "no minihub that we understand" in done.err) == (3, True)
    moved = web.Response(status=301, headers={"Location": "https://elsewhere.example/"})
    hub.will("GET", "/users", lambda _: moved)
    done = await minihub("users", "list", *url)
    assert (done.status, "sends us to https://elsewhere.example/" in done.err) == (3, True)


@pytest.mark.parametrize(
    ("status", "exit_status"), [(400, 1), (401, 5), (403, 5), (404, 4), (409, 1), (500, 1), (503, 1)]
)
async def test_refusals_have_their_exit_status_and_the_hubs_words(minihub, hub, status, exit_status):
    fields = {"sort": "No such column."}
    hub.will("GET", "/users", {"status": status, "message": "Not so.", "fields": fields}, status)
    done = await minihub("users", "list")
    assert (done.status, done.out) == (exit_status, "")
    assert done.err == "minihub: Not so.\nminihub: sort: No such column.\n"


def test_the_token_is_in_no_representation():
    assert "mh_secret" not in repr(Way("https://hub.example.org/hub/api", "the hub", token="mh_secret"))


def test_the_hub_may_have_been_started_by_somebody_else(monkeypatch, tmp_path):
    """As its own user one asks a hub that root has started, which keeps its state elsewhere."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    system = Path("/var/lib/minihub/admin.sock")
    assert cli._sockets(Settings()) == [tmp_path / "minihub" / "admin.sock", system]
    named = parse_settings({"hub": {"state_dir": "/srv/hub"}})
    assert cli._sockets(named) == [Path("/srv/hub/admin.sock")]


async def test_the_first_socket_on_which_a_hub_listens_is_taken(hub, directory):
    dead = directory / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))
    live = directory / "state" / "admin.sock"
    with way_by_socket([directory / "none.sock", dead, live], "/") as way:
        assert (way.is_local, way.socket_path) == (True, str(live))
