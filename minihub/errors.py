"""Every error minihub raises on purpose.

    HubError
    |- ConfigError                  the settings are wrong; the hub does not start
    |- AuthError                    somebody may not do this
    |  |- BadCredentials            name or password is wrong (never says which)
    |  |- NotAllowed                right password, but not admitted here
    |  |- TooManyAttempts           slow down
    |  |- LoginExpired              the login session is over
    |  `- Forbidden                 known, but not permitted
    |- BadQuery                     a page is asked for something that makes no sense
    |- NotFound                     no such thing, or none that you may know of
    |- Conflict                     the thing exists already or is in the way
    |- OptionsError                 server options are wrong; one message per field
    |- StoreError                   the store cannot be read or written
    |- HelperError                  the privileged helper refused or died
    |- SchedulerError
    |  |- SubmitRejected            the scheduler said no: there is certainly no job
    |  |- SubmitDoubtful            nobody knows whether there is a job
    |  |- SchedulerUnavailable      no answer now; nothing can be concluded from it
    |  `- OutputNotUnderstood       it answered something we cannot read
    |- TransportError
    |  |- ConnectFailed             the command certainly did not run
    |  |- HostKeyMismatch           the host is not who it was: refuse, loudly
    |  |- ConnectionLost            the command may have run
    |  `- CommandTimedOut           the command may have run
    `- UpstreamError                the user's Jupyter cannot be reached
       `- UpstreamUnsafe            something answers there that we must not trust

`user_message` may be shown to the user; `detail` is for the log and the admin. Neither ever holds a secret.
`http_status` is the status with which a page or the API answers when the error reaches it.
"""

from __future__ import annotations

from typing import ClassVar


class HubError(Exception):
    """Base of all errors that minihub raises on purpose."""

    http_status: ClassVar[int] = 500
    default_message: ClassVar[str] = "Something went wrong in the hub."

    def __init__(self, user_message: str | None = None, detail: str = "") -> None:
        self.user_message = user_message or self.default_message
        self.detail = detail
        super().__init__(self.user_message + (f" ({detail})" if detail else ""))


class ConfigError(HubError):
    """The settings are wrong; says which key and what would be right."""


class AuthError(HubError):
    """Somebody may not do this."""

    http_status = 403


class BadCredentials(AuthError):
    """Name or password is wrong; the message never says which."""

    http_status = 403
    default_message = "Invalid username or password."


class NotAllowed(AuthError):
    """The password is right, but this user is not admitted to this hub."""

    default_message = "Your account is not admitted to this hub. Ask the people who run it."


class TooManyAttempts(AuthError):
    """Logins come in faster than the hub checks them."""

    http_status = 429
    default_message = "Too many login attempts are waiting. Try again in a minute."


class LoginExpired(AuthError):
    """The login session is over: idle for too long, too old, or revoked."""

    http_status = 401
    default_message = "Your login has expired. Please log in again."


class Forbidden(AuthError):
    """Known, but not permitted."""

    default_message = "You may not do this."


class BadQuery(HubError):
    """A page is asked for something that makes no sense; the message says what."""

    http_status = 400
    default_message = "This request was not understood."


class NotFound(HubError):
    """No such thing, or none that the asker may know of."""

    http_status = 404
    default_message = "There is no such page or thing here."


class Conflict(HubError):
    """The thing exists already or is in the way."""

    http_status = 409
    default_message = "That is not possible right now."


class OptionsError(HubError):
    """Server options are wrong.

    Attributes:
        fields: One message per wrong option name; "" holds what belongs to no single field.
    """

    http_status = 400
    default_message = "Please correct the marked options."

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        super().__init__(None, "; ".join(f"{k}: {v}" for k, v in fields.items()))


class StoreError(HubError):
    """The store cannot be read or written."""

    http_status = 503
    default_message = "The hub cannot write its records right now. Nothing was changed; try again later."


class HelperError(HubError):
    """The privileged helper refused or died."""

    http_status = 503


class SchedulerError(HubError):
    """Something between us and the scheduler went wrong."""

    http_status = 503
    default_message = "The scheduler cannot be asked right now."


class SubmitRejected(SchedulerError):
    """The scheduler said no: there is certainly no job."""

    http_status = 400


class SubmitDoubtful(SchedulerError):
    """Nobody knows whether there is a job; look its tag up.

    Attributes:
        settles_after_s: Seconds from now after which the submission can no longer still be running.
    """

    def __init__(self, user_message: str, detail: str = "", *, settles_after_s: float) -> None:
        super().__init__(user_message, detail)
        self.settles_after_s = settles_after_s


class SchedulerUnavailable(SchedulerError):
    """No answer now; nothing can be concluded from it."""


class OutputNotUnderstood(SchedulerError):
    """The scheduler answered something that we cannot read."""


class TransportError(HubError):
    """A command could not be carried to a host or back."""

    http_status = 503


class ConnectFailed(TransportError):
    """The command certainly did not run."""


class HostKeyMismatch(ConnectFailed):
    """The host is not who it was."""


class ConnectionLost(TransportError):
    """The connection broke while the command ran; it may have done its work."""


class CommandTimedOut(TransportError):
    """No end within the time limit; the command may have done its work."""


class UpstreamError(HubError):
    """The user's Jupyter cannot be reached."""

    http_status = 503


class UpstreamUnsafe(UpstreamError):
    """Something answers there that we must not trust."""
