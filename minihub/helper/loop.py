"""A very small event loop: sockets, timers, ends of children. asyncio would double the helper's memory."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Any


class Timer:
    """Something to be done later, unless cancelled before."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not do it."""
        self.callback = None


class Loop:
    """Waits for everything at once. One thread, one per process (it owns SIGCHLD)."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._children: dict[int, Callable[[int], None]] = {}
        self._running = True
        self._woken, wake = socket.socketpair()
        self._wake = wake
        for end in (self._woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(self._woken, selectors.EVENT_READ, self._on_signal)

    def watch(self, sock: Any, events: int, callback: Callable[[], object]) -> None:
        """Call `callback` whenever `sock` is ready; changes what was watched there before."""
        try:
            self._selector.modify(sock, events, callback)
        except KeyError:
            self._selector.register(sock, events, callback)

    def unwatch(self, sock: Any) -> None:
        """Forget `sock`; nothing happens if it is not watched."""
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            return

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `delay_s` seconds."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), timer))
        return timer

    def on_exit(self, pid: int, callback: Callable[[int], None]) -> None:
        """Call `callback` with the exit status (128+N after signal N) once child `pid` has ended and is reaped."""
        self._children[pid] = callback

    def stop(self) -> None:
        """Return from `run` after this round."""
        self._running = False

    def run(self) -> None:
        """Work until `stop`."""
        while self._running:
            for key, _ in self._selector.select(self._run_timers()):
                # An earlier callback of this round may have closed this one's socket.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()

    def _run_timers(self) -> float | None:
        while self._timers:
            when, _, timer = self._timers[0]
            wait = when - time.monotonic()
            if timer.callback is not None and wait > 0:
                return wait
            heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
            if not self._running:
                return 0
        return None

    def _on_signal(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            pass
        for pid in list(self._children):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if found and (callback := self._children.pop(pid, None)):
                code = os.waitstatus_to_exitcode(status)
                callback(code if code >= 0 else 128 - code)
