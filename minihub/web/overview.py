"""Everybody's servers as one table for admins: what is wanted of it, in which order, and each row in words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minihub.errors import BadQuery
from minihub.servers import explain
from minihub.servers.model import Attempt, State
from minihub.web import words
from minihub.web.i18n import Translator
from minihub.web.paging import parse_page
from minihub.web.view import job_state_words
from minihub.web.words import N_

ROWS_PER_PAGE = 50
MAX_FILTER_LENGTH = 128
LIVE_STATES = tuple(state for state in State if not state.is_final)


@dataclass(frozen=True, slots=True)
class Entry:
    """One server, as of one moment."""

    attempt: Attempt
    last_activity: float | None
    """Wall seconds, to the minute: an open Lab would otherwise change it all the time."""


Key = Callable[[Entry], Any]
"""What a column is sorted by; None always comes last."""

SORTS: dict[str, Key] = {
    "user": lambda e: e.attempt.user,
    "state": lambda e: LIVE_STATES.index(e.attempt.state),
    "job": lambda e: _number_first(e.attempt.job_id),
    "node": lambda e: e.attempt.node,
    "cores": lambda e: e.attempt.options.cores,
    "memory": lambda e: e.attempt.options.memory_mb,
    "gpu": lambda e: e.attempt.options.gpu_count or None,
    "elapsed": lambda e: -_since(e.attempt),
    "idle": lambda e: None if (since := _idle_since(e)) is None else -since,
    "interface": lambda e: e.attempt.options.interface,
    "account": lambda e: e.attempt.options.account,
    "partition": lambda e: e.attempt.options.partition,
}

COLUMNS = {
    "user": N_("User"),
    "state": N_("State"),
    "job": N_("Job"),
    "node": N_("Node"),
    "cores": N_("Cores"),
    "memory": N_("Memory"),
    "gpu": N_("GPUs"),
    "elapsed": N_("Running for"),
    "idle": N_("Idle for"),
    "interface": N_("Interface"),
    "account": N_("Account"),
    "partition": N_("Partition"),
}
"""Columns in the order in which they stand, by what they are sorted by."""

FILTERS = ("user", "state", "node", "account", "partition")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which servers an admin wants to see, and how: the page's query."""

    user: str = ""
    """A part of the name, in any case."""
    state: str = ""
    node: str = ""
    account: str = ""
    partition: str = ""
    sort: str = "user"
    """A column; with "-" in front: the other way round."""
    page: int = 1

    @property
    def is_filtered(self) -> bool:
        """Whether not simply all are wanted."""
        return any(getattr(self, name) for name in FILTERS)

    @property
    def is_one_node(self) -> bool:
        """Whether all servers of one node are wanted."""
        return bool(self.node) and not (self.user or self.state or self.account or self.partition)

    def query(self, **changes: str) -> dict[str, str]:
        """The same wish as parameters of a link, "" where nothing needs to be said; a change leads to the first page."""
        values = {name: getattr(self, name) for name in FILTERS}
        values["sort"] = "" if self.sort == "user" else self.sort
        if not changes:
            values["page"] = "" if self.page == 1 else str(self.page)
        return {**values, **changes}

    def sorted_by(self, column: str) -> str:
        """What a click on a column's head asks for: this column, or the other way round where it is that already."""
        return f"-{column}" if self.sort == column else column


def parse_wanted(query: Mapping[str, str]) -> Wanted:
    """Read the page's query; parameters that are none of ours are left alone.

    Raises:
        BadQuery: One has a value that it cannot have; says which.
        NotFound: No number of a page.
    """
    texts = {name: query.get(name, "").strip() for name in FILTERS}
    if any(len(text) > MAX_FILTER_LENGTH for text in texts.values()):
        raise BadQuery("What the servers are filtered by is too long.")
    if texts["state"] and texts["state"] not in LIVE_STATES:
        raise BadQuery("There is no such state to filter by.")
    sort = query.get("sort") or "user"
    if sort.removeprefix("-") not in SORTS:
        raise BadQuery("There is no such column to sort by.")
    return Wanted(**texts, sort=sort, page=parse_page(query))


def choose(entries: Iterable[Entry], wanted: Wanted) -> list[Entry]:
    """Those that pass the filters, in the wanted order."""
    part = wanted.user.casefold()
    found = [entry for entry in entries if _passes(entry.attempt, wanted, part)]
    key = SORTS[wanted.sort.removeprefix("-")]
    found.sort(key=SORTS["user"])
    present = [entry for entry in found if key(entry) is not None]
    absent = [entry for entry in found if key(entry) is None]
    return sorted(present, key=key, reverse=wanted.sort.startswith("-")) + absent


def _passes(attempt: Attempt, wanted: Wanted, part: str) -> bool:
    options = attempt.options
    return (
        part in attempt.user.casefold()
        and wanted.state in ("", attempt.state)
        and wanted.node in ("", attempt.node)
        and wanted.account in ("", options.account)
        and wanted.partition in ("", options.partition)
    )


def page_of(entries: Sequence[Entry], wanted: Wanted) -> tuple[Sequence[Entry], Wanted]:
    """The rows of the wanted page; of the last one where there are fewer pages (any more)."""
    last = max(1, -(-len(entries) // ROWS_PER_PAGE))
    number = min(wanted.page, last)
    start = (number - 1) * ROWS_PER_PAGE
    return entries[start : start + ROWS_PER_PAGE], replace(wanted, page=number)


def filter_choices(entries: Iterable[Entry], wanted: Wanted) -> dict[str, list[str]]:
    """What the drop-down filters offer: the values there are, and the one that is chosen now."""
    nodes, accounts, partitions = {wanted.node}, {wanted.account}, {wanted.partition}
    for entry in entries:
        nodes.add(entry.attempt.node or "")
        accounts.add(entry.attempt.options.account or "")
        partitions.add(entry.attempt.options.partition or "")
    found = {"node": nodes, "account": accounts, "partition": partitions}
    return {name: sorted(values - {""}) for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class Sums:
    """What a set of servers has together."""

    states: tuple[tuple[str, str, str, int], ...]
    """(state, its label, its tone, how many) of the states that occur."""
    total: int
    words: str
    """Resources of the jobs that run: "84 cores · 200 GB · 3 GPUs"."""


def sum_up(entries: Sequence[Entry], tr: Translator) -> Sums:
    """Count servers by state, and add up what those have whose jobs run."""
    counts = Counter(entry.attempt.state for entry in entries)
    running = [e.attempt.options for e in entries if e.attempt.state in (State.STARTING, State.READY)]
    parts = []
    if running:
        cores, gpus = sum(o.cores for o in running), sum(o.gpu_count for o in running)
        parts = [
            tr.plural("%(count)d core", "%(count)d cores", cores),
            words.size(sum(o.memory_mb for o in running), tr),
        ]
        if gpus:
            parts.append(tr.plural("%(count)d GPU", "%(count)d GPUs", gpus))
    states = tuple(
        (state.value, tr(words.STATE_LABELS[state]), words.TONES[state], counts[state])
        for state in LIVE_STATES
        if counts[state]
    )
    return Sums(states, len(entries), " · ".join(parts))


@dataclass(frozen=True, slots=True)
class Row:
    """One server as the table shows it."""

    user: str
    attempt_id: str
    state: str
    label: str
    tone: str
    reason: str
    """Why it waits, why it cannot serve, or who stops it, in a sentence; "" if there is nothing to say."""
    job_id: str
    job_state: str
    """The scheduler's own words."""
    node: str
    cores: int
    memory: str
    gpu: str
    waits: bool
    """`since` counts the waiting, not the running."""
    since: float
    limit: str
    idle_since: float | None
    interface: str
    account: str
    partition: str


def row_of(entry: Entry, tr: Translator) -> Row:
    """Put one server into words."""
    attempt, options = entry.attempt, entry.attempt.options
    return Row(
        user=attempt.user,
        attempt_id=attempt.id,
        state=attempt.state.value,
        label=tr(words.STATE_LABELS[attempt.state]),
        tone=words.TONES[attempt.state],
        reason=_reason(attempt, tr),
        job_id=attempt.job_id or "",
        job_state=job_state_words(attempt),
        node=attempt.node or "",
        cores=options.cores,
        memory=words.size(options.memory_mb, tr),
        gpu=words.gpus(options),
        waits=_started(attempt) is None,
        since=_since(attempt),
        limit=words.duration(options.time_hours * 3600, tr),
        idle_since=_idle_since(entry),
        interface=words.interface_name(options.interface, tr),
        account=options.account or "",
        partition=options.partition or "",
    )


def _reason(attempt: Attempt, tr: Translator) -> str:
    if attempt.state is State.QUEUED:
        again = tr.message(explain.requeued(attempt))
        return f"{again} {tr.message(attempt.job_reason_words)}".strip()
    if attempt.state is State.STOPPING:
        return words.end_words(attempt, tr)
    return tr.message(
        explain.hindrance(attempt) or (attempt.unreached if attempt.state is State.STARTING else "")
    )


def _started(attempt: Attempt) -> float | None:
    # A job that was put back into the queue keeps the time of its first start.
    runs = attempt.state in (State.STARTING, State.READY, State.STOPPING)
    return attempt.started_at if runs else None


def _since(attempt: Attempt) -> float:
    return _started(attempt) or attempt.created_at


def _idle_since(entry: Entry) -> float | None:
    attempt = entry.attempt
    if attempt.state is not State.READY:
        return None
    return max(entry.last_activity or 0.0, attempt.last_activity or 0.0, attempt.ready_at or 0.0) or None


def _number_first(job_id: str | None) -> tuple[int, str] | None:
    """Job ids by their number, as they were given; "123_4" after "123"."""
    if job_id is None:
        return None
    digits = job_id.partition("_")[0]
    return (int(digits) if digits.isascii() and digits.isdecimal() else 0, job_id)
