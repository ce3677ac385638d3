"""Reads a request's query and body into the models of its endpoint; whatever is wrong becomes a 4xx that says what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from minihub.errors import NotFound
from minihub.web.api.problems import BadRequest, InvalidRequest, NotJson

M = TypeVar("M", bound=BaseModel)

MAX_NAME = 64
"""Longest name of a wrong field that is repeated to its sender."""

_WORDS = {
    "missing": "This is needed.",
    "extra_forbidden": "There is no such field here.",
    "int_type": "A whole number is needed.",
    "int_parsing": "A whole number is needed.",
    "int_from_float": "A whole number is needed.",
    "float_type": "A number is needed.",
    "float_parsing": "A number is needed.",
    "bool_type": "true or false is needed.",
    "bool_parsing": "true or false is needed.",
    "string_type": "Text is needed.",
    "list_type": "A list is needed.",
    "dict_type": "An object is needed.",
    "model_type": "An object is needed.",
    "model_attributes_type": "An object is needed.",
}


def read_query(request: web.Request, model: type[M]) -> M:
    """The query.

    Raises:
        InvalidRequest: Unknown, repeated or wrong parameters.
    """
    query = request.query
    repeated = [name for name in query if len(query.getall(name)) > 1]
    if repeated:
        raise InvalidRequest({name[:MAX_NAME]: "This was given more than once." for name in repeated})
    return validate(model, dict(query))


async def read_body(request: web.Request, model: type[M]) -> M:
    """The body; none at all counts as an object without fields.

    Raises:
        NotJson: It is declared as something else, or compressed.
        BadRequest: It is no JSON object.
        InvalidRequest: Unknown or wrong fields.
        web.HTTPRequestEntityTooLarge: It is too large.
    """
    # Before the body is looked at: unpacking it could fail. Source: RFC 9110 section 15.5.16.
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise NotJson("Send the body as it is, without a Content-Encoding.")
    raw = await request.read()
    if not raw.strip():
        return validate(model, {}, strict=True)
    _verify_json(request)
    try:
        body = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise BadRequest("The body is a JSON object.")
    return validate(model, body, strict=True)


def verify_path(request: web.Request) -> None:
    """Refuse a path that names nothing that could exist.

    Raises:
        NotFound: It does.
    """
    if any(_is_unwritable(value) for value in request.match_info.values()):
        raise NotFound


def validate(model: type[M], values: Mapping[str, Any], *, strict: bool = False) -> M:
    """Check values against a model; `strict`: as JSON has types, "1" and true are no numbers.

    Raises:
        InvalidRequest: One message per wrong field.
    """
    bad = {name for name, value in values.items() if any(map(_is_unwritable, _texts([name, value])))}
    if bad:
        raise InvalidRequest({_shown(name): "Characters are in it that no text has." for name in bad})
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as error:
        raise InvalidRequest(dict(map(_explain, error.errors(include_url=False)))) from error


def _verify_json(request: web.Request) -> None:
    if "Content-Type" not in request.headers:
        return
    kind = request.content_type
    if (kind != "application/json" and not kind.endswith("+json")) or (
        request.charset or "utf-8"
    ).lower() not in {
        "utf-8",
        "utf8",
    }:
        raise NotJson


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity: Python reads them, JSON does not know them."""
    raise ValueError(name)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys of objects too."""
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, Iterable):
            waiting += one


def _is_unwritable(text: str) -> bool:
    """Whether a text has what neither a store nor an answer can hold: NUL, or half of a surrogate pair."""
    return any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def _shown(name: str) -> str:
    return name[:MAX_NAME].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _explain(problem: Any) -> tuple[str, str]:
    # The options are named alike whether they come in `user_options` or, as of old, alone.
    parts = [str(part) for part in problem["loc"] if part != "user_options"] or ["user_options"]
    message = _WORDS.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    return _shown(".".join(parts)), message
