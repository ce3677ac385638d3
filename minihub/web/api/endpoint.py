"""What one endpoint is: the values of the table in `routes.py`, from which requests are read and OpenAPI is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from minihub.web.api.call import Call
from minihub.web.api.models import ErrorModel

JSON = "application/json"
EVENTS = "text/event-stream"
TEXT = "text/plain"
CSV = "text/csv"
HTML = "text/html"


class Wish(BaseModel):
    """What comes in, in a query or a body: unknown names are errors, so that a misspelt one is not passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Nothing(Wish):
    """No fields at all."""


class Asker(Enum):
    """Who may ask."""

    KNOWN = "known"
    """Somebody with a token or a login."""
    ANYBODY = "anybody"
    """No credentials are looked at."""
    SELF_CHECKED = "self-checked"
    """The handler finds out, since there is more than one way in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One possible answer."""

    status: int
    meaning: str
    model: Any = None
    """A type that pydantic can describe; None: no content, or none that a schema describes (see `media`)."""
    media: tuple[str, ...] = (JSON,)


# What can come back from anywhere, and what from endpoints of a kind.
BAD_REQUEST = Answer(400, "The request is wrong; `fields` names what.", ErrorModel)
NOBODY = Answer(401, "No token and no login.", ErrorModel)
FORBIDDEN = Answer(403, "The token is not valid (any more), or may not do this.", ErrorModel)
NOT_FOUND = Answer(404, "There is no such thing, or none that the asker may know of.", ErrorModel)
TOO_LARGE = Answer(413, "The body is too large.", ErrorModel)
NOT_JSON = Answer(415, "The body is not declared as JSON in UTF-8.", ErrorModel)
UNAVAILABLE = Answer(503, "The hub's records or the scheduler cannot be used right now.", ErrorModel)
CONFLICT = Answer(409, "Not possible in the present state; the message says why.", ErrorModel)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    """Below /hub/api, with {parameters} in aiohttp's form."""
    handler: Callable[[Call[Any, Any]], Awaitable[web.StreamResponse]]
    summary: str
    scope: str
    """In words: which scope is needed, and on whose things."""
    answers: tuple[Answer, ...]
    """Those of its own; `all_answers` adds what every such endpoint can answer."""
    description: str = ""
    query: type[Wish] = Nothing
    body: type[Wish] = Nothing
    asker: Asker = Asker.KNOWN
    topic: str = "Hub"
    hidden: bool = False
    """A second form of another entry: served, but not listed in the documents."""

    @property
    def takes_body(self) -> bool:
        """Whether a body is looked at."""
        return self.method not in ("GET", "HEAD")

    @property
    def streams(self) -> bool:
        """Whether its answer goes on for as long as there is something to tell."""
        return any(EVENTS in answer.media for answer in self.answers)

    @property
    def all_answers(self) -> tuple[Answer, ...]:
        """Every answer that it can give, by status."""
        found = {answer.status: answer for answer in self._common()}
        found |= {answer.status: answer for answer in self.answers}
        return tuple(found[status] for status in sorted(found))

    def _common(self) -> list[Answer]:
        common = [BAD_REQUEST, UNAVAILABLE]
        if self.asker is not Asker.ANYBODY:
            common += [NOBODY, FORBIDDEN]
        if "{" in self.path:
            common.append(NOT_FOUND)
        if self.takes_body:
            common += [TOO_LARGE, NOT_JSON]
        return common
