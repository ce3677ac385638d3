"""An admin's browser."""

from __future__ import annotations

import pytest

ADMIN = "root-of-all"


@pytest.fixture
def admin(browser):
    return browser.log_in(ADMIN)
