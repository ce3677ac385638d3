"""One page of many rows, and how many there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select
from sqlalchemy.sql import func

Conditions = Mapping[str, Callable[[Any], ColumnElement[bool]]]
"""Field of a query: what it asks of a row."""


def wanted_by(query: object, conditions: Conditions) -> list[ColumnElement[bool]]:
    """What `query` asks for: fields that are None ask for nothing."""
    return [make(value) for name, make in conditions.items() if (value := getattr(query, name)) is not None]


def read_page(
    connection: Connection, rows: Select[Any], limit: int, offset: int
) -> tuple[list[tuple[Any, ...]], int]:
    """So many of `rows` after `offset`, and how many there are in all."""
    total = connection.execute(select(func.count()).select_from(rows.order_by(None).subquery())).scalar_one()
    return [tuple(row) for row in connection.execute(rows.limit(limit).offset(offset))], total
