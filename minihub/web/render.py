"""Jinja: environments per language, and the filters that templates use. Knows no request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from minihub.config import Settings
from minihub.web import words
from minihub.web.assets import StaticFiles, template_dirs
from minihub.web.i18n import LANGUAGES, Translator
from minihub.web.urls import Urls


class Renderer:
    """Renders templates; one Jinja environment per language, made when first needed."""

    def __init__(self, settings: Settings, urls: Urls, static: StaticFiles) -> None:
        loaders = [FileSystemLoader(directory) for directory in template_dirs(settings.hub.templates_dir)]
        self._loader = ChoiceLoader(loaders)
        self._common: Mapping[str, Any] = {
            "urls": urls,
            "static": static.url,
            "hub": settings.hub,
            "settings": settings,
            "languages": LANGUAGES,
        }
        self._environments: dict[str, Environment] = {}

    def render(self, names: str | list[str], tr: Translator, values: Mapping[str, Any]) -> str:
        """Render the first template of `names` that exists."""
        environment = self._environments.get(tr.language)
        if environment is None:
            environment = self._environments[tr.language] = self._environment(tr)
        found = [names] if isinstance(names, str) else names
        return environment.select_template(found).render(values)

    def _environment(self, tr: Translator) -> Environment:
        environment = Environment(
            loader=self._loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_callables(  # type: ignore[attr-defined]
            tr.translations.gettext, tr.translations.ngettext, newstyle=True
        )
        environment.globals.update(self._common)
        environment.globals["language"] = tr.language
        environment.filters["duration"] = lambda seconds: words.duration(seconds, tr)
        environment.filters["clock_time"] = clock_time
        environment.filters["date_time"] = date_time
        environment.filters["iso"] = iso_time
        environment.filters["message"] = tr.message
        environment.filters["ticks"] = ticks
        return environment


def ticks(text: str) -> Markup:
    """Words between backticks as code; everything else as it is."""
    parts = (
        Markup("<code>{}</code>").format(part) if n % 2 else escape(part)
        for n, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def iso_time(wall: float) -> str:
    """For the datetime attribute: UTC with its mark."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock_time(wall: float) -> str:
    """Hours and minutes in the hub's time zone; static/app.js shows the reader's own instead."""
    return datetime.fromtimestamp(wall, UTC).astimezone().strftime("%H:%M")


def date_time(wall: float) -> str:
    """Date, hours and minutes in the hub's time zone, in a form that no language misreads."""
    return datetime.fromtimestamp(wall, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
