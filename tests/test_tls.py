"""The certificate in front; reloading and serving it are tested in tests/proxy."""

from __future__ import annotations

import os

import pytest

from minihub.clock import ManualClock
from minihub.config import parse_settings
from minihub.tls import load_front_tls

SETTINGS = parse_settings({"tls": {"self_signed": True}})


def test_the_self_signed_certificate_is_made_once(tmp_path):
    first = load_front_tls(SETTINGS, tmp_path, ManualClock())
    second = load_front_tls(SETTINGS, tmp_path, ManualClock())

    assert first.pin == second.pin
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o600"}


@pytest.mark.parametrize("written", range(4))
def test_a_first_start_that_is_cut_off_does_not_spoil_the_next(tmp_path, monkeypatch, written):
    """Key and certificate, each with its directory, are synced: the machine stops before one of these."""
    left = iter(range(written))

    def sync(_descriptor):
        if next(left, None) is None:
            raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", sync)
        with pytest.raises(SystemExit):
            load_front_tls(SETTINGS, tmp_path, ManualClock())

    assert load_front_tls(SETTINGS, tmp_path, ManualClock()).pin
