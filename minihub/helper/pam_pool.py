"""Processes that ask PAM: one stands ready, more come with the questions, each may be killed without harm to the rest.

A right password must not wait behind wrong ones. Three things see to that:
- PAM's delay after a wrong password (2-4 s) is held here by a timer and keeps no process busy;
- the newest question goes first, and every third time the oldest, so that a heap of questions delays neither who comes
  now nor anybody for ever; few are worked on at once, since checking a password is pure computing (50 ms of a core);
- a process that does not compute but waits (a module for its network, or for ever) does not count: others take its
  place, up to a bound. Processes not needed end again.
"""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from minihub.helper.children import (
    kill_group,
    read_report,
    report,
    spawn,
    watch_reports,
)
from minihub.helper.loop import Loop, Timer
from minihub.helper.pam_worker import Question
from minihub.helper.privileges import die_with_parent, forbid_tracing
from minihub.helper.processes import is_computing

MAX_WORKERS = 64
MAX_WAITING = 512
LOOK_S = 0.05
"""While questions wait, how often it is looked who computes and who merely waits."""
IDLE_S = 30.0
"""A process ends after being idle for this long, except the last one."""

Done = Callable[[dict[str, Any]], None]


class PamPool:
    """Answers questions in child processes."""

    def __init__(self, loop: Loop, question: Question, *, base: int, timeout_s: float) -> None:
        self._loop = loop
        self._question = question
        self._base = base
        self._timeout_s = timeout_s
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._waiting: deque[_Waiting] = deque()
        self._turn = 0
        self._looking = False
        self._closed = False
        self._fork()

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def ask(self, asked: dict[str, Any], done: Done) -> None:
        """Have `asked` answered; `done` gets the answer, or {"error": "busy" | "timeout" | "crashed"}."""
        if len(self._waiting) >= MAX_WAITING:
            done({"error": "busy", "message": ""})
            return
        waiting = _Waiting(asked, done)
        waiting.timer = self._loop.call_later(self._timeout_s, lambda: self._waited_too_long(waiting))
        self._waiting.append(waiting)
        self._pump()

    def close(self) -> None:
        """End all processes, busy ones by force."""
        self._closed = True
        for worker in [*self._idle, *self._busy]:
            worker.end()

    def idle(self, worker: _Worker) -> None:
        """`worker` has answered and takes the next question."""
        self._busy.discard(worker)
        self._idle.append(worker)
        self._pump()
        if worker in self._idle:
            worker.retire_after(IDLE_S)

    def gone(self, worker: _Worker) -> None:
        """`worker` has ended, whatever the reason."""
        self._busy.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if not self._closed:
            if not len(self):
                self._fork()
            self._pump()

    def may_retire(self) -> bool:
        """Whether an idle worker is one too many."""
        return len(self) > 1

    def hold(self, answer: dict[str, Any], done: Done) -> None:
        """Pass an answer on, after the delay that PAM wants between guesses."""
        delay_s = float(answer.pop("delay_s", 0) or 0)
        if delay_s > 0:
            self._loop.call_later(delay_s, lambda: done(answer))
        else:
            done(answer)

    def _fork(self) -> None:
        self._idle.append(_Worker(self, self._loop, self._question))

    def _pump(self) -> None:
        while self._waiting and len(self._busy) < self._at_once():
            if not self._idle:
                self._fork()
            worker = self._idle.pop()
            self._busy.add(worker)
            waiting = self._next()
            waiting.cancel_timer()
            worker.ask(waiting, self._timeout_s)
        if self._waiting and not self._looking:
            self._looking = True
            self._loop.call_later(LOOK_S, self._look)

    def _at_once(self) -> int:
        """How many questions may be worked on now: twice as many more as merely wait, so that it grows fast."""
        return min(self._base + 2 * sum(worker.blocked for worker in self._busy), MAX_WORKERS)

    def _look(self) -> None:
        self._looking = False
        for worker in self._busy:
            worker.look()
        self._pump()

    def _next(self) -> _Waiting:
        self._turn = (self._turn + 1) % 3
        return self._waiting.popleft() if self._turn == 0 else self._waiting.pop()

    def _waited_too_long(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        waiting.done({"error": "busy", "message": ""})


class _Waiting:
    """A question that nobody answers yet."""

    __slots__ = ("asked", "done", "timer")

    def __init__(self, asked: dict[str, Any], done: Done) -> None:
        self.asked = asked
        self.done = done
        self.timer: Timer | None = None

    def cancel_timer(self) -> None:
        """It waits no longer."""
        if self.timer is not None:
            self.timer.cancel()


class _Worker:
    """One process that answers one question at a time."""

    def __init__(self, pool: PamPool, loop: Loop, question: Question) -> None:
        self._pool = pool
        self._loop = loop
        self._done: Done | None = None
        self._timer: Timer | None = None
        self._reaped = False
        self.blocked = False
        """Busy, but not computing at the last look."""
        self._pid, self._sock = spawn(lambda sock: _answer_questions(sock, question))
        watch_reports(loop, self._sock, self._heard)
        loop.on_exit(self._pid, self._on_exit)

    def ask(self, waiting: _Waiting, timeout_s: float) -> None:
        """Pass a question on; without an answer within `timeout_s` the process is killed."""
        self._cancel_timer()
        self._done = waiting.done
        self._timer = self._loop.call_later(timeout_s, self._on_timeout)
        report(self._sock, waiting.asked)
        waiting.asked.clear()

    def look(self) -> None:
        """See whether it computes."""
        self.blocked = not is_computing(self._pid)

    def retire_after(self, idle_s: float) -> None:
        """End if nothing is asked for `idle_s`, unless it is the last."""
        self._cancel_timer()
        self._timer = self._loop.call_later(idle_s, self._retire)

    def end(self) -> None:
        """End now."""
        # Its group: a module's own children with it. Once reaped, the number may be another's.
        if not self._reaped:
            kill_group(self._pid, signal.SIGKILL)

    def _heard(self, answer: dict[str, Any] | None) -> None:
        if answer is None:
            self._leave("crashed")
            return
        self._cancel_timer()
        self.blocked = False
        done, self._done = self._done, None
        self._pool.idle(self)
        if done is not None:
            self._pool.hold(answer, done)

    def _on_timeout(self) -> None:
        self._loop.unwatch(self._sock)
        self._sock.close()
        self._leave("timeout")

    def _leave(self, failure: str) -> None:
        self._cancel_timer()
        done, self._done = self._done, None
        self.end()
        self._pool.gone(self)
        if done is not None:
            done({"error": failure, "message": ""})

    def _retire(self) -> None:
        if self._pool.may_retire():
            self._loop.unwatch(self._sock)
            self._sock.close()
            self._leave("retired")

    def _on_exit(self, _status: int) -> None:
        self._reaped = True

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _answer_questions(sock: socket.socket, question: Question) -> None:
    """In the child: answer until the helper closes its end."""
    die_with_parent()
    forbid_tracing()
    _silence()
    sock.setblocking(True)
    while (asked := read_report(sock)) is not None:
        answer: dict[str, Any]
        try:
            answer = question(asked)
        except Exception as error:  # noqa: BLE001 - its text could hold the password; its kind cannot
            answer = {"error": "trouble", "message": f"PAM: {type(error).__name__}"}
        asked.clear()
        report(sock, answer)


def _silence() -> None:
    """Modules that print: standard output and error go nowhere, and there is nothing to read."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)  # never one of the three: they are open
