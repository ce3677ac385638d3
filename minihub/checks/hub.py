"""Hops on the hub's own machine: key files, store, PAM, the test user."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
from pathlib import Path

from minihub.auth.policy import NOT_LISTED, find_account, find_refusal, read_uid_min
from minihub.building import uses_ssh
from minihub.checks.bench import Bench
from minihub.checks.model import CheckFailed, Found, NotTested
from minihub.errors import AuthError, BadCredentials, HelperError, HubError, NotAllowed
from minihub.store.keys import prepare_state_dir
from minihub.store.store import Store
from minihub.tls import load_front_tls

PAM_DIRECTORIES = ("/etc/pam.d", "/usr/lib/pam.d")


async def key_files(bench: Bench) -> Found:
    """State directory, ssh keys and TLS files: there, ours, closed to others."""
    ground, settings = bench.ground, bench.settings
    prepare_state_dir(ground.state_dir)
    found = [f"{ground.state_dir} is private"]
    if not bench.is_local and uses_ssh(settings):
        found += _ssh_keys(bench)
    tls = load_front_tls(settings, ground.state_dir, bench.clock)
    if tls is not None:
        found.append("TLS certificate and key fit together")
    return Found("; ".join(found))


def _ssh_keys(bench: Bench) -> list[str]:
    from minihub.transports.ca import load_ca, load_private_key  # noqa: PLC0415 - asyncssh is big
    from minihub.transports.ssh import resolve_identity  # noqa: PLC0415

    ssh, state = bench.settings.ssh, bench.ground.state_dir
    identity = resolve_identity(bench.settings)
    found = []
    service_key = Path(ssh.service_key) if ssh.service_key else state / "service_key"
    if identity == "certificate":
        ca = Path(ssh.ca_key) if ssh.ca_key else state / "user_ca"
        load_ca(ca)
        found.append(f"user CA {ca}")
    if identity == "sudo" or ssh.service_key or service_key.exists():
        load_private_key(service_key, f"make one with: ssh-keygen -t ed25519 -N '' -f {service_key}")
        found.append(f"service key {service_key}")
    return found


async def store(bench: Bench) -> Found:
    """The store opens, with the schema that this minihub needs; works beside a running hub."""
    opened = await Store.open(bench.ground.state_dir, bench.clock, exclusive=False)
    try:
        _, count = await opened.users.list("", limit=1)
    finally:
        await opened.close()
    return Found(f"{opened.path}, hub id {opened.hub_id}, {count} users seen so far")


async def pam(bench: Bench) -> Found:
    """PAM's service is there and answers a wrong login as it must; a right one too if a password was given."""
    info = bench.ground.helper_info
    if not _has_service(info.pam_service):
        raise CheckFailed(
            f"there is no PAM service {info.pam_service!r} in {' or '.join(PAM_DIRECTORIES)}",
            f"Copy configs/pam.d/minihub to /etc/pam.d/{info.pam_service}, or set auth.pam_service.",
        )
    await _ask_wrong(bench)
    limits = "" if info.root else f" Without root, PAM can verify {info.user} only."
    if bench.wish.password is None:
        return Found(
            f"service {info.pam_service!r} refuses a wrong login.{limits}",
            "A right login was not tried: add --password-stdin and give the test user's password on stdin.",
        )
    name = await _ask_right(bench, bench.wish.password)
    return Found(f"service {info.pam_service!r} refuses a wrong login and takes {name}'s password.{limits}")


def _has_service(name: str) -> bool:
    """Whether PAM has a file for the service; without one it falls back to `other`, which refuses everybody."""
    return any(Path(directory, name).is_file() for directory in PAM_DIRECTORIES)


async def _ask_wrong(bench: Bench) -> None:
    """A name that nobody has: a real user's wrong password could count towards a lockout of his."""
    nobody = f"minihub-check-{secrets.token_hex(4)}"
    service = bench.ground.helper_info.pam_service
    try:
        name = await bench.helper.authenticate(nobody, secrets.token_hex(16))
    except BadCredentials:
        return
    except NotAllowed as error:
        raise CheckFailed(
            f"PAM let an unknown user's password pass and stopped only at the account: {error.user_message}",
            f"Look into /etc/pam.d/{service}: its auth lines must refuse unknown users.",
        ) from error
    except AuthError as error:
        raise CheckFailed(
            f"PAM cannot answer: {error.detail or error.user_message}",
            f"Look into /etc/pam.d/{service} (missing modules?) and into the system's auth log.",
        ) from error
    except HelperError as error:
        raise CheckFailed(
            f"{error.user_message} {error.detail}",
            "A PAM module hangs or crashes: is the directory service (sssd, LDAP) up? See auth.pam_timeout_s.",
        ) from error
    raise CheckFailed(
        f"PAM let in {name!r} with a random password",
        f"Do not run the hub before /etc/pam.d/{service} refuses wrong passwords.",
    )


async def _ask_right(bench: Bench, password: str) -> str:
    user = bench.wish.user or bench.ground.helper_info.user
    try:
        return await bench.helper.authenticate(user, password)
    except BadCredentials:
        raise CheckFailed(
            f"PAM refuses {user}'s password",
            "Is it the right one? Without root only the hub's own user can be verified. Else see the auth log.",
        ) from None
    except HubError as error:
        raise CheckFailed(
            f"{user} may not log in: {error.user_message}",
            "PAM's account phase refuses this user: see /etc/pam.d, /etc/security/access.conf, chage -l.",
        ) from error


async def _is_admitted(bench: Bench, user: str) -> bool:
    store = await Store.open(bench.ground.state_dir, bench.clock, exclusive=False)
    try:
        return await store.users.is_admitted(user)
    finally:
        await store.close()


async def test_user(bench: Bench) -> Found:
    """The user for whom the rest is tested exists here and is admitted."""
    name = bench.wish.user or _caller(bench)
    if not name:
        raise NotTested("no test user was named", "Add --user NAME to test all that a user's server needs.")
    try:
        entry = await asyncio.to_thread(pwd.getpwnam, name)
    except KeyError:
        raise CheckFailed(
            f"the hub's machine knows no user {name}",
            "Are LDAP or sssd up on this machine? `getent passwd NAME` has to answer.",
        ) from None
    account = await asyncio.to_thread(find_account, name)
    refusal = find_refusal(name, account, bench.settings.auth, read_uid_min())
    if refusal and not (refusal == NOT_LISTED and await _is_admitted(bench, name)):
        raise CheckFailed(
            f"the hub does not admit {name}: {refusal}",
            "Test with a user whom it shall admit, or change auth.allow_* and auth.deny_*, or let him in: minihub users admit.",
        )
    if bench.is_local and not bench.ground.helper_info.root and name != bench.ground.helper_info.user:
        raise NotTested(f"without root only {bench.ground.helper_info.user} can start a server here")
    bench.user, bench.home = entry.pw_name, entry.pw_dir
    return Found(f"{entry.pw_name}, uid {entry.pw_uid}, home {entry.pw_dir}")


def _caller(bench: Bench) -> str:
    """Who runs the command; root's own name is no use, but sudo tells who stands behind it."""
    return os.environ.get("SUDO_USER", "") if bench.ground.helper_info.root else bench.ground.hub_user


async def jupyter_here(bench: Bench) -> Found:
    """Users of this machine can run the Jupyter that is named (local scheduler)."""
    folder = bench.settings.jupyter.bin_dir
    if not folder:
        return Found("jupyter is looked for on the PATH of the user's server")
    program = next(
        (p for p in (Path(folder, n) for n in ("jupyter", "jupyter-lab", "jupyter-server")) if _exists(p)),
        None,
    )
    closed = _closed_to_others(Path(folder))
    if program is None and closed is None:
        raise CheckFailed(
            f"there is no jupyter in {folder}", "Install JupyterLab there, or set jupyter.bin_dir."
        )
    looked_at = program or Path(folder, "jupyter")
    done = await bench.helper.run(["tail", "-c", "1", "--", str(looked_at)], user=bench.user, timeout_s=20)
    if done.exit_status != 0:
        where = f"; other users cannot enter {closed}" if closed else ""
        raise CheckFailed(
            f"{bench.user} cannot read {looked_at}{where}: {done.stderr.strip()}",
            "Install Jupyter where users can enter, such as /opt, and set jupyter.bin_dir.",
        )
    return Found(f"{bench.user} can read {looked_at}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _closed_to_others(path: Path) -> Path | None:
    """The outermost directory on the way that others may not enter."""
    for folder in (*reversed(path.parents), path):
        try:
            mode = folder.stat().st_mode
        except OSError:
            return folder
        if not mode & 0o001:
            return folder
    return None


CURE_KEYS = (
    "The file has to belong to the user the hub runs as, with mode 600 (directories 700).\n"
    "Run this command as root or as the hub's user: nobody else may read the hub's keys."
)
CURE_STORE = "Restore the state directory from its backup, or free disk space, as the message says."
