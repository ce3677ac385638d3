"""The options form: which fields, with which choices, bounds, hints and errors. Pure; `Servers` checks what comes back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minihub.config import OptionSettings, OptionsSettings
from minihub.schedulers.base import Limits, Partition
from minihub.servers.service import OptionsForm
from minihub.web import words
from minihub.web.i18n import Translator

OPTION_NAMES = (
    "account",
    "partition",
    "qos",
    "reservation",
    "time_hours",
    "cores",
    "memory_mb",
    "gpu_type",
    "gpu_count",
    "interface",
    "rescue",
)
_COMMA_DECIMAL = re.compile(r"\s*\d+,\d+\s*")


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of a list."""

    value: str
    label: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class FormField:
    """One field as the template draws it."""

    name: str
    label: str
    kind: str
    """"select", "number", "decimal", "text", "radio" or "checkbox"."""
    value: str = ""
    choices: tuple[Choice, ...] = ()
    least: str = ""
    most: str = ""
    hint: str = ""
    error: str = ""
    locked: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _Drawing:
    form: OptionsForm
    settings: OptionsSettings
    values: Mapping[str, Any]
    errors: Mapping[str, str]
    tr: Translator
    partitions: tuple[Partition, ...] = field(default=())


def raw_options(posted: Mapping[str, Any], form: OptionsForm) -> dict[str, Any]:
    """What the browser sent, as `Servers.start` takes it: only words, nothing locked, decimals with a point.

    Unknown names go along, so that they are refused by the one place that knows the names.
    """
    ours = {"_xsrf", "next", "again"}
    raw = {
        name: value.strip()
        for name, value in posted.items()
        if isinstance(value, str) and name not in ours and name not in form.locked
    }
    if _COMMA_DECIMAL.fullmatch(raw.get("time_hours", "")):
        raw["time_hours"] = raw["time_hours"].replace(",", ".")
    # An empty field says "no choice" where there is one to make, and is an error of its own where there is not.
    optional = {"account", "partition", "qos", "reservation", "gpu_type", "gpu_count"}
    cleaned: dict[str, Any] = {k: v for k, v in raw.items() if v or k not in optional}
    if "rescue" not in form.locked | form.hidden:
        cleaned["rescue"] = "rescue" in posted
    return cleaned


def build_fields(
    form: OptionsForm,
    settings: OptionsSettings,
    tr: Translator,
    values: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
) -> list[FormField]:
    """The fields that are shown, in order. `values` are what was typed before, if anything was."""
    merged = {**form.values, **(values or {})}
    partitions = form.limits.partitions if form.limits else ()
    drawing = _Drawing(form, settings, merged, errors or {}, tr, partitions)
    makers = (
        _account,
        _partition,
        _qos,
        _reservation,
        _time,
        _cores,
        _memory,
        _gpu_type,
        _gpu_count,
        _interface,
        _rescue,
    )
    fields = [maker(drawing) for maker in makers]
    # An error must never hang on a field that is not there: the page shows those on top (see `loose_errors`).
    return [f for f in fields if f is not None and f.name not in form.hidden]


def loose_errors(fields: list[FormField], errors: Mapping[str, str], tr: Translator) -> list[str]:
    """Errors that belong to no shown field."""
    shown = {f.name for f in fields}
    return [
        f"{name}: {tr.message(text)}" if name else tr.message(text)
        for name, text in errors.items()
        if name not in shown
    ]


def _make(d: _Drawing, name: str, label: str, kind: str, **more: Any) -> FormField:
    value = d.values.get(name)
    text = "" if value is None or value is False else "on" if value is True else _plain(value)
    return FormField(
        name=name,
        label=label,
        kind=kind,
        value=text,
        error=d.tr.message(d.errors.get(name, "")),
        locked=name in d.form.locked,
        **more,
    )


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(setting: OptionSettings, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(n for n in names if n in setting.choices) if setting.choices else names


def _with_current(choices: list[Choice], value: object) -> tuple[Choice, ...]:
    """Keep what was typed visible even where it is no longer possible: its error stands beside it."""
    text = "" if value is None else str(value)
    if text and all(c.value != text for c in choices):
        choices = [*choices, Choice(text, text)]
    return tuple(choices)


def _account(d: _Drawing) -> FormField | None:
    if d.form.limits is not None and not d.form.limits.uses_accounts:
        return None
    choices = _with_current([Choice(a, a) for a in d.form.accounts], d.values.get("account"))
    hint = none = ""
    if not choices and d.form.limits is not None:
        hint, none = d.tr("You have no account here that could be charged."), d.tr("None")
    elif not choices:
        none = d.tr("Not known right now")
    return _make(d, "account", d.tr("Account"), "select", choices=choices or (Choice("", none),), hint=hint)


def _partition(d: _Drawing) -> FormField | None:
    names = _allowed(d.settings.partition, tuple(p.name for p in d.partitions))
    if len(names) < 2 and "partition" not in d.form.locked and not d.errors.get("partition"):
        return None
    first = Choice("", d.tr("Chosen by the scheduler"))
    shown = [Choice(p.name, _partition_label(p, d.tr)) for p in d.partitions if p.name in names]
    choices = _with_current([first, *shown], d.values.get("partition"))
    return _make(d, "partition", d.tr("Partition"), "select", choices=choices, optional=True)


def _partition_label(partition: Partition, tr: Translator) -> str:
    facts = []
    if not partition.up:
        facts.append(tr("down"))
    if partition.max_time is not None:
        facts.append(tr("up to %(time)s", time=words.duration(partition.max_time.total_seconds(), tr)))
    if partition.idle_cores is not None:
        facts.append(tr.plural("%(count)d core idle", "%(count)d cores idle", partition.idle_cores))
    facts.extend(f"{g.per_node} {words.TIMES} {g.name}" for g in partition.gpus)
    return f"{partition.name} ({', '.join(facts)})" if facts else partition.name


def _qos(d: _Drawing) -> FormField | None:
    associations = d.form.limits.associations if d.form.limits else ()
    names = _allowed(d.settings.qos, tuple(dict.fromkeys(q for a in associations for q in a.qos)))
    if not names and not d.values.get("qos"):
        return None
    choices = [Choice("", d.tr("The account's own")), *(Choice(n, n) for n in names)]
    return _make(
        d,
        "qos",
        d.tr("Quality of service (QOS)"),
        "select",
        choices=_with_current(choices, d.values.get("qos")),
        optional=True,
    )


def _reservation(d: _Drawing) -> FormField | None:
    names = _allowed(d.settings.reservation, d.form.limits.reservations if d.form.limits else ())
    if not names and not d.values.get("reservation"):
        return None
    choices = [Choice("", d.tr("None")), *(Choice(n, n) for n in names)]
    return _make(
        d,
        "reservation",
        d.tr("Reservation"),
        "select",
        choices=_with_current(choices, d.values.get("reservation")),
        optional=True,
    )


def _time(d: _Drawing) -> FormField:
    most = _least_of(d.form.max_time_hours, d.settings.time_hours.max)
    hint = d.tr("At most %(count)s hours.", count=_bound(most)) if most else ""
    advice = d.tr("A shorter time often starts sooner.")
    return _make(
        d, "time_hours", d.tr("Time (hours)"), "decimal", hint=f"{hint} {advice}".strip(), most=_bound(most)
    )


def _cores(d: _Drawing) -> FormField:
    most = _least_of(d.form.max_cores, d.settings.cores.max)
    hint = (
        d.tr("At most %(count)s, all on one node.", count=_bound(most)) if most else d.tr("All on one node.")
    )
    return _make(
        d,
        "cores",
        d.tr("CPU cores"),
        "number",
        least=_bound(d.settings.cores.min or 1),
        most=_bound(most),
        hint=hint,
    )


def _memory(d: _Drawing) -> FormField:
    most = _least_of(d.form.max_memory_mb, d.settings.memory_mb.max)
    hint = (
        d.tr("At most %(count)s MB (%(size)s).", count=_bound(most), size=words.size(int(most), d.tr))
        if most
        else ""
    )
    return _make(
        d,
        "memory_mb",
        d.tr("Memory (MB)"),
        "number",
        least=_bound(d.settings.memory_mb.min),
        most=_bound(most),
        hint=hint,
    )


def gpus(limits: Limits | None) -> dict[str, int]:
    """GPU types and the most that one node of any partition has."""
    found: dict[str, int] = {}
    for partition in limits.partitions if limits else ():
        for gpu in partition.gpus:
            found[gpu.name] = max(found.get(gpu.name, 0), gpu.per_node)
    return found


def _gpu_type(d: _Drawing) -> FormField | None:
    found = gpus(d.form.limits)
    names = _allowed(d.settings.gpu_type, tuple(found))
    if not names and not d.values.get("gpu_type"):
        return None
    choices = [Choice("", d.tr("No GPU"))]
    choices += [
        Choice(n, d.tr("%(name)s (up to %(count)d on a node)", name=n, count=found[n])) for n in names
    ]
    return _make(
        d,
        "gpu_type",
        d.tr("GPU"),
        "select",
        choices=_with_current(choices, d.values.get("gpu_type")),
        optional=True,
    )


def _gpu_count(d: _Drawing) -> FormField | None:
    found = gpus(d.form.limits)
    if not found and not d.errors.get("gpu_count"):
        return None
    most = _least_of(max(found.values(), default=0), d.settings.gpu_count.max)
    hint = d.tr("A GPU can mean a longer wait.")
    return _make(
        d,
        "gpu_count",
        d.tr("Number of GPUs"),
        "number",
        least="0",
        most=_bound(most),
        hint=hint,
        optional=True,
    )


def _interface(d: _Drawing) -> FormField:
    choices = [
        Choice(i, words.interface_name(i, d.tr), words.interface_hint(i, d.tr)) for i in d.form.interfaces
    ]
    return _make(
        d,
        "interface",
        d.tr("User interface"),
        "radio",
        choices=_with_current(choices, d.values.get("interface")),
    )


def _rescue(d: _Drawing) -> FormField:
    hint = d.tr(
        "Leaves your start-up files out and writes nothing to your home: for a full quota or a broken .bashrc."
    )
    return _make(d, "rescue", d.tr("Rescue start"), "checkbox", hint=hint, optional=True)


def _least_of(*bounds: float | None) -> float | None:
    given = [b for b in bounds if b]
    return min(given) if given else None


def _bound(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
