from __future__ import annotations

import os
import stat

import pytest

from minihub.errors import ConfigError, StoreError
from minihub.store.keys import StoreLock, load_hub_id, load_keys, prepare_state_dir


@pytest.fixture
def directory(state_dir):
    prepare_state_dir(state_dir)
    return state_dir


def test_keys_are_made_once(directory):
    first, hub_id = load_keys(directory), load_hub_id(directory)

    assert load_keys(directory).decrypt(first.encrypt("geheim")) == "geheim"
    assert load_hub_id(directory) == hub_id
    assert {path.name for path in directory.iterdir()} == {"store.key", "hub_id"}


def test_derived_keys_differ_by_purpose_and_by_key_file(directory, tmp_path):
    prepare_state_dir(tmp_path / "other")
    mine, other = load_keys(directory), load_keys(tmp_path / "other")

    assert len({mine.derive("a"), mine.derive("b"), other.derive("a")}) == 3


def test_empty_secrets_stay_empty_and_damaged_ones_are_an_error(directory):
    keys = load_keys(directory)

    assert keys.encrypt("") == ""
    assert keys.decrypt("") == ""
    with pytest.raises(StoreError, match="damaged"):
        keys.decrypt(keys.encrypt("x")[:-4] + "AAAA")


@pytest.mark.parametrize("name", ["store.key", "hub_id"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused_with_the_cure(directory, name, mode):
    load = {"store.key": load_keys, "hub_id": load_hub_id}[name]
    load(directory)
    (directory / name).chmod(mode)

    with pytest.raises(ConfigError, match=f"chmod 600 {directory / name}"):
        load(directory)


def test_a_directory_that_others_may_enter_is_refused_with_the_cure(directory):
    directory.chmod(0o755)

    with pytest.raises(ConfigError, match=f"chmod 700 {directory}"):
        prepare_state_dir(directory)


@pytest.mark.real
def test_a_key_file_of_somebody_else_is_refused_with_the_cure(directory):
    assert os.geteuid() == 0, "this test needs root"
    load_keys(directory)
    os.chown(directory / "store.key", 65534, 65534)

    with pytest.raises(ConfigError, match=r"belongs to uid 65534.*chown 0"):
        load_keys(directory)


def test_a_link_in_place_of_the_key_file_is_refused(directory, tmp_path):
    (tmp_path / "elsewhere").write_text("x")
    (directory / "store.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match="must be a file"):
        load_keys(directory)


def test_a_missing_key_beside_a_store_is_not_made_anew(directory):
    (directory / "minihub.sqlite").write_text("")

    with pytest.raises(ConfigError, match=r"missing.*Restore"):
        load_keys(directory)
    assert not (directory / "store.key").exists()


@pytest.mark.parametrize("content", ["", "short", "é" * 44])
def test_a_damaged_key_file_is_refused(directory, content):
    load_keys(directory)
    (directory / "store.key").write_text(content)

    with pytest.raises(ConfigError, match=r"store\.key"):
        load_keys(directory)


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "state").write_text("")

    with pytest.raises(ConfigError, match="cannot be made"):
        prepare_state_dir(tmp_path / "state")


def test_the_lock_file_is_private_and_holds_the_pid(directory):
    lock = StoreLock(directory)
    lock.acquire()

    assert stat.S_IMODE((directory / "lock").stat().st_mode) == 0o600
    assert (directory / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()
