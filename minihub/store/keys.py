"""The state directory: its key file, hub id and lock. Blocking file I/O, done once at start.

STATE/minihub.sqlite   the store (0600)
STATE/store.key        Fernet key (0600): encrypts secrets at rest; the hub's other keys are derived from it
STATE/hub_id           8 hex digits: part of every job's tag
STATE/lock             held while a hub runs on this store; holds its pid
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from minihub.errors import ConfigError, StoreError

STORE_FILE = "minihub.sqlite"
KEY_FILE = "store.key"
HUB_ID_FILE = "hub_id"
LOCK_FILE = "lock"


class HubKeys:
    """What the key file gives: encryption at rest, and keys derived for other uses."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)
        self._key = key

    def encrypt(self, text: str) -> str:
        """Encrypt `text` for the disk; "" stays ""."""
        return self._fernet.encrypt(text.encode()).decode() if text else ""

    def decrypt(self, text: str) -> str:
        """Decrypt what `encrypt` made.

        Raises:
            StoreError: Damaged, or encrypted with another key.
        """
        try:
            return self._fernet.decrypt(text.encode()).decode() if text else ""
        except InvalidToken as error:
            detail = f"a secret in the store is damaged or does not belong to {KEY_FILE}"
            raise StoreError(detail=detail) from error

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose; the same at every start, telling nothing about the others."""
        return hmac.digest(self._key, b"minihub " + purpose.encode(), hashlib.sha256)

    @property
    def fingerprint(self) -> str:
        """Recognises the key without telling it."""
        return self.derive("fingerprint").hex()[:16]


def prepare_state_dir(path: Path) -> None:
    """Make the state directory (0700) or check the one that exists.

    Raises:
        ConfigError: It cannot be made, or others could read or write it; with the cure.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path}: the state directory cannot be made: {error.strerror}. Make it by hand (mode 700, "
            "owned by the user the hub runs as) or set hub.state_dir."
        ) from error
    _verify_private(path, "700", is_kind=stat.S_ISDIR, kind="directory")


def load_keys(state_dir: Path) -> HubKeys:
    """Read the key file; make it where there is neither a key nor a store.

    Raises:
        ConfigError: Unreadable, wrong mode or owner, no key; with the cure.
    """
    path = state_dir / KEY_FILE
    if not path.exists():
        if (state_dir / STORE_FILE).exists():
            raise ConfigError(
                f"{path} is missing, but {STORE_FILE} beside it is encrypted with it. Restore it from the backup; "
                f"or move {STORE_FILE} away to begin anew (running servers are then not found again)."
            )
        write_private(path, Fernet.generate_key() + b"\n")
    text = _read_private(path)
    try:
        return HubKeys(text.strip().encode())
    except ValueError as error:
        raise ConfigError(
            f"{path}: not a key (44 characters of base64). Restore it from the backup."
        ) from error


def load_hub_id(state_dir: Path) -> str:
    """Read the hub id, made at the first start.

    Raises:
        ConfigError: Unreadable, wrong mode or owner, or not an id; with the cure.
    """
    path = state_dir / HUB_ID_FILE
    if not path.exists():
        write_private(path, f"{secrets.token_hex(4)}\n".encode())
    text = _read_private(path).strip()
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        raise ConfigError(f"{path}: not a hub id (8 hex digits). Restore it from the backup.")
    return text


def create_private(path: Path) -> None:
    """Make an empty file that only its owner may read, unless it is there. SQLite gives its side files the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def verify_private_file(path: Path) -> None:
    """Raise ConfigError, with the cure, unless `path` is a file of ours that nobody else may read."""
    _verify_private(path, "600", is_kind=stat.S_ISREG, kind="file")


class StoreLock:
    """Keeps a second hub off the store.

    A POSIX record lock: gone with its process however that ends, and not inherited by forked helpers, which may
    outlive the hub. So it must be taken by the very process that listens, after any fork that becomes the hub.
    """

    _held: set[Path] = set()  # noqa: RUF012 - of the process, as POSIX locks are

    def __init__(self, state_dir: Path) -> None:
        self._path = (state_dir / LOCK_FILE).resolve()
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            ConfigError: Another hub has it; with its pid.
        """
        # A second open and close of the file in this process would drop the first one's lock.
        if self._path in self._held:
            raise self._taken(os.getpid())
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise self._taken(pid or "unknown") from error
        self._held.add(self._path)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def _taken(self, pid: object) -> ConfigError:
        return ConfigError(
            f"{self._path.parent}: another hub (pid {pid}) runs on this store. Stop it first, or give this one "
            "a hub.state_dir of its own."
        )

    def release(self) -> None:
        """Let others take it."""
        if self._fd >= 0:
            self._held.discard(self._path)
            os.close(self._fd)
            self._fd = -1


def write_private(path: Path, content: bytes) -> None:
    """Write a small file that only its owner may read, so that after a crash it is there whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        os.close(directory)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror}. The hub needs to write in {path.parent}."
        ) from error


def _read_private(path: Path) -> str:
    verify_private_file(path)
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _verify_private(path: Path, mode: str, *, is_kind: object, kind: str) -> None:
    assert callable(is_kind)
    try:
        status = path.lstat() if kind == "file" else path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if not is_kind(status.st_mode):
        raise ConfigError(f"{path}: must be a {kind}. Move away what is there.")
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path}: belongs to uid {status.st_uid}, but the hub runs as uid {os.geteuid()}. "
            f"Run it as that user, or: chown {os.geteuid()} {path}"
        )
    if status.st_mode & 0o077:
        raise ConfigError(
            f"{path}: others may use it (mode {stat.S_IMODE(status.st_mode):o}). Run: chmod {mode} {path}"
        )
