"""Loads: a new connection for each request, or a new connection and a full TLS handshake.

An epoll loop of its own: uvloop takes longer to make a connection than proxies do to serve it.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time

from .answers import Wrong, take_answer
from .content import SMALL
from .crowd import MOST_ERRORS
from .heads import Site
from .window import Window

_LONGEST_S = 5.0
_READ = 64 * 1024
_EVENTS = select.EPOLLIN | select.EPOLLRDHUP


class _Try:
    """One connection: connect, ask, read until the proxy hangs up as it was asked to."""

    __slots__ = ("began", "got", "left", "socket")

    def __init__(self, connection: socket.socket, head: bytes) -> None:
        self.socket = connection
        self.left = head
        self.got = bytearray()
        self.began = time.monotonic()

    def start(self) -> None:
        """Begin to speak."""
        self.flush()

    def flush(self) -> None:
        """Send what is to be sent, as far as possible."""
        if self.left:
            try:
                self.left = self.left[self.socket.send(self.left) :]
            except BlockingIOError:
                return

    def read(self) -> bool:
        """Take what there is; True at the end of the connection."""
        data = self.socket.recv(_READ)
        self.got += data
        return not data


class _TlsTry(_Try):
    """The same, in TLS."""

    __slots__ = ("head", "incoming", "outgoing", "tls")

    def __init__(self, connection: socket.socket, head: bytes, context: ssl.SSLContext) -> None:
        super().__init__(connection, b"")
        self.head = head
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        # Without a session from before, and none is kept: every handshake is a full one.
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    def start(self) -> None:
        self._speak()

    def _speak(self) -> bool:
        """Take TLS further; True when the proxy has said that it hangs up, which is answered."""
        over = False
        try:
            if self.head:
                self.tls.do_handshake()
                self.tls.write(self.head)
                self.head = b""
            while piece := self.tls.read(_READ):
                self.got += piece
            over = True
            self.tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        self.left += self.outgoing.read()
        self.flush()
        return over

    def read(self) -> bool:
        data = self.socket.recv(_READ)
        if not data:
            return True
        self.incoming.write(data)
        return self._speak()


class Connects:
    """The load."""

    def __init__(self, site: Site, context: ssl.SSLContext | None, window: Window, path: str) -> None:
        self._window = window
        self._context = context
        self._address = ("127.0.0.1", site.port)
        self._head = site.get(f"{path}?type=notebook&content=0", "Connection: close")
        self._tries: dict[int, _Try] = {}
        self._poll = select.epoll()
        self._length = 0
        self._wanted = 0

    def run(self, connections: int) -> None:
        """`connections` at once, until the window is over and the last one has ended."""
        window = self._window
        self._wanted = connections
        for _ in range(connections):
            self._open()
        begin_at = time.perf_counter() + window.warm_s
        self._turn_until(begin_at)
        window.begin()
        self._turn_until(begin_at + window.seconds)
        window.end()
        while self._tries:
            self._turn()
        self._poll.close()

    def _turn_until(self, when: float) -> None:
        while time.perf_counter() < when and not self._window.over:
            self._turn()

    def _turn(self) -> None:
        events = self._poll.poll(0.05)
        for number, event in events:
            self._step(self._tries[number], event)
        if not events:
            now = time.monotonic()
            for one in [one for one in self._tries.values() if now - one.began > _LONGEST_S]:
                self._finish(one, "no end")
        # Those that could not even connect.
        for _ in range(0 if self._window.over else self._wanted - len(self._tries)):
            self._open()

    def _open(self) -> None:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one = (
            _Try(connection, self._head)
            if self._context is None
            else _TlsTry(connection, self._head, self._context)
        )
        self._tries[connection.fileno()] = one
        self._poll.register(connection.fileno(), _EVENTS)
        failed = connection.connect_ex(self._address)
        if failed not in (0, errno.EINPROGRESS):
            self._finish(one, f"connect: {errno.errorcode[failed]}", again=False)
            return
        try:
            one.start()
        except OSError as error:
            self._finish(one, type(error).__name__, again=False)
            return
        self._watch(one)

    def _watch(self, one: _Try) -> None:
        if one.left:
            self._poll.modify(one.socket.fileno(), _EVENTS | select.EPOLLOUT)

    def _step(self, one: _Try, event: int) -> None:
        try:
            if event & select.EPOLLOUT and one.left:
                one.flush()
                if not one.left:
                    self._poll.modify(one.socket.fileno(), _EVENTS)
            if not event & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                return
            over = one.read()
            while event & select.EPOLLRDHUP and not over:
                over = one.read()
            if over:
                self._verify(one)
                self._window.done += 1
                self._finish(one)
            else:
                self._watch(one)
        except BlockingIOError:
            return
        except Wrong as wrong:
            self._finish(one, str(wrong))
        except OSError as error:
            self._finish(one, f"hung up: {type(error).__name__}")

    def _verify(self, one: _Try) -> None:
        got = one.got
        if len(got) == self._length and got.startswith(b"HTTP/1.1 200 ") and got.endswith(SMALL):
            return
        if not got:
            raise Wrong("hung up: end")
        if take_answer(got, SMALL) is None:
            raise Wrong("half an answer")
        self._length = len(got)
        if isinstance(one, _TlsTry):
            self._window.more["tls"] = f"{one.tls.version()} {(one.tls.cipher() or ['?'])[0]}"
            if one.tls.session_reused:
                raise Wrong("no full handshake")

    def _finish(self, one: _Try, problem: str = "", *, again: bool = True) -> None:
        del self._tries[one.socket.fileno()]
        one.socket.close()
        if problem:
            self._window.errors[problem] += 1
            if self._window.errors.total() > MOST_ERRORS:
                self._window.over = True
        if again and not self._window.over:
            self._open()
