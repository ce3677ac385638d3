"""What was found out about heads of late: a browser repeats itself, on one connection and on its others. Pure.

Heads are told apart by their telling lines alone (`lines`). Nothing here lets anybody in: whether a login is still good
is asked for every request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from minihub.proxy.gate import Pass
from minihub.proxy.headers import build_hub_fields, says_what_is_plain
from minihub.proxy.lines import PLAIN_ANSWER_NAMES, PLAIN_REQUEST_NAMES, Sieve
from minihub.proxy.recent import Recent
from minihub.proxy.wire import (
    MAX_ANSWER_FIELDS,
    MAX_FIELDS,
    HeaderBlock,
    RequestHead,
    ResponseHead,
    parse_line,
    parse_request,
    parse_response,
    split_head,
)

MOST: Final = 512
LONGEST: Final = 4096
"""Bytes of header fields that are remembered beyond their message."""
FORGET_S: Final = 30.0
"""What does not come again for so long, or up to twice that, is read anew: open tabs ask oftener."""
_MOST_PASSES = 16
_MOST_ONCE = 4096
_MOST_ANSWERS = 64
"""For each server: few kinds of answers, but each length is another one."""

_REQUESTS = Sieve(PLAIN_REQUEST_NAMES)
_ANSWERS = Sieve(PLAIN_ANSWER_NAMES)

Telling = tuple[bytes, ...]
"""Telling lines, without their ends."""


@dataclass(slots=True)
class Memo:
    """What is known of requests with the same telling lines."""

    header: HeaderBlock
    _hub_fields: bytes = b""
    _passes: dict[tuple[str, str], Pass] = field(default_factory=dict)

    @property
    def hub_fields(self) -> bytes:
        """The fields as they go to the hub's own pages, but for the plain ones."""
        if not self._hub_fields:
            self._hub_fields = build_hub_fields(self.header)
        return self._hub_fields

    def find_pass(self, origin: tuple[str, str]) -> Pass | None:
        """What the gate said of it when it came from that address in that scheme."""
        return self._passes.get(origin)

    def keep_pass(self, origin: tuple[str, str], found: Pass) -> None:
        """Remember what the gate said."""
        if len(self._passes) >= _MOST_PASSES:
            self._passes.clear()
        self._passes[origin] = found


class Memos:
    """Reads requests.

    Only what comes a second time is kept: of those who never repeat themselves nothing piles up.
    """

    def __init__(self) -> None:
        self._by_telling: Recent[Telling, Memo] = Recent(MOST)
        self._once: Recent[int, bool] = Recent(_MOST_ONCE)
        self._forget_at = 0.0

    def __len__(self) -> int:
        return len(self._by_telling)

    def sweep(self, now: float) -> None:
        """Forget what did not come for a while; call it now and then, with monotonic seconds."""
        if now >= self._forget_at:
            self._forget_at = now + FORGET_S
            for recent in (self._by_telling, self._once, _REQUESTS.known, _ANSWERS.known):
                recent.turn()

    def read(self, head: bytes) -> tuple[RequestHead, Memo]:
        """Read a request's head; as `parse_request`, but the plain lines are told apart.

        Raises:
            BadMessage: See `parse_request`.
        """
        line, raw = split_head(head)
        lines = raw.split(b"\r\n")
        if len(lines) - 2 > MAX_FIELDS:
            return self._read_whole(head)
        telling, plain = _REQUESTS.part(lines[:-2])
        memo = self._by_telling.young.get(telling) or self._by_telling.revive(telling)
        request = parse_line(line, memo.header) if memo is not None else None
        if request is None or memo is None:
            request = parse_request(b"\r\n".join((line, *telling, b"\r\n")))
            if says_what_is_plain(request.header.fields, _REQUESTS.names):
                return self._read_whole(head)
            memo = Memo(request.header)
            # A whole URL's host takes the place of the one in the lines.
            if request.line.startswith(line):
                self._keep(telling, memo)
        request.plain = plain
        if request.line.startswith(line) and request.version == 11 and len(raw) <= LONGEST:
            request.raw = raw
        return request, memo

    def _read_whole(self, head: bytes) -> tuple[RequestHead, Memo]:
        request = parse_request(head)
        return request, Memo(request.header)

    def _keep(self, telling: Telling, memo: Memo) -> None:
        if len(memo.header.raw) <= LONGEST and self._came_before(hash(telling)):
            self._by_telling.put(telling, memo)

    def _came_before(self, number: int) -> bool:
        if number in self._once.young or self._once.revive(number):
            return True
        self._once.put(number, value=True)
        return False


Build = Callable[[ResponseHead, bool], bytes]
"""What goes on of an answer's head: status line and fields, without Connection and the empty line. The flag: unchunked."""


class AnswerMemos:
    """Reads answers of one server."""

    def __init__(self, build: Build) -> None:
        self._build = build
        # A plain table, emptied when it is full: there is one for each server, and it goes with it.
        self._known: dict[tuple[str, bool, Telling], tuple[ResponseHead, bytes]] = {}

    def read(self, head: bytes, method: str, *, unchunked: bool) -> tuple[ResponseHead, bytes]:
        """Read an answer's head and build what goes on of it.

        Args:
            head: As `find_head_end` delimits it.
            method: Of the request.
            unchunked: The body goes on without the chunked coding.

        Returns:
            The head, whose fields may lack the plain ones, and what goes on, see `Build`.

        Raises:
            BadMessage: See `parse_response`.
        """
        lines = head.split(b"\r\n")
        if len(lines) - 3 > MAX_ANSWER_FIELDS:
            return self._read_whole(head, method, unchunked=unchunked)
        # The status line is telling: no field is called so.
        telling, plain = _ANSWERS.part(lines[:-2])
        key = method, unchunked, telling
        known = self._known.get(key)
        if known is None:
            response = parse_response(b"\r\n".join((*telling, b"\r\n")), method)
            if says_what_is_plain(response.fields, _ANSWERS.names):
                return self._read_whole(head, method, unchunked=unchunked)
            known = response, self._build(response, unchunked)
            if len(known[1]) <= LONGEST:
                if len(self._known) >= _MOST_ANSWERS:
                    self._known.clear()
                self._known[key] = known
        response, built = known
        return response, built + plain

    def _read_whole(self, head: bytes, method: str, *, unchunked: bool) -> tuple[ResponseHead, bytes]:
        response = parse_response(head, method)
        return response, self._build(response, unchunked)
