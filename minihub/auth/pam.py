"""Name and password -> canonical user name, by asking PAM through the helper. Touches nothing but the helper's client."""

from __future__ import annotations

import logging
from typing import Protocol

from minihub.errors import AuthError, BadCredentials, HelperError, HubError, TooManyAttempts

log = logging.getLogger(__name__)


class PasswordChecker(Protocol):
    """What is needed of `minihub.helper.client.HelperClient`."""

    async def authenticate(self, username: str, password: str) -> str:
        """Ask PAM; return the canonical name or raise an AuthError or HelperError."""
        ...


class PamAuthenticator:
    """Checks passwords. Throttling, allow and deny lists are others' business.

    PAM's answers come through one question and one answer: conversations of several steps (one-time codes, changing an
    expired password) would become another method here and in the helper.
    """

    def __init__(self, helper: PasswordChecker) -> None:
        self._helper = helper

    async def authenticate(self, username: str, password: str) -> str:
        """Whether name and password are right and the account is in order; the canonical name if so.

        The answer to a wrong password comes as late as PAM wants it (2-4 s); any number of questions may wait at once.

        Raises:
            BadCredentials: Name or password is wrong; never says which.
            NotAllowed: The password is right, but PAM or the helper does not admit the account: the reason in words.
            TooManyAttempts: Too many questions wait.
            AuthError: PAM itself is in trouble.
            HelperError: A PAM module hung or crashed, or the helper is gone.
        """
        try:
            return await self._helper.authenticate(username, password)
        except (BadCredentials, TooManyAttempts):
            # Anybody can cause these, any number of times: the audit has them, the log need not.
            raise
        except HelperError as error:
            log.warning("a login failed: %s", error)
            raise
        except AuthError as error:
            log.info("a login was refused: %s", error)
            raise
        except HubError as error:
            raise HelperError(
                "Nobody can log in right now: the hub's helper has ended.", str(error)
            ) from error
