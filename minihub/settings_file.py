"""TOML file + environment -> `Settings`. Touches files and the environment, nothing else.

Environment: MINIHUB_SECTION__KEY (MINIHUB_HUB__PORT=9000) overrides the file; lists and booleans are TOML text.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minihub.config import Settings, parse_settings
from minihub.errors import ConfigError

ENVIRONMENT_PREFIX = "MINIHUB_"


def settings_paths() -> list[Path]:
    """Where a settings file is looked for, first hit wins."""
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [Path("minihub.toml"), config_home / "minihub" / "minihub.toml", Path("/etc/minihub/minihub.toml")]


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings file (or the first one found, or none) and the environment.

    Raises:
        ConfigError: Unreadable file, no TOML, unknown key, bad value; with file, line and key.
    """
    found = path or next((p for p in settings_paths() if p.is_file()), None)
    raw: dict[str, Any] = {}
    text = ""
    if found is not None:
        try:
            text = found.read_text(encoding="utf-8")
            raw = tomllib.loads(text)
        except OSError as error:
            raise ConfigError(f"{found}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{found}: not valid TOML: {error}") from error
    merged = _with_environment(raw, os.environ if environ is None else environ)
    return parse_settings(merged, str(found or "settings"), text)


def _with_environment(raw: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    merged: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in raw.items()}
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
            continue
        *tables, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        table = merged
        for part in tables:
            table = table.setdefault(part, {})
        table[key] = _toml_value(text)
    return merged


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
