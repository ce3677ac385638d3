"""Comparing what happened with what a row says, and with what holds for every row. Problems are words in a list."""

from __future__ import annotations

import json
import re

import h11

from tests.proxy.conformance.kit import ABORTED, as_bytes
from tests.proxy.conformance.reader import Loose, read_with_h11

SECRETS = (b"upstream-token", b"alice-cookie", b"alice-token", b"report-secret")


def check_answers(run, client, expected):
    found, problems = client.reader.messages, run.problems
    if client.reader.problem:
        problems.append(f"answer: {client.reader.problem}")
    elif client.reader.rest:
        problems.append(f"no answer: {client.reader.rest[:60]!r}")
    matching = len(found) == len(expected) and all(map(is_status, found, expected))
    if not matching:
        problems.append(f"answers {show(found)} instead of {[a.status for a in expected]}")
    for index, (message, wanted) in enumerate(zip(found, expected, strict=False)):
        partial = run.case.then == ABORTED and index == len(expected) - 1
        if not partial and not message.whole:
            problems.append(f"answer {message.status} is not complete")
        _check_body(problems, "answer", message, wanted.body, partial=partial)
        if wanted.size is not None and len(message.body) != wanted.size:
            problems.append(f"answer: {len(message.body)} bytes instead of {wanted.size}")
        _check_fields(problems, "answer", message, wanted.has, wanted.lacks)
    for index, message in enumerate(found):
        to_head = index < len(expected) and expected[index].head
        _check_own_refusal(problems, message, to_head=to_head)
    if run.case.tunnel is not None and bytes(client.reader.tunnel) != as_bytes(run.case.tunnel):
        problems.append(f"after 101: {bytes(client.reader.tunnel)[:60]!r}")
    problems.extend(f"{secret!r} is told to the client" for secret in SECRETS if secret in client.received)


def is_status(message, wanted):
    return message.status in (wanted.status if isinstance(wanted.status, set) else {wanted.status})


def _check_own_refusal(problems, message, *, to_head):
    if message.status < 400 or message.values("x-upstream"):
        return
    if len(message.values("x-request-id")) != 1 or not message.values("x-request-id")[0]:
        problems.append("own refusal without X-Request-ID")
    if to_head:
        return
    kind = "".join(message.values("content-type"))
    if kind.startswith("application/json"):
        said = json.loads(message.body)
        if said.get("status") != message.status or not said.get("message"):
            problems.append(f"own refusal says {said}")
    elif not kind.startswith("text/html"):
        problems.append(f"own refusal as {kind!r}: {bytes(message.body)[:60]!r}")


def _check_body(problems, what, message, wanted, *, partial):
    if wanted is None:
        return
    body, wanted = bytes(message.body), as_bytes(wanted)
    if body != wanted and not (partial and wanted.startswith(body)):
        problems.append(
            f"{what}: body {body[:60]!r} ({len(body)}) instead of {wanted[:60]!r} ({len(wanted)})"
        )


def _check_fields(problems, what, message, has, lacks):
    for name, value in has.items():
        found = message.values(name)
        if isinstance(value, re.Pattern):
            good = len(found) == 1 and value.fullmatch(found[0])
        else:
            good = found == (value if isinstance(value, list) else [value])
        if not good:
            problems.append(f"{what}: {name} is {found} instead of {value}")
    problems.extend(f"{what}: has {name}: {message.values(name)}" for name in lacks if message.values(name))


def check_requests(run):
    problems = run.problems
    for connection in run.connections:
        _check_connection(problems, connection)
    found = [(connection, message) for connection, message, is_probe in run.requests if not is_probe]
    wanted = list(run.case.reaches)
    for connection, message in found:
        while wanted and (wanted[0].cut or wanted[0].maybe) and wanted[0].method != message.method:
            wanted.pop(0)
        if not wanted:
            problems.append(f"the server got {message.start!r}")
            continue
        _check_request(problems, connection, message, wanted.pop(0))
    problems.extend(f"the server did not get {r.method} {r.target}" for r in wanted if not (r.cut or r.maybe))


def _check_request(problems, connection, message, wanted):
    what = f"request {message.method}"
    if (message.method, message.target) != (wanted.method, wanted.target):
        problems.append(f"the server got {message.start!r} instead of {wanted.method} {wanted.target}")
    if message.whole == wanted.cut:
        problems.append(f"{what} is {'' if message.whole else 'not '}complete")
    if wanted.cut and not connection.ended:
        problems.append(f"{what} is cut, but its connection did not end")
    _check_body(problems, what, message, wanted.body, partial=wanted.cut)
    _check_fields(problems, what, message, wanted.has, wanted.lacks)
    _check_own_fields(problems, message)
    if wanted.on is not None and connection.number != wanted.on:
        problems.append(f"{what} came on connection {connection.number}")
    if wanted.ends is not None and connection.ended != wanted.ends:
        problems.append(f"the server's connection ended {connection.ended} instead of {wanted.ends}")
    if wanted.tunnel is not None and bytes(connection.reader.tunnel) != as_bytes(wanted.tunnel):
        problems.append(f"{what}: after 101 {bytes(connection.reader.tunnel)[:60]!r}")


_ONCE = {"authorization": "token upstream-token", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"}
_NEVER = {"keep-alive", "te", "trailer", "trailers", "http2-settings", "forwarded", "x-real-ip", "x-scheme"}


def _check_own_fields(problems, message):
    """Whatever is sent on is said by the hub, or is nothing that only the hub may say."""
    for name, value in _ONCE.items():
        if message.values(name) != [value]:
            problems.append(f"request: {name} is {message.values(name)}")
    if len(message.values("host")) != 1 and "HTTP/1.1" in message.start:
        problems.append(f"request: Host is {message.values('host')}")
    for name, value in message.fields:
        key = name.lower().replace("_", "-")
        twin = key != name.lower() and key in {*_ONCE, *_NEVER, "content-length", "transfer-encoding", "host"}
        if twin or key in _NEVER or key.startswith("proxy-"):
            problems.append(f"request: has {name}: {value}")
        if key == "upgrade" and value.lower() != "websocket":
            problems.append(f"request: Upgrade: {value}")
        if key == "expect" and value.lower() != "100-continue":
            problems.append(f"request: Expect: {value}")
        if key == "connection" and not {v.strip().lower() for v in value.split(",")} <= {
            "close",
            "keep-alive",
            "upgrade",
        }:
            problems.append(f"request: Connection: {value}")


def _check_connection(problems, connection):
    """The connection as a whole: strictly read, and as h11 reads it."""
    reader = connection.reader
    if reader.problem:
        problems.append(f"the server got {reader.problem}")
        return
    if reader.rest:
        problems.append(f"the server got part of a head: {reader.rest[:60]!r}")
    ours = [[m.method, m.target, bytes(m.body), m.whole] for m in reader.messages]
    try:
        theirs, tunnel = read_with_h11(connection.received, connection.switched)
    except (h11.RemoteProtocolError, Loose) as error:
        problems.append(f"h11 about what the server got: {error}")
        return
    if ours != theirs:
        problems.append(f"h11 reads {[t[:2] for t in theirs]}, not {[o[:2] for o in ours]}")
    if tunnel != bytes(reader.tunnel):
        problems.append(f"h11 reads {tunnel[:60]!r} after the switch")
    secrets = (b"alice-cookie", b"alice-token")
    problems.extend(
        f"{secret!r} is told to the server" for secret in secrets if secret in connection.received
    )


def show(messages):
    return [f"{m.status}{'' if m.whole else ' (cut)'}" for m in messages]
