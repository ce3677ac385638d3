"""Tells the hub that the job runs, and where Jupyter listens, over one connection.

Runs in Jupyter's process, in a thread of its own: Python >= 3.8, standard library only, no import of minihub. Jupyter needs
`ssl` and its kin anyway, and the launcher does not. What comes of it goes to the launcher, which writes the port into the
job's comment where the hub cannot be reached.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

TIMEOUT_S = 3.0
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
HEAD_BYTES = 16384


def tell(pipe: str, line: str) -> bool:
    """Write a line to the launcher; False if it does not listen."""
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.write(descriptor, line.encode("ascii") + b"\n")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def start(spec: Dict[str, Any], pipe: str) -> Reporter:
    """This process's one reporter. The first call sends the notice, so that the hub learns the node while Jupyter starts."""
    if not _started:
        reporter = Reporter(spec["report_url"], spec["report_pin"], spec["report_secret"], pipe)
        _started.append(reporter)
        if spec["report_url"]:
            threading.Thread(target=reporter.run, daemon=True).start()
    return _started[0]


_started = []  # type: List[Reporter]


class Reporter:
    """The notice that the job runs, and the report of the port once there is one; a few times if it must."""

    def __init__(self, url: str, pin: Optional[str], secret: str, pipe: str) -> None:
        """Nothing is sent yet.

        Args:
            url: Where the hub takes reports; empty or None: nowhere, only the launcher is told.
            pin: SHA-256 (hex) of the hub's certificate in DER: the secret goes to nobody else. None: any valid one.
            secret: Says which attempt this is.
            pipe: Path of the launcher's pipe.
        """
        self.url = url
        self.pin = pin
        self.secret = secret
        self.pipe = pipe
        self.kept = None  # type: Optional[socket.socket]
        self.port = 0
        self.listens = threading.Event()

    def listening(self, port: int) -> bool:
        """Jupyter accepts connections; False if the launcher does not hear it."""
        heard = tell(self.pipe, "listening %d" % port)
        self.port = port
        self.listens.set()
        return heard

    def run(self) -> None:
        """Send the notice, wait for the port, send the report."""
        try:
            self.kept = self.connect()
            if not self.listens.is_set():
                self.send(None)
        except (OSError, ValueError):
            tell(self.pipe, "failed")
        self.listens.wait()
        problem = "refused"
        for pause in PAUSES_S + (None,):
            try:
                if self.send(self.port):
                    tell(self.pipe, "taken")
                    return
                break
            except (OSError, ValueError) as error:
                problem = str(error)
                tell(self.pipe, "failed")
            if pause is not None:
                time.sleep(pause)
        sys.stderr.write("minihub: the hub did not take the report of the port: %s\n" % problem)
        tell(self.pipe, "failed")

    def send(self, port: Optional[int]) -> bool:
        """Tell the hub the port; None: there is none yet.

        Returns:
            True if the hub took it, False if it refused: asking again would not help.

        Raises:
            OSError: Not reached; try again.
            ValueError: The URL is none.
        """
        code = 0
        if self.kept is not None:
            connection, self.kept = self.kept, None
            try:
                code = self.ask(connection, port)
            except OSError:
                pass  # the hub does not keep connections for ever
        code = code or self.ask(self.connect(), port)
        if 200 <= code < 300:
            return True
        if 400 <= code < 500:
            return False
        raise OSError("the hub answered %d" % code)

    def address(self) -> Any:
        """Scheme, host, port and path of the URL, which the hub has made."""
        scheme, _, rest = self.url.partition("://")
        place, _, path = rest.partition("/")
        host, colon, port = place.rpartition(":")
        if scheme not in ("http", "https") or not place:
            raise ValueError("not a URL")
        if not colon or "]" in port:
            host, port = place, ""
        return scheme, host.strip("[]"), int(port or (443 if scheme == "https" else 80)), "/" + path

    def connect(self) -> socket.socket:
        """Connect to the hub, and to nobody else."""
        scheme, name, port, _ = self.address()
        # Bytes: of a text Python would make IDNA, with tables of its own for that.
        host = name.encode("ascii" if name.isascii() else "idna")
        connection = socket.create_connection((host, port), timeout=TIMEOUT_S)  # type: ignore[arg-type]
        if scheme != "https":
            return connection
        try:
            return self.wrap(connection, host)
        except BaseException:
            connection.close()
            raise

    def wrap(self, connection: socket.socket, host: bytes) -> ssl.SSLSocket:
        """Speak TLS: with exactly the pinned certificate if there is a pin, else with any valid one."""
        if not self.pin:
            return ssl.create_default_context().wrap_socket(connection, server_hostname=host)  # type: ignore[arg-type]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the pin says more than any authority
        secured = context.wrap_socket(connection, server_hostname=host)  # type: ignore[arg-type]
        found = hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
        if found != self.pin.lower().replace(":", ""):
            secured.close()
            raise OSError("the hub's TLS certificate is not the one this job was given")
        return secured

    def ask(self, connection: socket.socket, port: Optional[int]) -> int:
        """Send one request and return the status of the answer, 0 if there is none; keep the connection if the hub does."""
        _, host, number, path = self.address()
        body = json.dumps({"secret": self.secret, "port": port}).encode()
        head = (
            "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (
                path,
                "[%s]" % host if ":" in host else host,
                number,
                len(body),
            )
        )
        try:
            connection.sendall(head.encode("ascii") + body)
            answer = b""
            while b"\r\n\r\n" not in answer and len(answer) < HEAD_BYTES:
                data = connection.recv(4096)
                if not data:
                    break
                answer += data
        except BaseException:
            connection.close()
            raise
        words = answer[:12].split(b" ")
        known = len(words) == 2 and words[0] in (b"HTTP/1.1", b"HTTP/1.0") and words[1].isdigit()
        code = int(words[1]) if known else 0
        # Only what has no body for certain: there is nothing to read before the next answer.
        kept = code == 204 and answer.startswith(b"HTTP/1.1") and b"connection: close" not in answer.lower()
        if kept and port is None:
            self.kept = connection
        else:
            connection.close()
        return code
