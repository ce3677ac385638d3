"""Templates and static files: found beside the checkout or inside the installed package, read once. Touches files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import minihub
from minihub.web.urls import Urls

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}


def templates_dir() -> Path:
    """Our templates: `minihub/_data/templates` in the wheel, `templates/` beside the package in a checkout."""
    package = Path(minihub.__file__).parent
    installed = package / "_data" / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def template_dirs(site_dir: str) -> list[Path]:
    """Where templates are looked for, the site's own directory (if any) first."""
    return [*([Path(site_dir)] if site_dir else []), templates_dir()]


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One static file in memory."""

    body: bytes
    content_type: str
    version: str
    """First digits of its hash: the name changes with the content, so that browsers may keep it for ever."""


class StaticFiles:
    """All static files, in memory: they are few and small, and sendfile fails on the front door's memory transport."""

    def __init__(self, directories: list[Path], urls: Urls) -> None:
        self._urls = urls
        self._files: dict[str, StaticFile] = {}
        for directory in reversed(directories):
            for path in sorted((directory / "static").glob("*")):
                if path.suffix in CONTENT_TYPES and path.is_file():
                    self._files[path.name] = _load(path)

    def get(self, name: str) -> StaticFile | None:
        """The file of this name, None if there is none."""
        return self._files.get(name)

    def url(self, name: str) -> str:
        """Link to a static file.

        Raises:
            KeyError: There is no such file: a bug in a template.
        """
        return self._urls.static(name, self._files[name].version)


def _load(path: Path) -> StaticFile:
    body = path.read_bytes()
    return StaticFile(body, CONTENT_TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:12])
