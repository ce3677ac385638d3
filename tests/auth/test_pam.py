"""The PAM client: what passes, what is turned into what, what is logged."""

from __future__ import annotations

import logging

import pytest

from minihub.auth.pam import PamAuthenticator
from minihub.errors import AuthError, BadCredentials, ConnectionLost, HelperError, NotAllowed, TooManyAttempts
from tests.helper.machine import PASSWORD


class Scripted:
    """Answers as told."""

    def __init__(self, answer):
        self.answer = answer

    async def authenticate(self, username, password):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_the_canonical_name_comes_back():
    assert await PamAuthenticator(Scripted("alice")).authenticate("Alice", "x") == "alice"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadCredentials(), BadCredentials),
        (TooManyAttempts(), TooManyAttempts),
        (NotAllowed("Your account has expired."), NotAllowed),
        (AuthError("no"), AuthError),
        (HelperError("hung"), HelperError),
        (ConnectionLost("gone"), HelperError),
    ],
)
async def test_errors_are_of_the_kinds_that_are_promised(error, kind, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(kind) as caught:
        await PamAuthenticator(Scripted(error)).authenticate("some-name", "S3cret")
    assert type(caught.value) is kind
    assert "S3cret" not in caplog.text + repr(caught.value)
    # Names typed by anybody do not fill the log.
    assert "some-name" not in caplog.text


@pytest.mark.real
async def test_with_real_pam(start_helper):
    pam = PamAuthenticator(await start_helper())
    assert await pam.authenticate("mh-alice", PASSWORD) == "mh-alice"
    with pytest.raises(BadCredentials):
        await pam.authenticate("mh-alice", PASSWORD + "x")
    with pytest.raises(NotAllowed, match="expired"):
        await pam.authenticate("mh-expired", PASSWORD)
