"""The door's own answers, read by the standard library's client."""

from __future__ import annotations

import http.client
import io
import json

import pytest

from minihub.proxy.refusal import build_refusal


class Socket:
    """What http.client reads from."""

    def __init__(self, data):
        self._data = data

    def makefile(self, _mode):
        return io.BytesIO(self._data)


def read(data):
    response = http.client.HTTPResponse(Socket(data))
    response.begin()
    return response, response.read()


@pytest.mark.parametrize("status", [400, 405, 408, 413, 414, 417, 431, 500, 501, 502, 503, 505])
def test_every_refusal_is_an_answer_with_json(status):
    data = build_refusal(status, "No.")
    response, body = read(data)
    assert response.status == status
    assert response.reason == http.client.responses[status]
    assert json.loads(body) == {"status": status, "message": "No."}
    assert data.endswith(b"\r\n\r\n" + body)
    assert response.getheader("Content-Type") == "application/json"
    assert response.getheader("Content-Length") == str(len(body))
    assert response.getheader("Cache-Control") == "no-store"
    assert response.getheader("Connection") == "close"


def test_each_has_an_id_of_its_own():
    ids = {read(build_refusal(400, "No."))[0].getheader("X-Request-ID") for _ in range(50)}
    assert len(ids) == 50
    assert None not in ids


@pytest.mark.parametrize("status", [400, 405, 408, 503])
def test_what_some_statuses_add(status):
    response, _ = read(build_refusal(status, "No."))
    assert (response.getheader("Retry-After") is not None) == (status == 503)
    assert (response.getheader("Allow") is not None) == (status == 405)


def test_retry_after_is_a_number_of_seconds():
    assert int(read(build_refusal(503, "No."))[0].getheader("Retry-After")) > 0


def test_allow_names_methods_but_not_trace():
    allowed = read(build_refusal(405, "No."))[0].getheader("Allow").split(", ")
    assert {"GET", "HEAD", "POST"} <= set(allowed)
    assert "TRACE" not in allowed
    assert "CONNECT" not in allowed


@pytest.mark.parametrize(
    "message", ["", 'with "quotes"', "two\r\nSet-Cookie: a=1\r\n\r\nlines", "é ü \N{SNOWMAN}"]
)
def test_no_message_leaves_the_body(message):
    response, body = read(build_refusal(400, message))
    assert json.loads(body)["message"] == message
    assert response.getheader("Set-Cookie") is None
    assert response.getheader("Content-Length") == str(len(body))
