"""How one command's argv and its output travel over one ssh channel. Pure.

ssh carries a single string, which sshd hands to the *user's* login shell: bash, csh, fish, with start-up files that may
print, sleep, read or leave. So the string is a constant that all of them read alike, and everything else is data:

    hub -> shell    "minihub1 NONCE COUNT" and a line feed, nothing more
    shell -> hub    whatever the start-up files print, then "=NONCE=" and a line feed on stdout and on stderr
    hub -> shell    COUNT lines, one argument each, then the command's own stdin, then end of file
    shell -> hub    the command's output

- **Arguments are sent only after the marker has come.** Until then nothing has run, and whatever goes wrong (a start-up
  file that sleeps, reads our lines or exits, a broken connection) is a plain ConnectFailed: certainly not run. It costs
  one round trip. It also means that no start-up file ever sees the command's stdin, which holds secrets.
- **Lines, not NUL-separated words**: POSIX sh cannot read NUL. `read -r` with an empty IFS takes a line as it is, byte by
  byte, and leaves the rest of stdin to the command. Arguments therefore hold no line feed (nor NUL, as anywhere).
- The marker differs from the line that carried the nonce: a start-up file that echoes its input is noise, no marker.
- The constant holds no single quote, backslash or exclamation mark (fish and csh treat these inside single quotes),
  is one line (csh) and shorter than the 1024 characters of a csh word.

PATH: `slurm.bin_dir` first, then the standard directories; where it is not set, the PATH that the user's login brought
(sites put Slurm there by /etc/environment or start-up files), then the standard directories. HOME is sshd's. The rest of
the environment is what `build_environment` says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin"
KILL_AFTER_S = 5
TIMED_OUT_STATUS = 124
"""What timeout(1) exits with after its SIGTERM was enough."""
KILLED_STATUS = 137
"""What timeout(1) exits with after SIGKILL; also what the kernel's own kill gives."""
WRAPPER_READY = "minihub-job: ready\n"
"""What the wrapper, told --ready, prints on stderr just before it runs the program: without it, sudo or the wrapper refused."""
SUDO_VERBS = frozenset({"sbatch", "scancel", "tail"})
"""All that configs/minihub-job does as another user."""

# One line inside single quotes. h: header, then the nonce; n: arguments still to come; a: one argument.
_PROGRAM = (
    'IFS= read -r h && test "${h%% *}" = minihub1 || exit 97; '
    "h=${h#* }; n=${h#* }; h=${h%% *}; "
    'echo "=$h="; echo "=$h=" >&2; set --; '
    'while test "$n" -gt 0; do IFS= read -r a || exit 98; set -- "$@" "$a"; n=$((n-1)); done; '
    f'exec /usr/bin/env -i "HOME=$HOME" "PATH=$PATH:{STANDARD_PATH}" "$@"'
)
REMOTE_COMMAND = f"exec /bin/sh -c '{_PROGRAM}'"
"""The only string that ever reaches a login shell."""

_WORD = re.compile(r"[^\x00\n]*")


def build_header(nonce: str, words: Sequence[str]) -> bytes:
    """Build the line that asks for the marker."""
    return f"minihub1 {nonce} {len(words)}\n".encode("ascii")


def build_words(words: Sequence[str]) -> bytes:
    """Build the argument lines.

    Raises:
        ValueError: A word holds a line feed or NUL, or is not UTF-8 text.
    """
    for word in words:
        if _WORD.fullmatch(word) is None:
            raise ValueError("an argument holds a line feed or NUL")
    return "".join(f"{word}\n" for word in words).encode()


def build_environment(user: str, *, bin_dir: str = "", slurm_conf: str = "") -> dict[str, str]:
    """Build what a command gets besides HOME and the login's PATH; a PATH here replaces that one."""
    environment = {"USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}
    if slurm_conf:
        environment["SLURM_CONF"] = slurm_conf
    if bin_dir:
        environment["PATH"] = f"{bin_dir}:{STANDARD_PATH}"
    return environment


def program_of(argv: Sequence[str]) -> str:
    """What runs, for people: env(1) and its assignments left out."""
    return next((word for word in argv if word != "env" and "=" not in word), argv[0])


def build_timed(argv: Sequence[str], timeout_s: float) -> list[str]:
    """Build `argv` under timeout(1), which ends it even when nobody is connected any more."""
    return ["timeout", "-k", str(KILL_AFTER_S), _seconds(timeout_s), *argv]


def build_env_words(environment: Mapping[str, str], argv: Sequence[str]) -> list[str]:
    """Build what follows `env -i`: assignments, then the command."""
    return [*(f"{name}={value}" for name, value in environment.items()), *argv]


def build_sudo(wrapper: str, user: str, argv: Sequence[str], timeout_s: float) -> list[str]:
    """Build the same command for `user`, through sudo and the wrapper.

    The wrapper keeps the time limit, as `user`: the service account could not signal sudo or what it started.

    Raises:
        ValueError: The wrapper has no such verb.
    """
    if argv[0] not in SUDO_VERBS:
        raise ValueError(f"the sudo wrapper does not run {argv[0]}")
    return ["sudo", "-n", "-u", user, "--", wrapper, "--ready", f"--timeout={_seconds(timeout_s)}", *argv]


def split_wrapper(stderr: str) -> tuple[bool, str]:
    """Tell whether the wrapper ran the program, and what the program (or else sudo or the wrapper) said."""
    before, ready, after = stderr.partition(WRAPPER_READY)
    return (True, after) if ready else (False, before)


def is_overdue(exit_status: int, elapsed_s: float, timeout_s: float) -> bool:
    """Tell whether timeout(1) ended a command; 137 may also be the kernel's own kill, long before."""
    return exit_status == TIMED_OUT_STATUS or (exit_status == KILLED_STATUS and elapsed_s >= timeout_s)


def _seconds(timeout_s: float) -> str:
    """Whole seconds, at least one: `timeout 0` means no limit."""
    return str(max(1, math.ceil(timeout_s)))


@dataclass(slots=True)
class AfterMarker:
    """Collects what follows the marker on one stream and forgets what came before."""

    marker: bytes
    seen: bool = False
    size: int = 0
    noise: bytes = b""
    """The last bytes before the marker: what a start-up file said, for the log."""
    _chunks: list[bytes] = field(default_factory=list)

    _NOISE_KEPT = 400

    def feed(self, data: bytes) -> None:
        """Take more bytes of the stream."""
        if self.seen:
            self._chunks.append(data)
            self.size += len(data)
            return
        window = self.noise + data
        before, found, after = window.partition(self.marker)
        if not found:
            # Long enough to hold a marker that arrives in pieces.
            self.noise = window[-max(self._NOISE_KEPT, len(self.marker)) :]
            return
        self.seen = True
        self.noise = before[-self._NOISE_KEPT :]
        if after:
            self.feed(after)

    def text(self) -> str:
        """Return what followed the marker; bytes that are no UTF-8 become U+FFFD.

        A start-up file with `exec 2>&1` sends stderr's marker here as well.
        """
        return b"".join(self._chunks).removeprefix(self.marker).decode("utf-8", "replace")


def build_marker(nonce: str) -> bytes:
    """Build the line that the remote side prints when it is ready."""
    return f"={nonce}=\n".encode("ascii")
