"""The certificate authority: what is in a certificate, for whom there is none, and how its key lies on disk."""

from __future__ import annotations

import pwd
import subprocess
from pathlib import Path

import asyncssh
import pytest

from minihub.errors import ConfigError, ConnectFailed
from minihub.transports.ca import (
    CertificateAuthority,
    PrincipalPolicy,
    create_ca,
    known_hosts_advice,
    load_ca,
    load_uid_min,
    sshd_lines,
)

NOW = 1_800_000_000.0
UIDS = {
    "root": 0,
    "toor": 0,
    "daemon": 1,
    "minihub": 998,
    "alice": 1000,
    "Alice": 1001,
    "first": 999,
    "nobody": 65534,
}


def lookup(name: str) -> pwd.struct_passwd:
    canonical = "alice" if name == "ALICE" else name
    return pwd.struct_passwd((canonical, "x", UIDS[canonical], 1, "", "/", "/bin/sh"))


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority(asyncssh.generate_private_key("ssh-ed25519"))


def shown(certificate: asyncssh.SSHCertificate, tmp_path: Path) -> str:
    """What OpenSSH itself reads in the certificate."""
    path = tmp_path / "cert.pub"
    certificate.write_certificate(path)
    return subprocess.run(
        ["ssh-keygen", "-L", "-f", path],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin"},
    ).stdout


def test_a_certificate_lets_run_commands_and_nothing_else(authority, tmp_path):
    key, certificate = authority.sign(
        "alice", now=NOW, lifetime_s=300, source_address=["192.0.2.10", "192.0.2.64/26"]
    )
    text = shown(certificate, tmp_path)
    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in text
    assert text.split("Principals:")[1].split("Critical")[0].split() == ["alice"]
    # 1 800 000 000 is 2027-01-15 08:00:00 UTC
    assert "Valid: from 2027-01-15T07:59:00 to 2027-01-15T08:05:01" in text
    assert "source-address 192.0.2.10/32,192.0.2.64/26" in text
    assert text.split("Extensions:")[1].split() == ["(none)"]
    assert key.get_fingerprint() != authority.key.get_fingerprint()


def test_port_forwarding_only_where_asked(authority, tmp_path):
    _, certificate = authority.sign("alice", now=NOW, lifetime_s=300, port_forwarding=True)
    text = shown(certificate, tmp_path)
    assert text.split("Extensions:")[1].split() == ["permit-port-forwarding"]
    assert text.split("Critical Options:")[1].split()[0] == "(none)"


def test_every_connection_gets_another_key(authority):
    keys = {authority.sign("alice", now=NOW, lifetime_s=300)[0].get_fingerprint() for _ in range(5)}
    assert len(keys) == 5


@pytest.mark.parametrize("user", ["alice", "Alice", "minihub"])
def test_the_hub_acts_as_users_and_its_service_account(user):
    PrincipalPolicy("minihub", 1000, lookup).verify(user)


def test_the_service_account_may_live_on_the_login_node_only():
    PrincipalPolicy("slurmhub", 1000, lookup).verify("slurmhub")


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("root", "root"),
        ("toor", "root"),
        ("daemon", "system account"),
        ("first", "system account"),
        ("nobody", "system account"),
        ("nobody-here", "knows no user"),
        ("ALICE", "own name"),
        ("#0", "no user name"),
        ("-u", "no user name"),
        ("alice root", "no user name"),
        ("alice\n", "no user name"),
        ("alice,root", "no user name"),
        ("*", "no user name"),
        ("", "no user name"),
    ],
)
def test_the_hub_acts_as_nobody_else(user, why):
    with pytest.raises(ConnectFailed, match=why):
        PrincipalPolicy("minihub", 1000, lookup).verify(user)


@pytest.mark.parametrize("service_user", ["root", "toor"])
def test_not_even_a_service_account_may_be_root(service_user):
    with pytest.raises(ConnectFailed, match="root"):
        PrincipalPolicy(service_user, 1000, lookup).verify(service_user)


def test_uid_min_is_login_defs(tmp_path):
    path = tmp_path / "login.defs"
    path.write_text("# UID_MIN 5\n#UID_MIN 6\nSYS_UID_MIN 100\nUID_MIN\t\t 500\n")
    assert load_uid_min(path) == 500
    path.write_text("GID_MIN 7\n")
    assert load_uid_min(path) == 1000
    assert load_uid_min(tmp_path / "none") == 1000


def test_the_key_is_made_once_and_kept_close(tmp_path):
    path = tmp_path / "state" / "user_ca"
    made = create_ca(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_ca(path).public_line() == made.public_line()
    assert path.with_name("user_ca.pub").read_text() == made.public_line() + "\n"
    assert made.public_line().startswith("ssh-ed25519 AAAA")
    with pytest.raises(ConfigError, match="already"):
        create_ca(path)
    assert load_ca(path).public_line() == made.public_line()


def test_a_key_that_cannot_be_trusted_is_named(tmp_path):
    path = tmp_path / "user_ca"
    with pytest.raises(ConfigError, match="minihub ca init"):
        load_ca(path)
    create_ca(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_ca(path)
    path.write_text("rubbish")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no private key"):
        load_ca(path)


def test_a_link_in_the_keys_place_is_not_followed(tmp_path):
    (tmp_path / "user_ca").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        create_ca(tmp_path / "user_ca")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("forwarding", [False, True])
def test_sshd_takes_the_lines(authority, tmp_path, forwarding):
    """OpenSSH's own reading of what we print: who is trusted from where."""
    (tmp_path / "host_key").write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    (tmp_path / "host_key").chmod(0o600)
    text = sshd_lines(
        authority.public_line(), ["192.0.2.10"], "daemon", service_user="games", forwarding=forwarding
    )
    assert authority.public_line() in text
    config = tmp_path / "sshd_config"
    config.write_text(f"HostKey {tmp_path}/host_key\nAllowTcpForwarding no\n{text}")

    def effective(user: str, address: str) -> dict[str, str]:
        done = subprocess.run(
            ["/usr/sbin/sshd", "-T", "-f", config, "-C", f"user={user},host=h,addr={address}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)

    for user in ("daemon", "games"):
        inside = effective(user, "192.0.2.10")
        assert inside["trustedusercakeys"] == "/etc/ssh/minihub_user_ca.pub"
        assert inside["setenv"] == "SHLVL=1"
        assert inside["allowtcpforwarding"] == ("local" if forwarding else "no")
        assert effective(user, "192.0.2.11")["trustedusercakeys"] == "none"
    assert effective("root", "192.0.2.10")["trustedusercakeys"] == "none"
    assert effective("bin", "192.0.2.10")["trustedusercakeys"] == "none"


def test_the_example_is_what_is_printed(authority):
    """configs/sshd_config.d/minihub.conf and `minihub ca show` must not drift apart."""
    example = Path(__file__).parents[2] / "configs/sshd_config.d/minihub.conf"
    printed = sshd_lines(authority.public_line(), ["192.0.2.10"], "minihub-users", service_user="minihub")

    def directives(text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]

    assert directives(example.read_text()) == directives(printed)


def test_known_hosts_advice_names_ports_as_known_hosts_does():
    text = known_hosts_advice(["login1", "login2:2222"], Path("/state/known_hosts"))
    assert "/state/known_hosts" in text
    assert 'echo "login1 ' in text
    assert 'echo "[login2]:2222 ' in text
