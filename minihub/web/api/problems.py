"""What can be wrong with a request to the API. Pure."""

from __future__ import annotations

from minihub.errors import HubError, OptionsError


class InvalidRequest(OptionsError):
    """The request is wrong; one message per field or parameter."""

    default_message = "The request is not valid; `fields` says what is wrong."


class BadRequest(HubError):
    """The request is wrong as a whole; says what."""

    http_status = 400


class NotJson(HubError):
    """The body is declared as something else."""

    http_status = 415
    default_message = "Send the body as JSON in UTF-8, with the header Content-Type: application/json."
