"""Languages: catalogues compiled in memory from the .po files, and the choice of one per request. Touches files.

English is the source language: an English text is its own key. Three kinds of text are translated:

* templates: `_("...")` of Jinja's i18n extension;
* code of this room: `tr("...", name=value)`, `tr.plural(one, many, n)`;
* texts made elsewhere (HubError, Failure, Progress): their source strings stand in the catalogue as well, f-strings with
  their placeholders ("Account {account} is unknown."). `Translator.message` finds a made text again by that pattern, so
  that the rooms below need to know nothing of languages.

`scripts/messages` collects all three into the catalogues and says what is missing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES = {"en": "English", "fr": "Français"}
DOMAIN = "minihub"

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_MAX_CACHED = 512
_MAX_DEPTH = 2


class Translator:
    """Texts in one language."""

    def __init__(self, language: str, translations: NullTranslations) -> None:
        self.language = language
        self.translations = translations
        self._patterns = _patterns_of(translations)
        self._cache: dict[str, str] = {}

    def __call__(self, text: str, /, **values: object) -> str:
        """A text of this room with its %(name)s filled in."""
        found = self.translations.gettext(text)
        return found % values if values else found

    def plural(self, one: str, many: str, count: int, /, **values: object) -> str:
        """A text that depends on a number, which fills %(count)s."""
        return self.translations.ngettext(one, many, count) % {"count": count, **values}

    def message(self, text: str) -> str:
        """A text that another room made, perhaps with values already in it."""
        if not text or not self._patterns:
            return self.translations.gettext(text) if text else ""
        found = self._cache.get(text)
        if found is None:
            found = self._match(text)
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[text] = found
        return found

    def _match(self, text: str, depth: int = 0) -> str:
        exact = self.translations.gettext(text)
        if exact != text:
            return exact
        for pattern, names, translated in self._patterns:
            hit = pattern.fullmatch(text)
            if hit:
                # A value may itself be a text of ours, such as a reason inside a sentence.
                groups = hit.groups("")
                values = {name: self._value(groups[i], depth) for i, name in enumerate(names)}
                return _fill(translated, values)
        return text

    def _value(self, text: str, depth: int) -> str:
        return self._match(text, depth + 1) if text and depth < _MAX_DEPTH else text


def _fill(text: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda m: values.get(m[1], m[0]), text)


class Catalogues:
    """One translator per language; a language without a catalogue is English."""

    def __init__(self, directories: Iterable[Path]) -> None:
        roots = list(directories)
        self._translators = {
            language: Translator(language, _load(language, [root / "locale" for root in roots]))
            for language in LANGUAGES
        }

    def __getitem__(self, language: str) -> Translator:
        return self._translators[language]

    def choose(self, wanted: str | None, accept_language: str, default: str) -> Translator:
        """The user's own choice, else the browser's best, else the site's default."""
        if wanted in self._translators:
            return self._translators[wanted]
        return self._translators[negotiate_language(accept_language, default)]


def negotiate_language(accept_language: str, default: str) -> str:
    """The language of `LANGUAGES` that an Accept-Language header likes best.

    Source: RFC 9110 section 12.5.4; "fr-CA" asks for our "fr", a language with q=0 is refused.
    """
    best, best_quality = default, 0.0
    for part in accept_language.split(",")[:32]:
        tag, _, parameters = part.strip().partition(";")
        language = tag.split("-", 1)[0].strip().lower()
        quality = _quality(parameters)
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _load(language: str, locale_dirs: list[Path]) -> NullTranslations:
    found: NullTranslations = NullTranslations()
    for directory in reversed(locale_dirs):
        path = directory / language / "LC_MESSAGES" / f"{DOMAIN}.po"
        if path.is_file():
            compiled = _compile(path)
            # The site's own catalogue comes last and so in front; ours answers what it lacks.
            compiled.add_fallback(found)
            found = compiled
    return found


def _compile(path: Path) -> GNUTranslations:
    with path.open("rb") as file:
        catalogue = read_po(file)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


def _patterns_of(translations: NullTranslations) -> list[tuple[re.Pattern[str], list[str], str]]:
    """Messages with {placeholders}, the most specific (longest fixed text) first."""
    catalogue: dict[object, str] = dict(getattr(translations, "_catalog", {}))
    fallback = getattr(translations, "_fallback", None)
    if fallback is not None:
        catalogue = {**getattr(fallback, "_catalog", {}), **catalogue}
    found = []
    for source, translated in catalogue.items():
        if isinstance(source, str) and translated and _PLACEHOLDER.search(source):
            names = [m[1] for m in _PLACEHOLDER.finditer(source)]
            fixed = [re.escape(piece) for piece in _PLACEHOLDER.split(source)[::2]]
            fixed_length = sum(len(piece) for piece in fixed)
            found.append((fixed_length, re.compile("(.*?)".join(fixed), re.DOTALL), names, translated))
    found.sort(key=lambda entry: -entry[0])
    return [entry[1:] for entry in found]
