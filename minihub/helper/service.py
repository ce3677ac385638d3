"""The helper's main loop: takes the hub's questions, checks them, hands them on, answers."""

from __future__ import annotations

import base64
import binascii
import gc
import os
import pwd
import selectors
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minihub.clock import SystemClock
from minihub.helper import pam_worker, rules
from minihub.helper.children import Guard
from minihub.helper.commands import Command, Commands
from minihub.helper.jobs import Jobs, StartJob
from minihub.helper.loop import Loop
from minihub.helper.pam_pool import PamPool
from minihub.helper.privileges import forbid_tracing
from minihub.helper.records import Records, boot_id
from minihub.helper.rules import Refused
from minihub.helper.wire import MAX_FRAME, Unpacker, WireError, pack

MAX_IN_FLIGHT = 4096
MAX_SCRIPT = 4 * 1024 * 1024
MAX_TIMEOUT_S = 600.0
MAX_LIMIT_S = 366 * 86400.0

Answer = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class _Parts:
    """What exists once the helper is configured."""

    guard: Guard
    pool: PamPool
    commands: Commands
    jobs: Jobs


class Service:
    """One helper, speaking to one hub."""

    def __init__(self, sock: socket.socket, question: pam_worker.Question | None = None) -> None:
        """Serve `sock`; `question` stands in for PAM in tests."""
        self._sock = sock
        self._question = question
        self._loop = Loop()
        self._unpacker = Unpacker()
        self._out = bytearray()
        self._in_flight = 0
        self._parts: _Parts | None = None
        self._closing = False
        sock.setblocking(False)
        self._loop.watch(sock, selectors.EVENT_READ, self._on_socket)

    def run(self) -> None:
        """Work until the hub's end closes."""
        self._loop.run()

    def _on_socket(self) -> None:
        self._flush()
        try:
            data = self._sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hub_gone()
            return
        try:
            messages = self._unpacker.feed(data)
        except WireError:
            # No hub of ours speaks like this.
            self._hub_gone()
            return
        for message in messages:
            self._take(message)

    def _hub_gone(self) -> None:
        """End, once commands that run (sbatch among them) are through; they are limited in time. Jobs go on."""
        if self._closing:
            return
        self._closing = True
        self._loop.unwatch(self._sock)
        self._sock.close()
        if self._parts is not None:
            self._parts.pool.close()
        self._stop_when_done()

    def _stop_when_done(self) -> None:
        if self._parts is None or not self._parts.commands.running:
            self._loop.stop()
        else:
            self._loop.call_later(0.2, self._stop_when_done)

    def _take(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if not isinstance(number, int) or self._in_flight >= MAX_IN_FLIGHT:
            self._send({"id": number if isinstance(number, int) else 0, "error": "busy", "message": ""})
            return
        self._in_flight += 1
        answered = False

        def answer(result: dict[str, Any]) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._in_flight -= 1
                self._send({"id": number, **result})

        try:
            self._dispatch(message, answer)
        except Refused as refusal:
            answer({"error": "refused", "message": str(refusal)})
        except OSError as error:
            answer({"error": "failed", "message": error.strerror or type(error).__name__})
        except Exception as error:  # noqa: BLE001 - one bad question must not end the helper; its text may be secret
            answer({"error": "failed", "message": type(error).__name__})

    def _dispatch(self, message: dict[str, Any], answer: Answer) -> None:
        asked = message.get("op")
        if asked == "configure":
            answer(self._configure(message))
            return
        if self._parts is None:
            msg = "not configured"
            raise Refused(msg)
        operations: dict[Any, Callable[[_Parts, dict[str, Any], Answer], None]] = {
            "authenticate": _authenticate,
            "run": _run,
            "start": _start,
            "prepare": _prepare,
            "jobs": _jobs,
            "kill": _kill,
            "forget": _forget,
        }
        operation = operations.get(asked)
        if operation is None:
            msg = "no such operation"
            raise Refused(msg)
        operation(self._parts, message, answer)

    def _configure(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take the settings: once, while the hub has not yet begun to listen to anybody."""
        if self._parts is not None:
            msg = "configured already"
            raise Refused(msg)
        guard = _make_guard(message.get("hub_user"))
        service = pam_worker.pick_service(rules.check_text(message.get("pam_service", ""), "pam_service", 64))
        question = self._question
        if question is None:
            pam_worker.load()
            question = pam_worker.PamQuestion(service, guard)
        conf = rules.check_text(message.get("slurm_conf", ""), "slurm_conf", rules.MAX_PATH)
        bin_dir = rules.check_text(message.get("bin_dir", ""), "bin_dir", rules.MAX_PATH)
        records = Records(Path(rules.check_path(message.get("runtime_dir"))), boot_id())
        gc.freeze()  # keeps the children's pages shared
        self._parts = _Parts(
            guard,
            PamPool(
                self._loop,
                question,
                base=min(max(int(message.get("pam_workers", 4)), 1), 64),
                timeout_s=rules.check_seconds(
                    message.get("pam_timeout_s", 30), "pam_timeout_s", MAX_TIMEOUT_S
                ),
            ),
            Commands(self._loop, guard, bin_dir=bin_dir, env={"SLURM_CONF": conf} if conf else {}),
            Jobs(self._loop, guard, records, SystemClock()),
        )
        return {
            "root": guard.own_uid == 0,
            "user": pwd.getpwuid(guard.own_uid).pw_name,
            "pam_service": service,
            "pid": os.getpid(),
        }

    def _send(self, message: dict[str, Any]) -> None:
        if self._closing:
            return
        try:
            self._out += pack(message)
        except WireError:
            self._out += pack({"id": message["id"], "error": "refused", "message": "The answer is too long."})
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._hub_gone()
            return
        if not self._closing:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
            self._loop.watch(self._sock, events, self._on_socket)


def _authenticate(parts: _Parts, message: dict[str, Any], answer: Answer) -> None:
    username, password = message.get("username"), message.pop("password", None)
    if not rules.is_login_name(username) or not rules.is_password(password):
        # Can be right for nobody, so that the quick answer tells nothing.
        answer({"error": "bad_credentials", "message": ""})
        return
    parts.pool.ask({"username": username, "password": password}, answer)


def _run(parts: _Parts, message: dict[str, Any], answer: Answer) -> None:
    try:
        stdin = base64.b64decode(
            rules.check_text(message.get("stdin", ""), "stdin", MAX_FRAME), validate=True
        )
    except binascii.Error:
        msg = "stdin: not base64"
        raise Refused(msg) from None
    command = Command(
        argv=rules.check_argv(message.get("argv")),
        user=rules.check_user(message.get("user")),
        stdin=stdin,
        timeout_s=rules.check_seconds(message.get("timeout_s"), "timeout_s", MAX_TIMEOUT_S),
    )
    parts.commands.run(command, answer)


def _start(parts: _Parts, message: dict[str, Any], answer: Answer) -> None:
    job = StartJob(
        user=rules.check_user(message.get("user")),
        tag=rules.check_tag(message.get("tag")),
        script=rules.check_text(message.get("script"), "script", MAX_SCRIPT),
        log_path=rules.check_path(message.get("log_path")),
        limit_s=rules.check_seconds(message.get("limit_s"), "limit_s", MAX_LIMIT_S),
    )
    parts.jobs.start(job, answer)


def _prepare(parts: _Parts, message: dict[str, Any], answer: Answer) -> None:
    parts.jobs.prepare(rules.check_user(message.get("user")), answer)


def _jobs(parts: _Parts, _message: dict[str, Any], answer: Answer) -> None:
    answer({"jobs": parts.jobs.list()})


def _kill(parts: _Parts, message: dict[str, Any], answer: Answer) -> None:
    cause = "time_limit" if message.get("cause") == "time_limit" else "cancel"
    job_id = rules.check_job_id(message.get("job_id"))
    parts.jobs.kill(job_id, cause, force=message.get("force") is True, done=answer)


def _forget(parts: _Parts, message: dict[str, Any], answer: Answer) -> None:
    parts.jobs.forget(rules.check_job_id(message.get("job_id")))
    answer({})


def _make_guard(hub_user: Any) -> Guard:
    own_uid = os.getuid()
    try:
        text = Path("/etc/login.defs").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if own_uid != 0:
        return Guard(rules.parse_uid_min(text), own_uid, own_uid, os.getgid())
    try:
        entry = pwd.getpwnam(rules.check_user(hub_user))
    except KeyError:
        msg = f"there is no user {hub_user} on this machine"
        raise Refused(msg) from None
    return Guard(rules.parse_uid_min(text), 0, entry.pw_uid, entry.pw_gid)


def serve(sock: socket.socket, question: pam_worker.Question | None = None) -> None:
    """Be the helper, in a process of its own, until the hub's end closes."""
    # Ctrl-C in the hub's terminal and a service manager's SIGTERM are for the hub; the helper ends with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    forbid_tracing()
    os.umask(0o077)
    os.chdir("/")
    pam_worker.clean_environment()
    Service(sock, question).run()
