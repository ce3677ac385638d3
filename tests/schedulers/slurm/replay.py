"""Recorded answers, and a transport that replays answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from minihub.schedulers.base import JobRequest
from minihub.transports.base import CommandResult

DATA = Path(__file__).parents[2] / "data" / "slurm"
_HEAD = re.compile(r"# (?P<command>.*) \| (?P<version>\S+ \S+) \| exit status (?P<status>\d+)")


def read_recorded(name: str) -> CommandResult:
    """Read one recording: a line with command, version and exit status, stdout, and stderr below "# stderr"."""
    head, _, body = (DATA / f"{name}.txt").read_text(encoding="utf-8").partition("\n")
    match = _HEAD.fullmatch(head)
    assert match, f"{name}: {head}"
    stdout, _, stderr = ("\n" + body).partition("\n# stderr\n")
    return CommandResult(int(match["status"]), stdout[1:] + ("\n" if stderr and stdout[1:] else ""), stderr)


Answer = CommandResult | BaseException | Callable[[Sequence[str], str | None], CommandResult]


def ok(stdout: str = "", stderr: str = "") -> CommandResult:
    return CommandResult(0, stdout, stderr)


def failed(stderr: str, status: int = 1) -> CommandResult:
    return CommandResult(status, "", stderr)


@dataclass
class FakeTransport:
    """Answers by the command's first words; the longest that fit win. What nobody prepared is an error."""

    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[tuple[tuple[str, ...], str | None, bytes]] = field(default_factory=list)
    warmed: list[str] = field(default_factory=list)
    avoided: list[str | None] = field(default_factory=list)
    has_another_host: bool = False

    async def run(
        self, argv: Sequence[str], *, user: str | None, stdin: bytes = b"", timeout_s: float
    ) -> CommandResult:
        self.calls.append((tuple(argv), user, stdin))
        line = " ".join(argv)
        fits = [
            w
            for w in self.answers
            if line.startswith(w.partition(" @")[0]) and w.partition(" @")[2] in ("", str(user))
        ]
        assert fits, f"no answer for {line} as {user}"
        answer = self.answers[max(fits, key=len)]
        if isinstance(answer, BaseException):
            raise answer
        return answer(argv, user) if callable(answer) else answer

    def avoid_host(self, user: str | None) -> bool:
        self.avoided.append(user)
        return self.has_another_host

    async def open_forward(self, user: str, host: str, port: int) -> Path:
        raise AssertionError("the scheduler opens no forward")

    async def close_forward(self, user: str, host: str, port: int) -> None:
        raise AssertionError("the scheduler opens no forward")

    async def warm(self, user: str) -> None:
        self.warmed.append(user)

    async def close(self) -> None:
        raise AssertionError("the transport is not the scheduler's to close")

    def ran(self, program: str) -> list[tuple[tuple[str, ...], str | None, bytes]]:
        return [call for call in self.calls if program in call[0][:3]]


def make_request(**changes: object) -> JobRequest:
    values: dict[str, object] = {
        "user": "alice",
        "home": "/home/alice",
        "tag": "minihub-1a2b-0123456789ab",
        "script": "#!/bin/sh\nSECRET=hush\n",
        "time_limit": timedelta(hours=1.5),
        "cores": 2,
        "memory_mib": 3000,
        "log_path": "/home/alice/.minihub-%j.log",
    }
    return JobRequest(**{**values, **changes})  # type: ignore[arg-type]
