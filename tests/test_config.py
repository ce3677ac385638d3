"""Settings that are checked when they are read, so that no request stumbles over them."""

from __future__ import annotations

import pytest

from minihub.config import parse_settings
from minihub.errors import ConfigError
from minihub.settings_file import load_settings


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "::1", "fd00::/8"])
def test_front_proxies_are_addresses_or_networks(text):
    assert parse_settings({"hub": {"trusted_proxies": [text]}}).hub.trusted_proxies == (text,)


@pytest.mark.parametrize("text", ["front.example", "10.0.0.0/33", "", "10.0.0.1:80"])
def test_anything_else_is_named(text):
    with pytest.raises(ConfigError, match=r"hub\.trusted_proxies: '.*' is no address"):
        parse_settings({"hub": {"trusted_proxies": [text]}})


FILE = """\
[hub]
port = 8000

[servers]
upstream = "tsl"
spawn_timeout_s = "soon"

[ssh]
login_node = ["login"]
[slurmm]
"""


def test_each_mistake_is_told_with_file_line_and_cure(tmp_path):
    path = tmp_path / "minihub.toml"
    path.write_text(FILE)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {"MINIHUB_HUB__PROT": "1"})
    lines = caught.value.user_message.splitlines()

    assert len(lines) == 5
    for place, words in {
        f"{path}:5: servers.upstream": "'tls' or 'plain'",
        f"{path}:6: servers.spawn_timeout_s": "valid number",
        f"{path}:9: ssh.login_node": "unknown key; did you mean login_nodes?",
        f"{path}:10: slurmm": "unknown key; did you mean slurm?",
        # From the environment: it stands nowhere in the file.
        f"{path}: hub.prot": "unknown key; did you mean port?",
    }.items():
        [line] = [line for line in lines if line.startswith(f"{place}: ")]
        assert words in line


@pytest.mark.parametrize(
    ("hub", "message"),
    [
        ({"host": "0.0.0.0"}, "beyond loopback needs tls.cert_file, tls.self_signed or hub.trusted_proxies"),
        ({"host": "192.0.2.1"}, "beyond loopback needs"),
        ({"host": "::"}, "beyond loopback needs"),
    ],
)
def test_nobody_listens_beyond_loopback_in_the_clear(hub, message):
    with pytest.raises(ConfigError, match=message):
        parse_settings({"hub": hub})
    for cure in ({"tls": {"self_signed": True}}, {"hub": {"trusted_proxies": ["192.0.2.9"]}}):
        parse_settings({**cure, "hub": {**hub, **cure.get("hub", {})}})
