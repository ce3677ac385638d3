"""Settings that are checked when they are read, so that no request stumbles over them."""

from __future__ import annotations

import pytest

from minihub.config import parse_settings
from minihub.errors import ConfigError


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "::1", "fd00::/8"])
def test_front_proxies_are_addresses_or_networks(text):
    assert parse_settings({"hub": {"trusted_proxies": [text]}}).hub.trusted_proxies == (text,)


@pytest.mark.parametrize("text", ["front.example", "10.0.0.0/33", "", "10.0.0.1:80"])
def test_anything_else_is_named(text):
    with pytest.raises(ConfigError, match=r"hub\.trusted_proxies: '.*' is no address"):
        parse_settings({"hub": {"trusted_proxies": [text]}})
