"""The access log: one JSON line for each request that was answered or given up. Touches its one file.

Off by default; then nothing of it runs. Tokens in addresses are left out, cookies never get here.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from minihub.clock import Clock
from minihub.errors import ConfigError
from minihub.proxy.gate import strip_tokens


@dataclass(slots=True)
class Record:
    """One exchange, while it goes on."""

    method: str
    target: str
    address: str
    began: float
    """Monotonic seconds."""
    user: str = ""
    """Whose server answers; "" for the hub's own pages."""
    status: int = 0
    """0: there was no answer."""
    sent: int = 0
    """Bytes of the answer's body, as framed."""


class AccessLog:
    """Appends to a file; written out by `flush`, which also notices that the file was moved away (logrotate)."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open it.

        Raises:
            ConfigError: It cannot be written.
        """
        self._path = path
        self._clock = clock
        self._lines: list[str] = []
        self._descriptor = -1
        try:
            self._open()
        except OSError as error:
            raise ConfigError(f"proxy.access_log: {path} cannot be written: {error.strerror}") from error

    def _open(self) -> None:
        opened = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        # The old file is kept until there is a new one, so that there is always one to compare with.
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = opened

    def begin(self, method: str, target: str, address: str) -> Record:
        """Note that a request came."""
        return Record(method, target, address, self._clock.monotonic())

    def end(self, record: Record) -> None:
        """Its exchange is over."""
        path, question, query = record.target.partition("?")
        if question:
            query, _ = strip_tokens(query)
        line = {
            "time": datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(timespec="milliseconds"),
            "address": record.address,
            "user": record.user,
            "method": record.method,
            "target": f"{path}?{query}" if query else path,
            "status": record.status,
            "bytes": record.sent,
            "seconds": round(self._clock.monotonic() - record.began, 6),
        }
        self._lines.append(json.dumps(line, ensure_ascii=True) + "\n")

    def flush(self) -> None:
        """Write out what was noted; a full disk costs lines of the log, nothing else.

        Raises:
            OSError: It could not be written.
        """
        lines, self._lines = self._lines, []
        if not lines:
            return
        if not self._is_in_place():
            self._open()
        os.write(self._descriptor, "".join(lines).encode("ascii"))

    def _is_in_place(self) -> bool:
        try:
            named = self._path.stat()
        except OSError:
            return False
        opened = os.fstat(self._descriptor)
        return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)

    def close(self) -> None:
        """Write out and close."""
        try:
            self.flush()
        finally:
            os.close(self._descriptor)
