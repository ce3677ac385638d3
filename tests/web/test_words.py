"""Sizes and durations in words."""

# ruff: noqa: RUF001 - French writes apostrophes so

from __future__ import annotations

import pytest

from minihub.servers.model import ServerOptions, State, StopCause
from minihub.web import words
from minihub.web.assets import templates_dir
from minihub.web.i18n import Catalogues

EN, FR = (Catalogues([templates_dir()])[language] for language in ("en", "fr"))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0 s"),
        (42.9, "42 s"),
        (60, "1 min"),
        (100, "1 min 40 s"),
        (600, "10 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (3900, "1 h 05 min"),
        (86400, "1 d"),
        (93600, "1 d 2 h"),
    ],
)
def test_durations(seconds, expected):
    assert words.duration(seconds, EN) == expected


def test_days_are_jours():
    assert words.duration(93600, FR) == "1 j 2 h"


def test_sizes():
    assert (words.size(512, EN), words.size(4096, EN), words.size(3584, FR)) == ("512 MB", "4 GB", "3.5 Go")


def test_resources_in_one_line():
    options = ServerOptions(1.5, 1, 2048, gpu_type="a100", gpu_count=2)

    assert words.resources(options, EN) == "1 core · 2 GB · 2 × a100 · 1 h 30 min"


def test_every_state_and_cause_has_words():
    assert set(words.STATE_LABELS) == set(words.TONES) == set(State)
    assert set(words.STOP_CAUSES) == set(StopCause)
