"""Spans and moments, typed and shown."""

from __future__ import annotations

import pytest

from minihub.command.times import (
    format_moment,
    format_span,
    moment_of,
    parse_moment,
    parse_span,
    seconds_between,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("45m", 2700),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("7d", 604800),
        ("2w", 1209600),
    ],
)
def test_a_span(text, seconds):
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "1x", "-2h", "2 h", "0s", "1h-", "²h", "1e3s", "9999999d"])
def test_no_span(text):
    with pytest.raises(ValueError, match=r"span of time|more than nothing"):
        parse_span(text)


@pytest.mark.parametrize("text", ["7d", "24h", "2026-11-26", "2026-11-26T08:00", "2026-11-26T08:00:00Z"])
def test_a_moment_goes_on_as_typed(text):
    assert parse_moment(text) == text


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "26.11.2026", "0d", ""])
def test_no_moment(text):
    with pytest.raises(ValueError, match=r"span back from now|more than nothing"):
        parse_moment(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (-1, "0s"), (8.4, "8s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (3700, "1h 01m"), (86400, "1d"),
     (183600, "2d 3h")],
)  # fmt: skip
def test_a_span_as_shown(seconds, text):
    assert format_span(seconds) == text


def test_moments_as_shown():
    assert format_moment("2026-11-26T08:00:10.123456Z") == "2026-11-26 08:00:10"
    assert format_moment("2026-11-26T08:00:10+00:00") == "2026-11-26 08:00:10"
    assert format_moment("2026-11-26T08:00:10+02:00") == "2026-11-26T08:00:10+02:00"
    assert format_moment(None) == ""
    assert moment_of(0) == "1970-01-01T00:00:00Z"


def test_between_moments():
    assert seconds_between("2026-11-26T08:00:00Z", "2026-11-26T09:00:00Z") == 3600
    assert seconds_between(None, "2026-11-26T09:00:00Z") is None
    assert seconds_between("2026-11-26T08:00:00", "2026-11-26T09:00:00Z") is None
    assert seconds_between("rubbish", "2026-11-26T09:00:00Z") is None
