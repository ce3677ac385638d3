"""The way to the hub that a command takes: the admin socket of this machine, or a URL with a token."""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import re
import socket
import ssl
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from minihub.command.failures import NotPermitted, NotRunning, Unreachable, WrongUsage
from minihub.places import short_path

TOKEN_VARIABLE = "MINIHUB_TOKEN"  # noqa: S105 - its name
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach one hub."""

    api: str
    """URL of the API, without trailing slash."""
    name: str
    """What messages call the hub."""
    socket_path: str = ""
    """The admin socket; "" for TCP."""
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | bool = True
    """For aiohttp: True verifies as the system does."""

    @property
    def is_local(self) -> bool:
        """Whether it is the admin socket."""
        return bool(self.socket_path)


@contextlib.contextmanager
def way_by_socket(candidates: Sequence[Path], base_path: str) -> Iterator[Way]:
    """The way over the first of these sockets on which a hub listens.

    Raises:
        NotRunning: There is none.
        NotPermitted: We may not use it.
    """
    refused = None
    for path in candidates:
        try:
            with short_path(path) as name:
                _knock(name)
                yield Way(f"http://localhost{base_path}hub/api", "the hub", name)
                return
        except PermissionError:
            refused = refused or path
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED, errno.ENOTSOCK):
                raise Unreachable(f"{path}: {error.strerror}") from error
    if refused is not None:
        raise NotPermitted(
            f"Only root and the hub's own user may use {refused}, and you are {_own_name()}.",
            f"Use sudo; or name the hub's address with --url and give an API token in {TOKEN_VARIABLE} or --token-file.",
        )
    raise NotRunning(
        f"No hub runs here: nobody listens at {candidates[0]}.",
        "Start it (systemctl start minihub, or minihub serve), name its settings with --config FILE, or reach one "
        f"elsewhere with --url and an API token in {TOKEN_VARIABLE} or --token-file.",
    )


def _knock(name: str) -> None:
    # A stat would not tell a dead hub's socket from a living one's.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(10)
        trial.connect(name)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.geteuid()}"


def way_by_url(
    url: str, token_file: Path | None, *, insecure: bool = False, ca_file: Path | None = None
) -> Way:
    """The way to a hub elsewhere.

    Args:
        url: What users type, with or without /hub.
        token_file: Holds the API token; None: the environment does.
        insecure: Take any certificate, and none at all.
        ca_file: PEM certificates to trust instead of the system's.

    Raises:
        WrongUsage: This is no URL, or it would carry the token in the clear; there is no token, or it is open to others;
            or the file holds no certificates.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise WrongUsage(f"--url: {url!r} is no address of a hub; write https://hub.example.org")
    if parts.username or parts.password:
        raise WrongUsage(
            f"--url: no passwords in it; a hub wants a token, in {TOKEN_VARIABLE} or --token-file"
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not insecure:
        raise WrongUsage(
            f"--url: http:// would send your token to {parts.hostname} in the clear.",
            "Use https://, or --insecure if the way there is safe.",
        )
    base = re.sub(r"/hub(/api)?/?$|/$", "", parts.path)
    return Way(
        f"{parts.scheme}://{parts.netloc}{base}/hub/api",
        f"{parts.scheme}://{parts.netloc}{base}",
        token=_read_token(token_file),
        tls=_make_tls(ca_file, insecure=insecure),
    )


def _make_tls(ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext | bool:
    if insecure:
        return False
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError:
        raise WrongUsage(f"--ca-file: {ca_file} holds no certificates in PEM form") from None
    except OSError as error:
        raise WrongUsage(f"--ca-file: {ca_file}: {error.strerror}") from error


def _read_token(file: Path | None) -> str:
    """From the file, else from the environment; never from argv, which everybody can see."""
    if file is None:
        text = os.environ.get(TOKEN_VARIABLE, "").strip()
        where = TOKEN_VARIABLE
        if not text:
            raise WrongUsage(
                f"--url needs an API token: put it into {TOKEN_VARIABLE}, or name a file with --token-file.",
                "The hub's Token page makes one.",
            )
    else:
        text, where = _read_token_file(file), str(file)
    if _TOKEN.fullmatch(text) is None:
        raise WrongUsage(f"{where}: this is no token: one word was expected")
    return text


def _read_token_file(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.readline().strip()
        with file.open(encoding="ascii", errors="replace") as opened:
            status = os.fstat(opened.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise WrongUsage(f"--token-file: others may read {file}; run: chmod 600 {file}")
            return opened.read(4096).strip()
    except OSError as error:
        raise WrongUsage(f"--token-file: {file}: {error.strerror}") from error
