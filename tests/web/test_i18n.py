"""The choice of a language, and texts that other rooms made."""

# ruff: noqa: RUF001 - French writes apostrophes so

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minihub.web.assets import templates_dir
from minihub.web.i18n import Catalogues, negotiate_language

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def catalogues() -> Catalogues:
    return Catalogues([templates_dir()])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("en-US,en;q=0.9,fr;q=0.8", "en"),
        ("de,fr;q=0.3,en;q=0.2", "fr"),
        ("fr;q=0", "en"),
        ("fr;q=nonsense, *", "en"),
        ("zh-Hant", "en"),
    ],
)
def test_the_browsers_best_language_that_we_have(header, expected):
    assert negotiate_language(header, "en") == expected


def test_the_default_counts_where_the_browser_wants_none_of_ours():
    assert negotiate_language("de", "fr") == "fr"


def test_the_users_choice_beats_the_browser(catalogues):
    assert catalogues.choose("fr", "en", "en").language == "fr"
    assert catalogues.choose("xx", "fr", "en").language == "fr"


def test_an_exact_message_of_another_room(catalogues):
    assert (
        catalogues["fr"].message("Invalid username or password.")
        == "Nom d’utilisateur ou mot de passe incorrect."
    )


def test_a_message_with_values_is_found_by_its_pattern(catalogues):
    text = "Account def-ada may not use partition gpu."

    assert catalogues["fr"].message(text) == "Le compte def-ada ne peut pas utiliser la partition gpu."


def test_a_text_of_ours_inside_a_message_is_translated_too(catalogues):
    text = "The job did not start within 5 min. The scheduler did not answer the submission."

    assert catalogues["fr"].message(text) == (
        "La tâche n’a pas démarré en 5 min. L’ordonnanceur n’a pas répondu à la soumission."
    )


def test_pieces_with_values_are_translated(catalogues):
    text = "The job ran on node7 for 120 s, but Jupyter never said where it listens."

    assert catalogues["fr"].message(text) == (
        "La tâche a été en cours sur node7 pendant 120 s, mais Jupyter n’a jamais dit où il écoute."
    )


def test_an_unknown_message_stays_as_it_is(catalogues):
    assert catalogues["fr"].message("slurmctld says boo {x}") == "slurmctld says boo {x}"
    assert catalogues["en"].message("Anything.") == "Anything."
    assert catalogues["fr"].message("") == ""


def test_plural(catalogues):
    assert catalogues["fr"].plural("%(count)d core", "%(count)d cores", 1) == "1 cœur"
    assert catalogues["fr"].plural("%(count)d core", "%(count)d cores", 2) == "2 cœurs"


def test_no_text_lacks_its_french():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "messages", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
