from __future__ import annotations

import threading

import pytest

from minihub.auth.policy import Account, Policy
from minihub.clock import ManualClock
from minihub.config import AuthSettings
from minihub.store.store import Store


class Directory:
    """The system's user database, as a test wants it."""

    def __init__(self):
        self.accounts = {}
        self.asked = []
        self.answers = threading.Event()
        self.answers.set()
        for uid, name in enumerate(("ada", "bob", "root_like_admin"), start=1000):
            self.add(name, uid)

    def add(self, name, uid, *groups):
        self.accounts[name] = Account(name, uid, frozenset(groups))

    def __call__(self, user):
        self.asked.append(user)
        assert self.answers.wait(30)
        return self.accounts.get(user)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def directory():
    return Directory()


@pytest.fixture
async def store(tmp_path, clock):
    opened = await Store.open(tmp_path / "state", clock)
    yield opened
    await opened.close()


@pytest.fixture
def settings():
    return AuthSettings(
        admin_users=("root_like_admin",),
        idle_lifetime_s=1000,
        absolute_lifetime_s=10_000,
        token_lifetime_s=5000,
    )


async def nobody(_user):
    """Nobody was admitted by an admin."""
    return False


@pytest.fixture
def policy(settings, clock, directory):
    return Policy(settings, clock, is_admitted=nobody, lookup=directory, uid_min=1000)
