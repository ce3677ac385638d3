"""From models to responses: one thing, a list, or a part of a list in JupyterHub's way of paging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, Field

from minihub.web.api.call import Call
from minihub.web.api.endpoint import Wish
from minihub.web.api.models import Model, NextModel, PaginationModel
from minihub.web.client import own_origin
from minihub.web.respond import json_response

T = TypeVar("T", bound=BaseModel)

MAX_PAGE = 200
PAGINATION_MEDIA = "jupyterhub-pagination"
"""In the Accept header of those who want to know how much more there is.

Source: JupyterHub's REST API, "Paginating API requests"."""


def _as_digits(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 9):
        msg = "A whole number is needed, 0 or more."
        raise ValueError(msg)
    return value


Whole = Annotated[int, Field(ge=0, le=999_999_999), BeforeValidator(_as_digits)]
"""A number in a query."""
AtLeastOne = Annotated[int, Field(ge=1, le=999_999_999), BeforeValidator(_as_digits)]


class Paged(Wish):
    """Which part of a list."""

    offset: Whole = 0
    """How many to pass over."""
    limit: AtLeastOne = MAX_PAGE
    """How many at most; beyond 200 it is 200."""

    @property
    def most(self) -> int:
        """How many at most."""
        return min(self.limit, MAX_PAGE)


class PageModel(Model, Generic[T]):
    """Part of a list, for those who ask with Accept: application/jupyterhub-pagination+json."""

    items: list[T]
    pagination: PaginationModel = Field(alias="_pagination")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Its name in the description, such as UserPageModel."""
        return f"{params[0].__name__.removesuffix('Model')}PageModel"


def reply(model: BaseModel | Sequence[BaseModel], status: int = 200) -> web.Response:
    """JSON of a model, or of a list of models; fields that were not set are left out."""
    data = dump(model) if isinstance(model, BaseModel) else [dump(one) for one in model]
    return json_response(data, status=status)


def dump(model: BaseModel) -> dict[str, Any]:
    """As JSON values."""
    return model.model_dump(mode="json", exclude_unset=True, by_alias=True)


def no_content() -> web.Response:
    """204."""
    return web.Response(status=204)


def reply_page(call: Call[Any, Any], items: Sequence[BaseModel], total: int) -> web.Response:
    """Part of a list, cut already; with the numbers around it if they were asked for."""
    return _reply_part(call, [dump(one) for one in items], total)


def reply_routes(call: Call[Paged, Any], routes: Mapping[str, BaseModel]) -> web.Response:
    """Part of a table of routes; with the numbers around it if they were asked for."""
    names = list(routes)[call.query.offset : call.query.offset + call.query.most]
    return _reply_part(call, {name: dump(routes[name]) for name in names}, len(routes))


def _reply_part(call: Call[Any, Any], part: list[Any] | dict[str, Any], total: int) -> web.Response:
    if PAGINATION_MEDIA not in call.request.headers.get("Accept", ""):
        return json_response(part)
    wanted: Paged = call.query
    rest = wanted.offset + len(part)
    following = None
    if rest < total and part:
        path = call.request.rel_url.update_query(offset=str(rest), limit=str(wanted.limit))
        url = own_origin(call.request, call.deps.settings.hub) + str(path)
        following = NextModel(offset=rest, limit=wanted.limit, url=url)
    pagination = PaginationModel(offset=wanted.offset, limit=wanted.limit, total=total, next=following)
    return json_response({"items": part, "_pagination": dump(pagination)})
