"""RFC 9112, sections 2 to 5: where a request's head begins and ends, and what may stand in it.

What it leaves to RFC 9110 (values, limits) names that.
"""

from __future__ import annotations

import re

import pytest

from tests.proxy.conformance.kit import (
    CLOSED,
    EITHER,
    HOST,
    HUNG_UP,
    US,
    Answer,
    Case,
    Req,
    Torn,
    X,
    get,
    passes,
    post,
    refused,
)  # fmt: skip
from tests.proxy.conformance.run import check

LINE = f"GET {X} HTTP/1.1\r\n"


def line(text):
    """A request with this request line."""
    return f"{text}\r\n{US}\r\n"


def hosts(*lines, version="HTTP/1.1", target=X):
    """A request with these Host fields only."""
    return (
        f"GET {target} {version}\r\n{US.replace(HOST, '')}" + "".join(f"{one}\r\n" for one in lines) + "\r\n"
    )


def fields(count, size):
    """So many fields of so many bytes, line ends included."""
    return [f"X-{i:05}: {'v' * (size - 11)}" for i in range(count)]


# -- 2. Message: what a head's lines end with ----------------------------------------------------------------

MESSAGE = [
    passes("2.1", "a request", get()),
    passes("2.1", "a request, byte by byte", Torn(get())),
    passes("2.1", "a request with a body, byte by byte", Torn(post("Content-Length: 3", body="abc")),
           Req("POST", X, "abc")),
    passes("2.2", "one empty line before", "\r\n" + get()),
    passes("2.2", "two empty lines before", "\r\n\r\n" + get()),
    passes("2.2", "an empty line before, torn", Torn("\r\n" + get())),
    Case("2.2", "an empty line between requests", get() + "\r\n" + get(target=X + "2"),
         reaches=[Req("GET"), Req("GET", X + "2")], answers=[200, 200]),
    Case("2.2", "two empty lines after a body", post("Content-Length: 3", body="abc") + "\r\n\r\n" + get(),
         reaches=[Req("POST", X, "abc"), Req("GET")], answers=[200, 200]),
    refused("2.2", "three empty lines before", "\r\n\r\n\r\n" + get()),
    refused("2.2", "empty lines without end", "\r\n" * 2000),
    refused("2.2", "a bare LF before", "\n" + get()),
    refused("2.2", "a bare CR before", "\r" + get()),
    refused("2.2", "a line of blanks before", "  \r\n" + get()),
    refused("2.2", "only bare LFs", get().replace("\r\n", "\n")),
    refused("2.2", "a bare LF ends the request line", f"GET {X} HTTP/1.1\n{US}\r\n"),
    refused("2.2", "a bare LF ends a field line", f"{LINE}{US}A: 1\nB: 2\r\n\r\n"),
    refused("2.2", "a bare LF ends the last field line", f"{LINE}{US}A: 1\n\r\n"),
    refused("2.2", "a bare LF is the empty line", f"{LINE}{US}\n"),
    refused("2.2", "a bare LF, and the head does not end", f"{LINE}Host: hub.test\n"),
    refused("2.2", "a bare CR ends the request line", f"GET {X} HTTP/1.1\r{US}\r\n"),
    refused("2.2", "a bare CR ends a field line", f"{LINE}{US}A: 1\rB: 2\r\n\r\n"),
    refused("2.2", "a bare CR within a value", f"{LINE}{US}A: 1\r2\r\n\r\n"),
    refused("2.2", "CR CR LF", f"{LINE}{US}A: 1\r\r\n\r\n"),
    refused("2.2", "LF CR", f"{LINE}{US}A: 1\n\rB: 2\r\n\r\n"),
    refused("2.2", "blanks before the first field", f"{LINE} {US}\r\n"),
    refused("2.2", "a line of blanks instead of a field", f"{LINE}{US} \r\n\r\n"),
    refused("2.2", "no HTTP at all", "\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03\r\n\r\n"),
]  # fmt: skip

# -- 2.3 HTTP version ----------------------------------------------------------------------------------------

VERSION = [
    Case("2.3", "HTTP/1.0", get(version="HTTP/1.0"), reaches=[Req("GET")], answers=[200], then=HUNG_UP),
    refused("2.3", "HTTP/1.2", line(f"GET {X} HTTP/1.2"), 505),
    refused("2.3", "HTTP/0.9 by name", line(f"GET {X} HTTP/0.9"), 505),
    refused("2.3", "HTTP/2.0", line(f"GET {X} HTTP/2.0"), 505),
    refused("2.3", "HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    refused("2.3", "HTTP/3.1", line(f"GET {X} HTTP/3.1"), 505),
    *[refused("2.3", f"{version!r}", line(f"GET {X} {version}"))
      for version in ("HTTP/1.10", "HTTP/1.1x", "HTTP/01.1", "HTTP/1,1", "HTTP/1.", "HTTP/1", "HTTP/.1", "HTTP/11",
                      "HTTP/ 1.1", "HTTP/1.1.1", "HTTP/+1.1", "http/1.1", "Http/1.1", "HTTPS/1.1", "HTTP-1.1",
                      "ICY/1.1")],
]  # fmt: skip

# -- 3. Request line -----------------------------------------------------------------------------------------

REQUEST_LINE = [
    refused("3", "two blanks after the method", line(f"GET  {X} HTTP/1.1")),
    refused("3", "two blanks before the version", line(f"GET {X}  HTTP/1.1")),
    refused("3", "a blank before the method", line(f" GET {X} HTTP/1.1")),
    refused("3", "a blank at the end", line(f"GET {X} HTTP/1.1 ")),
    refused("3", "tabs for blanks", line(f"GET\t{X}\tHTTP/1.1")),
    refused("3", "a form feed for a blank", line(f"GET\x0c{X} HTTP/1.1")),
    refused("3", "no version", line(f"GET {X}")),
    refused("3", "HTTP/0.9's request", f"GET {X}\r\n\r\n"),
    refused("3", "no target", line("GET HTTP/1.1")),
    refused("3", "an empty target", line("GET  HTTP/1.1")),
    refused("3", "a method only", line("GET")),
    refused("3", "a field in its place", f"{US}\r\n"),
    refused("3.1", "no method", line(f"{X} HTTP/1.1")),
    *[refused("3.1", f"method {method!r}", line(f"{method} {X} HTTP/1.1"))
      for method in ("G(T", "GET:", "GE\x00T", "GE\xc9T", "G/T", '"GET"', "GET,PUT")],
    passes("3.1", "an unknown method", get(method="FROBNICATE"), Req("FROBNICATE")),
    passes("3.1", "a method of every token character", get(method="!#$%&'*+-.^_`|~09azAZ"),
           Req("!#$%&'*+-.^_`|~09azAZ")),
    passes("3.1", "methods are case-sensitive", get(method="get"), Req("get")),
    refused("3.2", "a blank in the target", line(f"GET {X}/a b HTTP/1.1")),
    refused("3.2", "a tab in the target", line(f"GET {X}/a\tb HTTP/1.1")),
    refused("3.2", "NUL in the target", line(f"GET {X}/a\x00b HTTP/1.1")),
    refused("3.2", "DEL in the target", line(f"GET {X}/a\x7fb HTTP/1.1")),
    refused("3.2", "UTF-8 in the target", line(f"GET {X}/\xc3\xa9 HTTP/1.1")),
    Case("3.2", "a fragment in the target", line(f"GET {X}#f HTTP/1.1"), answers=[400], then=EITHER),
    passes("3.2", "a target of 30,000 bytes", get(target=f"{X}?{'a' * 30_000}"), Req("GET", f"{X}?{'a' * 30_000}")),
    refused("3.2", "a target of 33,000 bytes", get(target=f"{X}?{'a' * 33_000}"), 414),
    refused("3.2", "a target without end", f"GET {X}?{'a' * 100_000}", {414, 431}),
    refused("3.2", "a method without end", "A" * 100_000, {400, 414, 431}),
]  # fmt: skip

# -- 3.2.1 to 3.2.4: the four forms of a target, and Host -----------------------------------------------------

_TARGETS = [f"{X}?a=b&c", "/user/alice/a%2fb;c=%C3%A9", "/user/alice/a//b/../c/%2e%2e/.", "/user/alice/?",
            "/user/alice/~!*'()$,@:[]",
            '/user/alice/x?a=/../?b=\\|{}^`"<>']  # fmt: skip

TARGET = [
    *[passes("3.2.1", f"as it stands: {target}", get(target=target), Req("GET", target)) for target in _TARGETS],
    refused("3.2.1", "no slash at its beginning", line("GET user/alice/x HTTP/1.1")),
    refused("3.2.1", "a query only", line("GET ?a HTTP/1.1")),
    passes("3.2.2", "absolute-form", get(target=f"http://hub.test{X}?a"),
           Req("GET", f"{X}?a", has={"host": "hub.test"})),
    passes("3.2.2", "absolute-form with a port", get(target=f"http://hub.test:8000{X}"),
           Req("GET", has={"host": "hub.test:8000"})),
    passes("3.2.2", "absolute-form, its scheme in capitals", get(target=f"HTTP://hub.test{X}"),
           Req("GET", has={"host": "hub.test"})),
    passes("3.2.2", "absolute-form wins over Host", hosts("Host: evil.test", target=f"http://hub.test{X}"),
           Req("GET", has={"host": "hub.test", "x-forwarded-host": "hub.test"})),
    Case("3.2.2", "absolute-form over Host where the origin is asked",
         f"POST http://other.test{X} HTTP/1.1\r\n{US}\r\n", answers=[403], then=EITHER),
    refused("3.2.2", "absolute-form without Host", hosts(target=f"http://hub.test{X}")),
    refused("3.2.2", "absolute-form with two Hosts", hosts("Host: hub.test", "Host: hub.test",
                                                           target=f"http://hub.test{X}")),
    *[refused("3.2.2", f"absolute-form {target}", line(f"GET {target} HTTP/1.1"))
      for target in (f"http://{X}", f"http:{X}", f"ftp://hub.test{X}", f"http://alice@hub.test{X}",
                     f"http://a:b@hub.test{X}",
                     f"http://hub.test:port{X}", f"http://hub.test\\{X}", f"javascript://hub.test{X}")],
    Case("3.2.3", "authority-form with CONNECT", line("CONNECT hub.test:443 HTTP/1.1"), answers=[405], then=EITHER),
    refused("3.2.3", "authority-form with GET", line("GET hub.test:443 HTTP/1.1")),
    Case("3.2.3", "CONNECT to a path", line(f"CONNECT {X} HTTP/1.1"), answers=[{400, 405}], then=EITHER),
    Case("3.2.4", "asterisk-form with OPTIONS", line("OPTIONS * HTTP/1.1"), answers=[400], then=EITHER),
    refused("3.2.4", "asterisk-form with GET", line("GET * HTTP/1.1")),
    refused("3.2", "no Host", hosts()),
    refused("3.2", "two Hosts", hosts("Host: hub.test", "Host: evil.test")),
    refused("3.2", "two equal Hosts", hosts("Host: hub.test", "Host: hub.test")),
    refused("3.2", "two Hosts with HTTP/1.0", hosts("Host: hub.test", "Host: evil.test", version="HTTP/1.0")),
    Case("3.2", "no Host with HTTP/1.0", hosts(version="HTTP/1.0"), reaches=[Req("GET")], answers=[200],
         then=HUNG_UP),
    *[passes("3.2", f"Host: {host}", hosts(f"Host: {host}"), Req("GET", has={"host": host, "x-forwarded-host": host}))
      for host in ("hub.test:8000", "192.0.2.1", "[2001:db8::1]:8000", "HUB.test", "a-b_c.test")],
    *[refused("3.2", f"Host: {host!r}", hosts(f"Host: {host}"))
      for host in ("hub.test, evil.test", "hub test", "hub.test/x", "alice@hub.test", "hub.test:port",
                   "http://hub.test", "hub.test?x", "hub.test#x", "[::1", "hub.test\\x", "hub\xe9.test",
                   "hub.test:80:80")],
]  # fmt: skip

# -- 5. Field syntax -----------------------------------------------------------------------------------------

FIELD = [
    *[passes("5.1", f"{sent!r}", f"{LINE}{US}{sent}\r\n\r\n", Req("GET", has={"a": kept}))
      for sent, kept in (("A: 1", "1"), ("A:1", "1"), ("A: \t 1 \t ", "1"), ("A:", ""), ("A:  ", ""),
                         ("A: 1 \t 2", "1 \t 2"),
                         ("A: b:c: d", "b:c: d"), ("a: \xe9\xff\x80", "\xe9\xff\x80"),
                         ('A: "q\\"", (c)', '"q\\"", (c)'))],
    passes("5.1", "names are case-insensitive", f"{LINE}{US.replace('Host', 'hOST')}\r\n",
           Req("GET", has={"host": "hub.test"})),
    passes("5.1", "a name of every token character", get("!#$%&'*+-.^`|~09azAZ: 1"),
           Req("GET", has={"!#$%&'*+-.^`|~09azaz": "1"})),
    passes("5.1", "lines of one name stay in order", get("A: 1", "B: 2", "A: 3"), Req("GET", has={"a": ["1", "3"]})),
    *[refused("5.1", f"{sent!r}", f"{LINE}{US}{sent}\r\n\r\n")
      for sent in ("A : 1", "A\t: 1", "A \t : 1", ": 1", " : 1", "A", "A 1", "A B: 1", "A(: 1", "A\x00: 1",
                   "A\x01: 1", '"A": 1', "A/B: 1", "A@: 1", "A[1]: 1", "A{}: 1", "A=1", "A;: 1", "A,B: 1", "\xe9: 1",
                   "A\x7f: 1", "A\\: 1", "\x0bA: 1")],
    refused("5.1", "a blank between Host and its colon", hosts("Host : hub.test")),
    refused("5.1", "the first line without a colon", f"{LINE}A\r\n{US}\r\n"),
    *[refused("9110, 5.5", f"{sent!r}", f"{LINE}{US}{sent}\r\n\r\n")
      for sent in ("A: 1\x002", "A: \x00", "A: 1\x012", "A: 1\x0b2", "A: \x0c1", "A: 1\x1b[0m", "A: 1\x7f")],
    refused("5.2", "a folded line", f"{LINE}{US}A: 1\r\n 2\r\n\r\n"),
    refused("5.2", "a line folded with a tab", f"{LINE}{US}A: 1\r\n\t2\r\n\r\n"),
    refused("5.2", "a fold that hides a field", f"{LINE}{US}A: 1\r\n Transfer-Encoding: chunked\r\n\r\n"),
    refused("5.2", "a folded Transfer-Encoding",
            f"POST {X} HTTP/1.1\r\n{US}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    refused("5.2", "a folded Host", hosts("Host:\r\n hub.test")),
    refused("5.2", "a fold of nothing", f"{LINE}{US}A: 1\r\n \r\n\r\n"),
    refused("5.2", "a fold after a bare LF", f"{LINE}{US}A: 1\n 2\r\n\r\n"),
    # The fields that let alice in are three.
    passes("9110, 5.4", "200 fields", get(*fields(197, 20)), Req("GET", has={"x-00196": re.compile("v*")})),
    refused("9110, 5.4", "201 fields", get(*fields(198, 20)), 431),
    passes("9110, 5.4", "a head of 63 KB", get(*fields(30, 2_140)),
           Req("GET", has={"x-00029": re.compile("v{2129}")})),
    passes("9110, 5.4", "one field of 60 KB", get(*fields(1, 61_440)), Req("GET", has={"x-00000": re.compile("v*")})),
    refused("9110, 5.4", "a head of 67 KB", get(*fields(31, 2_200)), 431),
    refused("9110, 5.4", "one field of 70 KB", get(*fields(1, 70_000)), 431),
    refused("9110, 5.4", "a field without end", f"{LINE}{US}A: {'v' * 100_000}", 431),
    refused("9110, 5.4", "fields without end", LINE + US + "".join(f"{one}\r\n" for one in fields(5_000, 20)), 431),
    Case("9110, 5.4", "a head of 1 MB", LINE + US + "A: " + "v" * 1_000_000, answers=[431], then=CLOSED),
    Case("9110, 5.4", "many fields after a good request", get() + get(*fields(198, 20)),
         reaches=[Req("GET")], answers=[200, 431], then=CLOSED),
    Case("5", "a bad field after a good request", get() + get("A : 1"), reaches=[Req("GET")], answers=[200, 400],
         then=CLOSED),
    Case("5", "nothing is looked at after a bad request", get("A : 1") + get(), answers=[Answer(400)], then=CLOSED),
]  # fmt: skip


@pytest.mark.parametrize("case", [*MESSAGE, *VERSION, *REQUEST_LINE, *TARGET, *FIELD], ids=str)
async def test_messages(case):
    await check(case)
