"""The rows that the store gives and takes. Pure values; what is inside `data` is the business of other rooms."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt to run one user's server."""

    id: str
    user: str
    tag: str
    state: str
    live: bool
    """At most one live row a user."""
    created_at: float
    changed_at: float
    ended_at: float | None
    job_id: str | None
    data: str
    """JSON without secrets."""
    secrets: str = field(repr=False)
    """JSON; encrypted at rest. "" in history."""
