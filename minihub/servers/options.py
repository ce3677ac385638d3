"""Server options: what may be asked for, and whether what was asked for may be. Pure.

The same names everywhere: form fields, links, REST `user_options`, history. The page checks nothing that is not
checked here again, against the site's settings and the scheduler's own limits; one message per wrong field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

from minihub.config import OptionSettings, OptionsSettings
from minihub.errors import OptionsError
from minihub.schedulers.base import Association, Limits, Partition
from minihub.servers.model import ServerOptions
from minihub.servers.service import OptionsForm

NAMES = tuple(field.name for field in fields(ServerOptions))
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_TRUE = {"1", "true", "on", "yes"}
_FALSE = {"0", "false", "off", "no", ""}


class _Reader:
    """Reads raw values one by one and collects a message for each that is wrong."""

    def __init__(self, raw: Mapping[str, Any], settings: OptionsSettings) -> None:
        self.raw = raw
        self.settings = settings
        self.errors: dict[str, str] = {}

    def rule(self, name: str) -> OptionSettings:
        rule = getattr(self.settings, name)
        assert isinstance(rule, OptionSettings)
        return rule

    def value(self, name: str) -> Any:
        """What was asked for, or the default; a locked or hidden option keeps its default."""
        rule = self.rule(name)
        asked = self.raw.get(name)
        if isinstance(asked, str):
            asked = asked.strip()
        if asked is None or asked == "":
            return rule.default
        if (rule.locked or rule.hidden) and str(asked) != str(rule.default):
            self.errors[name] = "This option is fixed on this hub."
            return rule.default
        return asked

    def number(self, name: str, *, whole: bool) -> float:
        asked = self.value(name)
        number = _to_number(asked)
        if number is None:
            self.errors.setdefault(
                name, f"{asked!r} is not a number." if asked not in (None, "") else "A number is needed."
            )
            return 0
        if whole and number != int(number):
            self.errors.setdefault(name, "A whole number is needed.")
            return 0
        self.check_bounds(name, number)
        return number

    def check_bounds(self, name: str, number: float) -> None:
        rule = self.rule(name)
        if rule.min is not None and number < rule.min:
            self.errors.setdefault(name, f"At least {rule.min:g}.")
        elif rule.max is not None and number > rule.max:
            self.errors.setdefault(name, f"At most {rule.max:g} on this hub.")
        elif number < 0:
            self.errors.setdefault(name, "Not less than 0.")

    def word(self, name: str) -> str | None:
        asked = self.value(name)
        if asked is None or asked == "":
            return None
        if not isinstance(asked, str) or not _WORD.fullmatch(asked):
            self.errors.setdefault(name, "Letters, digits and _ . + - only.")
            return None
        choices = self.rule(name).choices
        if choices and asked not in choices:
            self.errors.setdefault(name, f"Choose one of: {', '.join(choices)}.")
            return None
        return asked

    def yes(self, name: str) -> bool:
        asked = str(self.value(name)).lower()
        if asked in _TRUE:
            return True
        if asked not in _FALSE | {"none"}:
            self.errors.setdefault(name, "Yes or no is needed.")
        return False


def _to_number(asked: Any) -> float | None:
    if isinstance(asked, bool) or not isinstance(asked, int | float | str):
        return None
    try:
        # A decimal comma is what French keyboards offer.
        number = float(asked.replace(",", ".")) if isinstance(asked, str) else float(asked)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e12 else None


def parse_options(raw: Mapping[str, Any], settings: OptionsSettings, limits: Limits) -> ServerOptions:
    """Check what was asked for, against the site's settings and the scheduler's limits.

    Raises:
        OptionsError: With one message per wrong field.
    """
    reader = _Reader(raw, settings)
    for name in raw:
        if name not in NAMES:
            reader.errors[str(name)[:64]] = "There is no such option."
    gpu_count = int(reader.number("gpu_count", whole=True))
    options = ServerOptions(
        time_hours=reader.number("time_hours", whole=False),
        cores=int(reader.number("cores", whole=True)),
        memory_mb=int(reader.number("memory_mb", whole=True)),
        interface=reader.word("interface") or "lab",
        account=reader.word("account"),
        qos=reader.word("qos"),
        partition=reader.word("partition"),
        reservation=reader.word("reservation"),
        gpu_type=reader.word("gpu_type") if gpu_count else None,
        gpu_count=gpu_count,
        rescue=reader.yes("rescue"),
    )
    # A type chosen without a number means one: nobody picks a GPU to get none.
    if not gpu_count and raw.get("gpu_type") and raw.get("gpu_count") in (None, ""):
        options = _with(options, gpu_type=reader.word("gpu_type"), gpu_count=1)
    options = _fill_account(options, limits)
    errors = {**_limit_errors(options, limits), **reader.errors}
    if errors:
        raise OptionsError(errors)
    return options


def _with(options: ServerOptions, **changes: Any) -> ServerOptions:
    return ServerOptions(**{**asdict(options), **changes})


def _fill_account(options: ServerOptions, limits: Limits) -> ServerOptions:
    names = account_names(limits)
    if not limits.uses_accounts:
        return _with(options, account=None)
    if options.account is None and names:
        return _with(options, account=names[0])
    return options


def account_names(limits: Limits) -> tuple[str, ...]:
    """The accounts the user may charge, default first, no name twice."""
    ordered = sorted(limits.associations, key=lambda a: (not a.default, a.account))
    return tuple(dict.fromkeys(a.account for a in ordered))


def _limit_errors(options: ServerOptions, limits: Limits) -> dict[str, str]:
    errors: dict[str, str] = {}
    association = None
    if limits.uses_accounts:
        names = account_names(limits)
        if not names:
            errors["account"] = "You have no account on this cluster that a job could be charged to."
        elif options.account not in names:
            errors["account"] = f"You may not charge {options.account}. Yours: {', '.join(names)}."
        else:
            association = _association(options, limits)
    partition = _partition(options, limits, errors)
    if options.reservation and options.reservation not in limits.reservations:
        errors["reservation"] = "There is no such reservation."
    _check_time(options, limits, association, partition, errors)
    _check_size(options, limits, association, partition, errors)
    _check_qos(options, association, errors)
    return errors


def _association(options: ServerOptions, limits: Limits) -> Association | None:
    mine = [a for a in limits.associations if a.account == options.account]
    return next(
        (a for a in mine if a.partition == options.partition),
        next((a for a in mine if a.partition is None), None),
    )


def _partition(options: ServerOptions, limits: Limits, errors: dict[str, str]) -> Partition | None:
    if options.partition is None:
        return next((p for p in limits.partitions if p.default), None)
    found = next((p for p in limits.partitions if p.name == options.partition), None)
    if found is None:
        errors["partition"] = f"There is no partition {options.partition}."
    elif not found.up:
        errors["partition"] = f"Partition {found.name} is not open at the moment."
    elif found.allow_accounts is not None and options.account not in found.allow_accounts:
        errors["partition"] = f"Account {options.account} may not use partition {found.name}."
    return found


def _least(*bounds: tuple[float | None, str]) -> tuple[float, str] | None:
    known = [(bound, whose) for bound, whose in bounds if bound is not None]
    return min(known) if known else None


def _hours(limit: timedelta | None) -> float | None:
    return None if limit is None else limit.total_seconds() / 3600


def _check_time(
    options: ServerOptions,
    limits: Limits,
    association: Association | None,
    partition: Partition | None,
    errors: dict[str, str],
) -> None:
    bound = _least(
        (
            _hours(partition.max_time) if partition else None,
            f"in partition {partition.name}" if partition else "",
        ),
        (
            _hours(association.max_time) if association else None,
            f"for account {association.account}" if association else "",
        ),
        (_hours(limits.qos_max_time.get(options.qos or "")), f"with QOS {options.qos}"),
        (_hours(limits.max_time), "on this hub"),
    )
    if bound and options.time_hours > bound[0] + 1e-9:
        errors["time_hours"] = f"At most {bound[0]:g} hours {bound[1]}."


def _check_size(
    options: ServerOptions,
    limits: Limits,
    association: Association | None,
    partition: Partition | None,
    errors: dict[str, str],
) -> None:
    nodes = [partition] if partition else list(limits.partitions)
    most = {
        "cores": (
            max((p.max_cores for p in nodes), default=None),
            association.max_cores if association else None,
        ),
        "memory_mb": (
            max((p.max_memory_mib for p in nodes), default=None),
            association.max_memory_mib if association else None,
        ),
    }
    for name, (by_node, by_account) in most.items():
        bound = _least((by_node or None, "on one node"), (by_account, f"for account {options.account}"))
        if bound and getattr(options, name) > bound[0]:
            errors[name] = f"At most {bound[0]:g} {bound[1]}."
    if options.gpu_count:
        _check_gpus(options, nodes, association, errors)


def _check_gpus(
    options: ServerOptions,
    nodes: Iterable[Partition],
    association: Association | None,
    errors: dict[str, str],
) -> None:
    kinds = [gpu for partition in nodes for gpu in partition.gpus]
    fitting = [gpu for gpu in kinds if options.gpu_type in (None, gpu.name)]
    if not kinds:
        errors["gpu_count"] = "There are no GPUs here."
    elif not fitting:
        errors["gpu_type"] = (
            f"There is no GPU {options.gpu_type} here; there are: {', '.join(sorted({g.name for g in kinds}))}."
        )
    elif options.gpu_count > max(gpu.per_node for gpu in fitting):
        errors["gpu_count"] = f"At most {max(gpu.per_node for gpu in fitting)} on one node."
    elif association and association.max_gpus is not None and options.gpu_count > association.max_gpus:
        errors["gpu_count"] = f"At most {association.max_gpus} for account {association.account}."


def _check_qos(options: ServerOptions, association: Association | None, errors: dict[str, str]) -> None:
    if options.qos and association and association.qos and options.qos not in association.qos:
        errors["qos"] = (
            f"Account {association.account} may not use QOS {options.qos}; it has: {', '.join(association.qos)}."
        )


# ---- the form -------------------------------------------------------------------------------------------------------


def build_form(
    limits: Limits | None,
    settings: OptionsSettings,
    last: ServerOptions | None,
    prefill: Mapping[str, Any],
    problem: str = "",
) -> OptionsForm:
    """Put the form together: the last choice where it is still possible, overridden by a link's values."""
    rules = {name: getattr(settings, name) for name in NAMES}
    hidden = frozenset(name for name, rule in rules.items() if rule.hidden)
    locked = frozenset(name for name, rule in rules.items() if rule.locked)
    values = {name: rule.default for name, rule in rules.items()}
    if last is not None:
        remembered = {
            k: v for k, v in asdict(last).items() if k not in locked | hidden | {"rescue"} and v is not None
        }
        values.update(remembered)
    values.update({k: v for k, v in prefill.items() if k in rules and k not in locked | hidden})
    accounts = account_names(limits) if limits else ()
    if values.get("account") not in accounts:
        values["account"] = accounts[0] if accounts else None
    if limits and not problem and limits.uses_accounts and not accounts:
        problem = (
            "You have no account on this cluster that a job could be charged to. "
            "Ask your group's leader or the people who run the cluster to add you to one."
        )
    partitions = limits.partitions if limits else ()
    return OptionsForm(
        limits=limits,
        values=values,
        locked=locked,
        hidden=hidden,
        interfaces=settings.interface.choices,
        accounts=accounts,
        max_time_hours=_form_bound(settings.time_hours, [_hours(p.max_time) for p in partitions]),
        max_cores=_whole(_form_bound(settings.cores, [p.max_cores or None for p in partitions])),
        max_memory_mb=_whole(_form_bound(settings.memory_mb, [p.max_memory_mib or None for p in partitions])),
        problem=problem,
        warning=limits.problem if limits else "",
    )


def _form_bound(rule: OptionSettings, bounds: list[float | None] | list[int | None]) -> float | None:
    # One partition without a limit lets everybody through; the exact check comes with the choice.
    widest = None if not bounds or None in bounds else max(b for b in bounds if b is not None)
    known = [b for b in (rule.max, widest) if b is not None]
    return min(known) if known else None


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)
