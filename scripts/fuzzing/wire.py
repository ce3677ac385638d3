"""What scripts/fuzz runs: the checks of tests/proxy/test_wire_properties.py, with bytes that atheris makes.

The first byte says whether a browser or an upstream sends, and to which methods it answers; the second how often the
stream is cut; then come the places, two bytes each, and the stream. With a file as argument only that input is tried.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["minihub.proxy"]):
    from minihub.proxy import fields, framing, lines, memo, wire

from tests.proxy.wire_oracles import check_answers, check_requests

METHODS = [["GET"], ["HEAD", "GET"], ["POST", "GET", "GET"], ["GET", "HEAD", "HEAD", "GET"]]

BROWSER = b"""GET /user/ada/api/contents?content=1 HTTP/1.1
Host: hub.example.org
Connection: keep-alive
Accept: */*
Cookie: _xsrf=2|a; b=c

"""
REQUESTS = [
    BROWSER * 3,
    b"POST / HTTP/1.1\nHost: h\nContent-Length: 5\nExpect: 100-continue\n\nhello" + BROWSER,
    b"POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n5\nhello\nA;x=y\n0123456789\n0\nA: b\n\n"
    + BROWSER,
    b"\nGET http://other:80/x?y HTTP/1.1\nHost: [::1]:8000\nConnection: Upgrade, close\nUpgrade: websocket\n\n",
    b"OPTIONS * HTTP/1.1\nHost: h\n\nGET / HTTP/1.0\n\n",
    b"PUT / HTTP/1.1\nHost: h\nContent-Length: 5\nTransfer-Encoding: gzip, chunked\n\n0\n\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\nServer: x\nContent-Length: 5\n\nhelloHTTP/1.1 304 Not Modified\nContent-Length: 5\n\n",
    b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5;a\nhello\n0\n\nHTTP/1.1 204 x\n\n",
    b"HTTP/1.0 200 OK\nConnection: close\n\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\nframes",
]
WORDS = [
    "\\x0d\\x0a", "\\x0d\\x0a\\x0d\\x0a", "Content-Length: ", "Transfer-Encoding: ", "chunked", "Host: ", "Connection: ", "close",
    "Upgrade", "Expect: 100-continue", " HTTP/1.1\\x0d\\x0a", " HTTP/1.0\\x0d\\x0a", "HTTP/1.1 200", "HTTP/1.1 100", "http://", "OPTIONS *",
    "0\\x0d\\x0a\\x0d\\x0a", "GET / HTTP/1.1\\x0d\\x0aHost: h\\x0d\\x0a\\x0d\\x0a",
]  # fmt: skip


def try_one(data: bytes) -> None:
    """Check one input."""
    if len(data) < 2:
        return
    kind, cuts = data[0] % 8, data[1] % 8
    places = [int.from_bytes(data[2 + 2 * n : 4 + 2 * n], "big") for n in range(cuts)]
    stream = data[2 + 2 * cuts :]
    if kind < 4:
        check_requests(stream, places)
    else:
        check_answers(METHODS[kind - 4], stream, places)


def write_seeds(folder: Path) -> None:
    """Write what the fuzzer begins with."""
    seeds = [(0, text) for text in REQUESTS] + [(4 + n, text) for text in ANSWERS for n in range(4)]
    for number, (kind, text) in enumerate(seeds):
        stream = text.replace(b"\n", b"\r\n")
        (folder / "seeds" / str(number)).write_bytes(bytes([kind, 2, 0, 20, 0, 61]) + stream)
    (folder / "words.dict").write_text("".join(f'"{word}"\n' for word in WORDS))


def main(argument: str) -> None:
    """Fuzz for so many seconds, or try one file."""
    assert fields
    assert framing
    assert wire
    assert lines
    assert memo
    if not argument.isdigit():
        try_one(Path(argument).read_bytes())
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        (folder / "seeds").mkdir()
        write_seeds(folder)
        atheris.Setup(
            [
                sys.argv[0], f"-max_total_time={argument}", f"-dict={folder / 'words.dict'}", "-max_len=2048",
                "-artifact_prefix=build/fuzz/", "-print_final_stats=1", "-timeout=20", str(folder / "corpus"), str(folder / "seeds"),
            ],
            try_one,
        )  # fmt: skip
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1])
