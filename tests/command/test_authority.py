"""`minihub ca`: key files, the lines for login nodes, and a change of the key in steps."""

from __future__ import annotations

import stat

import pytest

from minihub.transports.ca import load_ca


@pytest.fixture
def state(directory):
    (directory / "minihub.toml").write_text(
        f'[hub]\nstate_dir = "{directory}/state"\nrun_as = "nobody"\n[servers]\nscheduler = "slurm"\n'
        '[slurm]\ntransport = "local"\n[ssh]\nsource_address = "192.0.2.7"\n'
    )
    return directory / "state"


def key_of(path):
    return load_ca(path).public_line().split()[1]


def keys_in(text):
    """Between the marks: what goes into TrustedUserCAKeys."""
    lines = text.splitlines()
    begin, end = [number for number, line in enumerate(lines) if line == "#   ---"]
    return [line.removeprefix("#   ").split()[1] for line in lines[begin + 1 : end]]


def private(path):
    return stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_init_and_show(minihub, state):
    done = await minihub("ca", "init", "--group", "hpc")
    assert done.status == 0
    assert keys_in(done.out) == [key_of(state / "user_ca")]
    assert "Match Group hpc Address 192.0.2.7" in done.out
    assert "the line between the marks" in done.out
    assert private(state / "user_ca")
    assert (await minihub("ca", "show", "--group", "hpc")).out == done.out
    again = await minihub("ca", "init")
    assert (again.status, "there is a CA key already" in again.err) == (1, True)


async def test_a_change_in_steps(minihub, state):
    await minihub("ca", "init")
    old = key_of(state / "user_ca")
    begun = await minihub("ca", "rotate")
    new = key_of(state / "user_ca.next")
    assert begun.status == 0
    assert keys_in(begun.out) == [old, new]
    assert "the lines between the marks" in begun.out
    assert "minihub ca rotate --finish" in begun.err
    assert private(state / "user_ca.next")
    assert key_of(state / "user_ca") == old  # which goes on signing
    # Once more changes nothing.
    assert keys_in((await minihub("ca", "rotate")).out) == [old, new]
    assert keys_in((await minihub("ca", "show")).out) == [old, new]
    finished = await minihub("ca", "rotate", "--finish")
    assert finished.status == 0
    assert keys_in(finished.out) == [new]
    assert "on every login node" in finished.err
    assert key_of(state / "user_ca") == new
    assert private(state / "user_ca")
    assert new in (state / "user_ca.pub").read_text()
    assert sorted(path.name for path in state.iterdir()) == ["user_ca", "user_ca.pub"]


async def test_a_change_that_is_given_up(minihub, state):
    await minihub("ca", "init")
    old = key_of(state / "user_ca")
    await minihub("ca", "rotate")
    given_up = await minihub("ca", "rotate", "--abandon")
    assert (given_up.status, keys_in(given_up.out)) == (0, [old])
    assert sorted(path.name for path in state.iterdir()) == ["user_ca", "user_ca.pub"]
    assert key_of(state / "user_ca") == old


async def test_steps_out_of_turn(minihub, state):
    without_ca = await minihub("ca", "rotate")
    assert (without_ca.status, "minihub ca init" in without_ca.err) == (1, True)
    await minihub("ca", "init")
    for word in ("--finish", "--abandon"):
        done = await minihub("ca", "rotate", word)
        assert (done.status, "No change of the key is under way" in done.err) == (1, True)
    assert (await minihub("ca", "rotate", "--untested")).status == 2
    assert (await minihub("ca", "rotate", "--finish", "--abandon")).status == 2
    assert sorted(path.name for path in state.iterdir()) == ["user_ca", "user_ca.pub"]


async def test_over_ssh_it_must_be_said_for_whom_the_new_key_is_tried(minihub, state):
    """Where the service account has a key of its own, which proves nothing about the CA's."""
    config = state.parent / "minihub.toml"
    text = config.read_text().replace('transport = "local"', 'transport = "ssh"\nidentity = "certificate"')
    config.write_text(text + 'login_nodes = ["127.0.0.1:1"]\n')
    (state / "service_key").write_text("a key\n")
    await minihub("ca", "init")
    await minihub("ca", "rotate")
    old = key_of(state / "user_ca")
    done = await minihub("ca", "rotate", "--finish")
    assert (done.status, "--user NAME" in done.err) == (2, True)
    assert key_of(state / "user_ca") == old
    assert (await minihub("ca", "rotate", "--finish", "--untested")).status == 0
