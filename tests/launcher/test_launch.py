"""The launcher with real Jupyter servers."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import time
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from minihub import launcher
from minihub.launcher.launch import JUPYTER_GRACE_S
from minihub.servers.identity import client_context, make_secrets
from minihub.servers.jobscript import build_proof_path, default_path, verify_proof

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", ["launch.py", "inside.py", "report.py"])
def test_runs_on_python_3_8(name):
    ast.parse(launcher.source(name), feature_version=(3, 8))
    assert "import minihub" not in launcher.source(name).replace("no import minihub", "")


def test_the_launcher_imports_next_to_nothing():
    """Each job pays for it: with json, re and signal it took twice as long, with ssl four times."""
    code = (
        "import sys, os; before = set(sys.modules); exec(sys.stdin.read()); print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", code],
        input=launcher.source("launch.py"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) <= {"__future__", "errno", "pwd", "_signal", "stat", "time"}


# ------------------------------------------------------------------------------------------------------ who gets in


def test_mutual_tls_lets_only_this_attempts_hub_in(launch):
    job = launch(tls=True).wait_ready()
    other, _ = make_secrets("eve", tls=True, not_before=time.time(), lifetime=timedelta(hours=1))

    assert job.request("api/status").status == 200
    assert job.request("api/contents", token=None).status == 403

    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname = False
    nobody.load_verify_locations(cadata=job.secrets.server_cert)
    with pytest.raises((ssl.SSLError, OSError)):
        job.request("api/status", context=nobody)

    mixed = type(other)(
        token="", report="", server_cert=job.secrets.server_cert, client_cert=other.client_cert,
        client_key=other.client_key,
    )  # fmt: skip
    with pytest.raises((ssl.SSLError, OSError)):
        job.request("api/status", context=client_context(mixed))

    # The hub, on its way to eve's server, does not take this one for it.
    with pytest.raises(ssl.SSLCertVerificationError):
        job.request("api/status", context=client_context(other))


def test_a_users_own_server_pair_opens_no_other_server(launch):
    """All that a job is given (its server pair) is worth nothing as a client of another job."""
    job = launch(tls=True).wait_ready()
    eve, eve_job = make_secrets("eve", tls=True, not_before=time.time(), lifetime=timedelta(hours=1))
    mixed = type(eve)(
        token="", report="", server_cert=job.secrets.server_cert, client_cert=eve_job.certificate,
        client_key=eve_job.key,
    )  # fmt: skip
    with pytest.raises((ssl.SSLError, OSError)):
        job.request("api/status", context=client_context(mixed))


OPEN_PROVIDER = """
from jupyter_server.auth.identity import IdentityProvider, User
class Open(IdentityProvider):
    def get_user(self, handler):
        return User("anybody")
c.ServerApp.identity_provider_class = Open
"""
OPEN_LOGIN = """
from jupyter_server.auth.login import LegacyLoginHandler
class Open(LegacyLoginHandler):
    @classmethod
    def get_user(cls, handler):
        return "anybody"
c.ServerApp.login_handler_class = Open
"""
NO_TOKENS = """
c.ServerApp.token = c.IdentityProvider.token = c.PasswordIdentityProvider.token = ""
c.HubIdentityProvider.token = ""
c.ServerApp.password = ""
"""
OTHER_ADDRESSES = """
c.ServerApp.base_url = "/wrong/"
c.ServerApp.port = 9
c.ServerApp.ip = "127.0.0.2"
c.ServerApp.sock = "/nowhere/s"
c.ServerApp.default_url = "/wrong"
c.LabApp.default_url = "/wrong"
"""
OTHER_TLS = """
c.ServerApp.certfile = "/nowhere"
c.ServerApp.keyfile = "/nowhere"
c.ServerApp.client_ca = ""
c.ServerApp.ssl_options = {"cert_reqs": 0}
"""
OTHER_EXTENSIONS = """
c.ServerApp.jpserver_extensions = {"minihub_inside": False, "jupyterlab": True}
c.ServerApp.tornado_settings = {"hub_prefix": "/evil/", "mine": 1}
c.ServerApp.quit_button = True
"""
STRICT = """
c.ServerApp.allow_unauthenticated_access = False
c.ServerApp.authenticate_prometheus = True
c.PasswordIdentityProvider.password_required = True
c.ServerApp.password_required = True
"""
JSON_TOKENS = '{"ServerApp": {"token": ""}, "PasswordIdentityProvider": {"token": "", "hashed_password": ""}}'
NOTEBOOK_TOKENS = "c.NotebookApp.token = c.NotebookApp.password = ''"
BOTH_TOKENS = "c.ServerApp.token = c.PasswordIdentityProvider.token = ''"

HOSTILE = {
    "ServerApp.token": ("server", "c.ServerApp.token = ''"),
    "PasswordIdentityProvider.token": ("server", "c.PasswordIdentityProvider.token = ''"),
    "all tokens": ("server", NO_TOKENS),
    "lab's file": ("lab", BOTH_TOKENS),
    "notebook's file": ("notebook", NOTEBOOK_TOKENS),
    "json": ("server.json", JSON_TOKENS),
    "own provider": ("server", OPEN_PROVIDER),
    "own provider in lab's file": ("lab", OPEN_PROVIDER),
    "legacy login handler": ("server", OPEN_LOGIN),
    "addresses": ("server", OTHER_ADDRESSES),
    "TLS": ("server", OTHER_TLS),
    "extensions": ("server", OTHER_EXTENSIONS),
    "stricter than we": ("server", STRICT),
    "broken": ("server", "raise RuntimeError('broken')"),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("row", HOSTILE)
def test_the_users_configuration_cannot_open_the_server(launch, somebody, row, tls):
    name, text = HOSTILE[row]
    stem, _, suffix = name.partition(".")
    somebody.write(f".jupyter/jupyter_{stem}_config.{suffix or 'py'}", text)
    job = launch(tls=tls).wait_ready()

    assert job.request("api/contents", token=None).status == 403
    assert job.request("api/contents", token="wrong").status == 403
    assert job.request("api/contents").status == 200
    page = job.request("lab")
    assert page.status == 200
    assert '"hubPrefix": "/hub/"' in page.text
    assert job.stop() == 0


def test_jupyter_no_config_in_the_environment_changes_nothing(launch, somebody):
    somebody.env["JUPYTER_NO_CONFIG"] = "1"
    somebody.env["JUPYTER_TOKEN"] = "known"
    job = launch().wait_ready()
    assert job.request("api/contents", token="known").status == 403


def test_the_users_configuration_stays_in_effect(launch, somebody):
    somebody.write(".jupyter/jupyter_server_config.py", "c.FileContentsManager.allow_hidden = True")
    somebody.write(".hidden/file", "x")
    job = launch().wait_ready()
    assert job.request("api/contents/.hidden/file").status == 200


def test_what_cannot_be_safe_is_not_reported(launch):
    """Only the admin's own arguments outrank ours; then the server ends, and says why."""
    job = launch(
        args=("--ServerApp.client_ca=", "--ServerApp.ssl_options={}", "--ServerApp.certfile="), tls=True
    )
    assert job.process.wait(60) != 0
    assert "changes TLS" in job.log
    assert not job.hub.reports


def test_the_challenge_is_answered_without_a_token(launch):
    job = launch().wait_ready()
    nonce = "5a" * 16
    path = build_proof_path("", nonce)

    answer = job.request(path, token=None)
    assert answer.status == 200
    assert verify_proof(job.secrets.report, nonce, answer.text)
    assert not verify_proof(job.secrets.report, "5b" * 16, answer.text)
    assert not verify_proof("another", nonce, answer.text)
    assert job.request("minihub-proof?nonce=", token=None).status == 400
    assert job.request("minihub-proof?nonce=" + "x" * 32, token=None).status == 400


def test_no_secret_is_seen_from_outside(launch, somebody):
    job = launch(tls=True).wait_ready()
    assert job.request("api/terminals", "POST").status == 200
    secrets = (job.secrets.token, job.secrets.report, "PRIVATE KEY")

    for pid, line in somebody.processes().items():
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
        assert not [s for s in secrets if s in line + environment], (pid, line)
    assert not [s for s in secrets if s in job.log]
    (runtime,) = somebody.tmp.iterdir()
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert job.secrets.token not in job.request("lab").text


def test_the_user_has_a_name(launch):
    job = launch().wait_ready()
    assert job.request("api/me").json["identity"]["display_name"] == "ada"


def test_a_second_server_in_a_terminal_is_no_business_of_the_hub(launch, somebody):
    """It inherits the configuration path, but not the hub's token."""
    launch().wait_ready()
    (runtime,) = somebody.tmp.iterdir()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import minihub_inside\n"
        "from traitlets.config import Config; c = Config(); minihub_inside.configure(c); print(dict(c))"
    )
    done = subprocess.run([sys.executable, "-c", code, runtime], capture_output=True, text=True, check=True)
    assert done.stdout == "{}\n"


# ---------------------------------------------------------------------------------------------------------- the pages


@pytest.mark.parametrize("interface", ["lab", "notebook", "nbclassic", "terminal"])
def test_every_interface_opens_in_the_right_place(launch, interface):
    job = launch(interface=interface).wait_ready()

    for path in ("", "?x=1"):
        answer = job.request(path)
        assert (answer.status, answer.location) == (302, f"/user/ada/{default_path(interface)}{path}")
    own = job.request(default_path(interface))
    assert own.status == 200
    for other in ("lab", "tree", "nbclassic/tree", "terminals/1"):
        answer = job.request(other)
        assert answer.status == 200 or (
            answer.status == 302 and job.request(answer.location[10:]).status == 200
        )


def test_menu_entries_lead_to_the_hub(launch):
    job = launch(hub_prefix="/jupyter/hub/", base_url="/jupyter/user/ada/").wait_ready()

    for page in ("lab", "tree"):
        text = job.request(page).text
        assert '"hubPrefix": "/jupyter/hub/"' in text
        assert '"hubUser": "ada"' in text
        assert '"quitButton": true' not in text
    assert '"disabledExtensions": ["@jupyterlab/apputils-extension:announcements"]' in job.request("lab").text

    classic = job.request("nbclassic/tree").text
    assert 'href="/jupyter/hub/home"' in classic
    assert "#newsId { display: none" in classic  # no banner about moving to Notebook 7
    assert 'id="logout"' in classic


def test_terminal_alone_is_the_classic_page(launch):
    job = launch(interface="terminal").wait_ready()
    text = job.request("terminals/1").text
    assert 'href="/hub/home"' in text
    assert 'id="logout"' in text


def test_terminal_where_only_lab_is_installed(launch, somebody):
    off = "--ServerApp.jpserver_extensions={'nbclassic': False, 'notebook': False, 'jupyterlab': True, 'minihub_inside': True, 'jupyter_server_terminals': True}"
    job = launch(interface="terminal", args=(off,)).wait_ready()
    assert job.request("terminals/1", token=None).location.startswith("/user/ada/login")
    answer = job.request("terminals/1")
    assert (answer.status, answer.location) == (302, "/user/ada/lab/workspaces/terminal")
    stored = job.request("lab/api/workspaces/terminal").json
    assert stored["data"]["terminal:1"] == {"data": {"name": "1"}}
    assert job.request("tree").location == "/user/ada/terminals/1"


async def test_a_terminal_runs_commands(launch):
    job = await asyncio.to_thread(lambda: launch(interface="terminal", tls=True).wait_ready())
    job.request("terminals/1")
    seen = await type_into_terminal(job, "echo $((6*7))ok $USER", until="42ok ada")
    assert "42ok ada" in seen


async def type_into_terminal(job, command, until):
    url = f"{'https' if job.spec.tls else 'http'}://127.0.0.1:{job.port}/user/ada/terminals/websocket/1"
    headers = {"Authorization": f"token {job.secrets.token}"}
    context = client_context(job.secrets) if job.spec.tls else True
    seen = ""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url, headers=headers, ssl=context) as socket_,
    ):
        await socket_.send_json(["stdin", command + "\r"])
        async with asyncio.timeout(20):
            while until not in seen:
                message = await socket_.receive_json()
                if message[0] == "stdout":
                    seen += message[1]
    # aiohttp does not wait until its TLS connections are closed; the loop may end here, and would leave this one open.
    await asyncio.sleep(0.25)
    return seen


# ------------------------------------------------------------------------------------------------------------ the end


async def test_every_process_ends_and_nothing_is_left(launch, somebody):
    job = await asyncio.to_thread(lambda: launch(interface="terminal").wait_ready())
    assert job.request("api/kernels", "POST").status == 201
    job.request("terminals/1")
    stubborn = "(setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 987; done' >/dev/null 2>&1 &); echo sta''rted"
    await type_into_terminal(job, stubborn, until="started")
    lines = " ".join(somebody.processes().values())
    assert "ipykernel" in lines
    assert "sleep 987" in lines

    assert job.stop() == 0
    assert somebody.processes() == {}
    assert list(somebody.tmp.iterdir()) == []


def test_stop_takes_a_moment_only(launch):
    job = launch().wait_ready()
    began = time.monotonic()
    assert job.stop() == 0
    assert time.monotonic() - began < JUPYTER_GRACE_S, "it ended by itself"


def test_stop_while_jupyter_is_starting(launch, somebody):
    job = launch()
    while not list(somebody.tmp.iterdir()):
        time.sleep(0.01)
    assert job.stop() == 0
    assert somebody.processes() == {}
    assert list(somebody.tmp.iterdir()) == []


def test_a_dead_jupyter_ends_the_job_and_keeps_the_log(launch, somebody):
    job = launch().wait_ready()
    assert job.request("api/kernels", "POST").status == 201
    os.kill(job.jupyter_pid(), signal.SIGKILL)
    assert job.process.wait(60) == 137
    assert "Jupyter ended with exit status 137" in job.log
    assert somebody.processes() == {}
    assert list(somebody.tmp.iterdir()) == []


def test_jupyter_ends_if_the_launcher_is_killed(launch, somebody):
    job = launch().wait_ready()
    job.process.kill()
    deadline = time.monotonic() + 30
    while somebody.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert somebody.processes() == {}


def test_shut_down_from_the_api_is_a_clean_end(launch):
    job = launch().wait_ready()
    assert job.request("api/shutdown", "POST").status == 200
    assert job.process.wait(60) == 0
    assert not job.log_file.exists()


def test_old_logs_are_pruned_and_others_files_are_not(launch, somebody):
    for number in range(1, 9):
        os.utime(somebody.write(f".minihub-{number}.log", "old"), (number, number))
    somebody.write(".minihub-notes.txt", "mine")
    (somebody.home / ".minihub-0.log").symlink_to(somebody.home / ".minihub-notes.txt")
    job = launch().wait_ready()

    logs = sorted(p.name for p in somebody.home.glob(".minihub-*"))
    assert logs == sorted(
        [f".minihub-{n}.log" for n in (4, 5, 6, 7, 8, 77)] + [".minihub-notes.txt", ".minihub-0.log"]
    )
    job.stop()


def test_the_log_of_a_server_that_was_asked_to_end_stays_until_the_next_start(launch, somebody):
    """Only the hub knows whether its user wanted that end; if not, it shows him the log's."""
    first = launch().wait_ready()
    assert first.stop() == 0
    assert "minihub: ended as asked" in first.log.splitlines()[-1]
    first.log_file.rename(somebody.home / ".minihub-76.log")
    launch().wait_ready()
    assert [p.name for p in somebody.home.glob(".minihub-*")] == [".minihub-77.log"]


def test_a_log_of_another_name_is_kept(launch):
    job = launch(log="thesis.log").wait_ready()
    assert job.stop() == 0
    assert job.log_file.exists()


# --------------------------------------------------------------------------------------------------------- the report


def hub_certificate(tmp_path):
    _, pair = make_secrets("hub", tls=True, not_before=time.time(), lifetime=timedelta(hours=1))
    file = tmp_path / "hub.pem"
    file.write_text(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, sha256(ssl.PEM_cert_to_DER_cert(pair.certificate)).hexdigest()


def test_the_report_says_exactly_secret_and_port(launch):
    job = launch().wait_ready()
    assert job.hub.reports == [{"secret": job.secrets.report, "port": job.port, "path": "/hub/api/report"}]


def test_the_hub_hears_of_the_job_before_jupyter_is_up(launch):
    job = launch().wait_ready()
    assert job.hub.notices == [{"secret": job.secrets.report, "port": None, "path": "/hub/api/report"}]


def test_the_report_goes_to_the_pinned_hub(launch, make_hub, tmp_path):
    context, pin = hub_certificate(tmp_path)
    hub = make_hub(context)
    hub.pin = pin
    assert launch(hub=hub).wait_ready().request("api/status").status == 200


def fake_scontrol(somebody, failures=0):
    path = somebody.write(
        "bin/scontrol",
        f'#!/bin/sh\necho "$@" >>{somebody.home}/scontrol.log\n'
        f"[ $(wc -l <{somebody.home}/scontrol.log) -gt {failures} ]\n",
        0o755,
    )
    somebody.path.insert(0, str(path.parent))
    somebody.env["SLURM_JOB_ID"] = "77"
    return somebody.home / "scontrol.log"


def wait_until(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_lines(path, count):
    """What scontrol was called with so far."""
    wait_until(lambda: path.exists() and len(path.read_text().splitlines()) >= count)
    return path.read_text().splitlines()


def test_an_impostor_gets_no_report_and_the_comment_carries_the_port(launch, somebody, make_hub, tmp_path):
    context, _ = hub_certificate(tmp_path)
    hub = make_hub(context)
    hub.pin = "00" * 32
    log = fake_scontrol(somebody)
    job = launch(hub=hub, comment_report=True)
    (line,) = wait_for_lines(log, 1)

    words = line.split()
    assert words[:3] == ["update", "jobid=77", "comment=minihub-h-1"]
    job.port = int(words[3])
    assert job.request("api/status").status == 200
    assert job.stop() == 0
    assert hub.reports == []


def test_the_comment_alone(launch, somebody):
    log = fake_scontrol(somebody, failures=2)
    job = launch(report_url=None, comment_report=True)
    lines = wait_for_lines(log, 3)
    assert len(set(lines)) == 1
    time.sleep(1.2)
    assert len(wait_for_lines(log, 3)) == 3
    job.stop()


def test_no_comment_where_the_hub_took_the_report(launch, somebody, monkeypatch):
    # On a busy machine one second may not be enough for the report; and that none is written is told when it is decided.
    text = launcher.source("launch.py")
    told = text.replace("PULL_AFTER_S = 1.0", "PULL_AFTER_S = 60.0").replace(
        "        if self.push_taken:\n", "        if self.push_taken:\n            say('no comment')\n"
    )
    assert (told.count("= 60.0"), told.count("say('no comment')")) == (1, 1)
    real = launcher.source
    monkeypatch.setattr(launcher, "source", lambda name: told if name == "launch.py" else real(name))
    log = fake_scontrol(somebody)
    job = launch(comment_report=True).wait_ready()
    wait_until(lambda: "no comment" in job.log)
    assert job.stop() == 0
    assert not log.exists()


def test_a_hub_that_restarts_gets_the_report_later(launch, make_hub):
    job = launch(hub=make_hub(statuses=(502, 503))).wait_ready()
    assert job.port


def test_a_refused_report_is_not_repeated(launch, somebody, make_hub):
    log = fake_scontrol(somebody)
    job = launch(hub=make_hub(statuses=(403, 403)), comment_report=True)
    wait_for_lines(log, 1)
    wait_until(lambda: "did not take the report" in job.log)
    job.stop()


# ------------------------------------------------------------------------------------------------------ unix sockets


@pytest.mark.parametrize(("mode", "expected"), [(0o700, 0o600), (0o2770, 0o660)])
def test_a_unix_socket_is_for_the_hub_only(launch, somebody, mode, expected):
    somebody.shared.chmod(mode)
    somebody.write(".jupyter/jupyter_server_config.py", "c.ServerApp.port = 9999\nc.ServerApp.ip = '0.0.0.0'")
    path = somebody.shared / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    os.chown(path, somebody.uid, somebody.uid)
    job = launch(listen=str(path)).wait_ready()

    assert job.port == 0
    assert stat.S_IMODE(path.stat().st_mode) == expected
    assert job.request("api/status").status == 200
    assert job.request("api/contents", token=None).status == 403
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    peer = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    sock.close()
    assert peer[1] == somebody.uid
    assert job.stop() == 0


def test_something_else_in_the_sockets_place_is_not_removed(launch, somebody):
    path = somebody.shared / "s"
    path.write_text("precious")
    os.chown(path, somebody.uid, somebody.uid)
    job = launch(listen=str(path))
    assert job.process.wait(60) == 1
    assert "is in the way" in job.log
    assert path.read_text() == "precious"


# ------------------------------------------------------------------------------------------------- where things break


def test_rescue_keeps_off_the_users_files(launch, somebody):
    somebody.write(".jupyter/jupyter_server_config.py", "import os; os._exit(3)")
    for name in (".bashrc", ".bash_profile", ".profile"):
        somebody.write(name, "exit 1")
    somebody.write(".local/share/jupyter/kernels/broken/kernel.json", "{")
    somebody.env["PYTHONSTARTUP"] = "/nowhere"
    assert launch().process.wait(60) == 3

    before = sorted(somebody.home.rglob("*"))
    job = launch(rescue=True, interface="terminal").wait_ready()
    assert job.request("api/kernels", "POST").status == 201
    assert "42ok" in asyncio.run(visit_and_type(job))
    assert sorted(somebody.home.rglob("*")) == before
    environment = Path(f"/proc/{job.jupyter_pid()}/environ").read_text()
    assert "PYTHONSTARTUP" not in environment
    assert job.stop() == 0
    assert list(somebody.tmp.iterdir()) == []


async def visit_and_type(job):
    await asyncio.to_thread(job.request, "terminals/1")
    return await type_into_terminal(job, "echo $((6*7))ok", until="42ok")


def test_the_next_place_is_taken_where_one_is_not_writable(launch, somebody):
    closed = somebody.home.parent / "closed"
    closed.mkdir(mode=0o755)
    somebody.env["SLURM_TMPDIR"] = str(closed)
    launch().wait_ready()
    assert len(list(somebody.tmp.iterdir())) == 1


def test_a_full_disk_is_no_place(launch, somebody):
    full = somebody.home.parent / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k,mode=1777", "none", full], check=True)
    try:
        somebody.env["SLURM_TMPDIR"] = str(full)
        launch().wait_ready()
        assert list(full.iterdir()) == []
        assert len(list(somebody.tmp.iterdir())) == 1
    finally:
        subprocess.run(["umount", full], check=True)


def test_a_wrapper_script_as_jupyter(launch, somebody):
    """Where the interpreter cannot be told, `jupyter` is run as it is; python3 runs the launcher."""
    real = Path(sys.executable).parent
    somebody.write("bin/jupyter", f'#!/bin/sh\nexec {real}/jupyter "$@"\n', 0o755)
    job = launch(bin_dir=str(somebody.home / "bin"), tls=True).wait_ready(90)
    assert job.request("lab").status == 200
    assert job.request("api/contents", token=None).status == 403
    assert job.stop() == 0
    assert list(somebody.tmp.iterdir()) == []


def test_no_jupyter_is_said(launch):
    job = launch(bin_dir="/nowhere")
    assert job.process.wait(60) == 127
    assert "there is no jupyter on" in job.log
    assert "/nowhere" in job.log


def test_an_interpreter_without_jupyter_is_said(launch, somebody):
    job = launch(python="/usr/bin/python3", bin_dir="")
    assert job.process.wait(60) == 1
    assert "has no Jupyter server in it" in job.log
    assert list(somebody.tmp.iterdir()) == []


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_prologue_modules_and_settings_reach_jupyter(launch, somebody, shell):
    """The job script's own words, in both shells that /bin/sh may be."""
    prologue = 'export FROM_PROLOGUE=\'a "b"\'\r\nmodule() { export LOADED="$*"; }\r\ncat >/dev/null <<EOF\nMINIHUB_\nEOF'
    env = {"ODD": "line 1\nline 2 'quoted' \"twice\" $HOME `id` \\ é #SBATCH"}
    job = launch(
        shell=shell, prologue=prologue, modules=("python/3.11", "it's"), env=env, root_dir="{home}/ünder $(id)"
        if somebody.write("ünder $(id)/file", "x") else "",
    ).wait_ready()  # fmt: skip

    pid = job.jupyter_pid()
    found = dict(
        entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry
    )
    assert found["FROM_PROLOGUE"] == 'a "b"'
    assert found["LOADED"] == "load python/3.11 it's"
    assert found["ODD"] == env["ODD"]
    assert job.request("api/contents/file").status == 200
