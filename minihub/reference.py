"""The reference of all settings, as a TOML file. Pure: made from the models' own descriptions and defaults."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from minihub.config import OptionSettings, OptionsSettings, Settings

_HEAD = """\
# All settings of minihub, with their defaults. Made by `minihub config --reference`.
#
# Copy what you change to ./minihub.toml, ~/.config/minihub/minihub.toml or /etc/minihub/minihub.toml (the first of them
# that exists is read), or name a file with --config. An environment variable overrides the file: MINIHUB_HUB__PORT=9000.
# Times are in seconds where a name ends in _s. `minihub config` shows what is in effect; shorter examples stand beside
# this file."""
_WIDTH = 118


def build_reference() -> str:
    """Every setting with its default and meaning, as a TOML file in which nothing is set.

    Without the first `#` of the lines that name a key, it is a settings file that sets every default.
    """
    lines = [*_HEAD.splitlines(), ""]
    for name, table in Settings.model_fields.items():
        section = table.annotation
        assert isinstance(section, type)
        lines += [*_comment(section.__doc__ or ""), f"[{name}]"]
        if section is OptionsSettings:
            lines.append(
                "# Each option is a table, in one line as below or as [options.NAME] with these keys:"
            )
            for key, field in OptionSettings.model_fields.items():
                lines += _comment(f"  {key}: {field.description} ({_as_toml(field.default)})")
        for key, field in section.model_fields.items():
            default = field.default
            if isinstance(default, OptionSettings):
                default = default.model_dump(exclude_unset=True)
            lines += ["", *_comment(field.description or ""), f"#{key} = {_as_toml(default)}"]
        lines += ["", ""]
    return "\n".join(lines).rstrip() + "\n"


def _comment(text: str) -> list[str]:
    """A text as comment lines; what it is indented by, all of its lines are."""
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(),
        _WIDTH,
        initial_indent=f"# {indent}",
        subsequent_indent=f"# {indent}{indent}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "unset"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_as_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_as_toml(item)}" for key, item in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)
