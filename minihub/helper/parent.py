"""What the command line does with the helper: fork it first of all, tell it its settings, hand on the socket."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

from minihub.errors import HelperError
from minihub.helper.wire import Unpacker, pack

_ANSWER_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class HelperSettings:
    """All that the helper is ever told about how to work; it takes them once."""

    runtime_dir: str
    """Absolute. The helper makes and owns jobs/ and users/ in it. Must survive restarts of the hub."""
    hub_user: str = ""
    """Whose group may connect to users' sockets, and who is never acted for. Needed as root, unused otherwise."""
    pam_service: str = ""
    pam_workers: int = 4
    pam_timeout_s: float = 30
    bin_dir: str = ""
    """Directory of Slurm's commands, looked in first; "" = the usual ones."""
    slurm_conf: str = ""


@dataclass(frozen=True, slots=True)
class HelperInfo:
    """What the helper is."""

    root: bool
    """False: PAM's own module for local passwords verifies `user` only, and programs start as `user` only."""
    user: str
    pam_service: str
    pid: int


@dataclass(slots=True)
class HelperHandle:
    """A helper that has been forked: the hub's end of the socket, and its process id."""

    sock: socket.socket
    pid: int

    def configure(self, settings: HelperSettings) -> HelperInfo:
        """Tell the helper its settings. Once, before the hub drops root and before it listens; waits for the answer.

        Raises:
            HelperError: It refuses them, with the reason, or is gone.
        """
        self.sock.settimeout(_ANSWER_TIMEOUT_S)
        try:
            self.sock.sendall(pack({"id": 0, "op": "configure", **asdict(settings)}))
            answer = self._receive()
        except OSError as error:
            raise HelperError("The helper does not answer.", str(error.strerror or error)) from error
        if "error" in answer:
            raise HelperError(f"The helper refuses its settings: {answer.get('message', '')}")
        return HelperInfo(answer["root"], answer["user"], answer["pam_service"], answer["pid"])

    def close(self) -> None:
        """Close the socket: the helper ends. Users' jobs go on."""
        self.sock.close()

    def _receive(self) -> dict[str, Any]:
        unpacker = Unpacker()
        while data := self.sock.recv(65536):
            if messages := unpacker.feed(data):
                return messages[0]
        raise HelperError("The helper is gone.")


def fork_helper() -> HelperHandle:
    """Fork the helper. To be called first of all: what is imported and opened before, it carries along."""
    ours, its = socket.socketpair()
    pid = os.fork()
    if pid:
        its.close()
        return HelperHandle(ours, pid)
    status = 1
    try:
        ours.close()
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        from minihub.helper.service import serve  # noqa: PLC0415 - the hub has no use for it

        serve(its)
        status = 0
    except BaseException as error:  # noqa: BLE001 - nothing may go back into the hub's code
        with contextlib.suppress(OSError):
            os.write(2, f"minihub helper: ended by {type(error).__name__}\n".encode())
    finally:
        os._exit(status)
