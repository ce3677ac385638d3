"""The settings of the idle stop and of the greatest age, and which of them hold for one server. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from minihub.section import Seconds, Section

SecondsOrNever = Annotated[float, Field(ge=0)]


class IdleRule(Section):
    """Other limits for some servers: what is not set here is as in [idle]."""

    partition: str = Field("", description="Pattern (gpu*) of the partition that was asked for; empty: any.")
    account: str = Field("", description="Pattern of the account that was asked for; empty: any.")
    interface: str = Field("", description="Pattern of the user interface; empty: any.")
    after_s: SecondsOrNever | None = Field(None, description="As in [idle].")
    warn_s: Seconds | None = Field(None, description="As in [idle].")
    max_age_s: SecondsOrNever | None = Field(None, description="As in [idle].")
    postpone_s: Seconds | None = Field(None, description="As in [idle].")
    max_postpones: int | None = Field(None, ge=0, description="As in [idle].")

    def fits(self, *, partition: str | None, account: str | None, interface: str) -> bool:
        """Whether this rule is about such a server. None: nothing was asked for, which only an empty pattern fits."""
        wanted = ((self.partition, partition), (self.account, account), (self.interface, interface))
        return all(not pattern or fnmatchcase(value or "", pattern) for pattern, value in wanted)


class IdleSettings(Section):
    """Ends servers that nobody uses, or that are too old. Off unless after_s or max_age_s is set."""

    after_s: SecondsOrNever = Field(
        0, description="A server in which nothing was done for so long is stopped; 0: never for that reason."
    )
    warn_s: Seconds = Field(
        600, description="So long before a stop its user is warned; shorter than after_s and max_age_s."
    )
    max_age_s: SecondsOrNever = Field(
        0, description="A server is stopped so long after its job started, in use or not; 0: never."
    )
    postpone_s: Seconds = Field(
        7200, description="A user who is warned may keep an idle server for so much longer, by a button."
    )
    max_postpones: int = Field(
        3, ge=0, description="How often one may do so in the life of a server; 0: not at all."
    )
    postpone_max_age: bool = Field(
        default=False, description="Postponing puts off the stop by max_age_s too."
    )
    ask_every_s: SecondsOrNever = Field(
        0,
        description="So often each server is asked what it does, though no limit is near, so that last_activity in the REST API "
        "counts kernels and terminals too. Set it (300) where jupyterhub-idle-culler or the like decides by that; "
        "0: only use through the hub counts there. After a restart of the hub all count as used just then.",
    )
    background_paths: tuple[str, ...] = Field(
        ("dask/", "git/", "nvdashboard/", "scheduler/"),
        description="Paths below /user/NAME/ that extensions of JupyterLab ask by themselves while a tab is open, so that nothing there "
        "is use of the server. Jupyter's own are known. Each ends with a slash.",
    )

    @field_validator("background_paths")
    @classmethod
    def _are_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path.endswith("/") or path.startswith("/"):
                msg = f"{path!r} does not begin without and end with a slash, as git/ does"
                raise ValueError(msg)
        return paths

    rules: dict[str, IdleRule] = Field(
        {},
        description="Other limits for some servers, as tables [idle.rules.NAME] with patterns partition, account, interface and any of "
        "after_s, warn_s, max_age_s, postpone_s, max_postpones. The first that fits a server holds for it.",
    )

    @model_validator(mode="after")
    def _warns_in_time(self) -> Self:
        for name, rule in [("", None), *self.rules.items()]:
            limits = self._with(rule)
            for key, limit in (("after_s", limits.after_s), ("max_age_s", limits.max_age_s)):
                if 0 < limit <= limits.warn_s:
                    where = f"rules.{name}: " if name else ""
                    msg = f"{where}warn_s ({limits.warn_s:g}) must be shorter than {key} ({limit:g})"
                    raise ValueError(msg)
        return self

    def limits_of(self, *, partition: str | None, account: str | None, interface: str) -> IdleSettings:
        """The settings that hold for such a server, without any more rules."""
        for rule in self.rules.values():
            if rule.fits(partition=partition, account=account, interface=interface):
                return self._with(rule)
        return self._with(None)

    def _with(self, rule: IdleRule | None) -> IdleSettings:
        patterns = {"partition", "account", "interface"}
        own = rule.model_dump(exclude=patterns, exclude_none=True) if rule is not None else {}
        return self.model_copy(update={**own, "rules": {}})

    @property
    def shortest_s(self) -> float | None:
        """The shortest time that anything here depends on; None where there is none."""
        all_limits = [self._with(rule) for rule in (None, *self.rules.values())]
        times = [t for one in all_limits for t in (one.after_s, one.max_age_s) if t]
        times += [self.ask_every_s] if self.ask_every_s else []
        times += [one.warn_s for one in all_limits if one.after_s or one.max_age_s]
        return min(times, default=None)
