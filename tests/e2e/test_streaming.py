"""200 MB up and down through the hub, whose memory stays flat."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.e2e.kit import person

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

SIZE = 200 << 20
PIECE = bytes(range(256)) * 4096
FLAT_MIB = 24
"""Less than this may the hub grow; one body held in memory would be 200."""


HEAD, TAIL = b'{"type":"file","format":"text","content":"', b'"}'
TEXT_PIECE = b"0123456789abcdef" * 65536
COUNT = SIZE // len(TEXT_PIECE)


async def body():
    yield HEAD
    for _ in range(COUNT):
        yield TEXT_PIECE
    yield TAIL


async def watch(hub, peak):
    while True:
        peak.append(hub.pss_mib())
        await asyncio.sleep(0.1)


async def test_big_bodies_stream_both_ways(hub, passwords):
    file, up = Path("/home/alice/big.bin"), Path("/home/alice/up.txt")
    async with person(hub, "alice", passwords["alice"]) as alice:
        await alice.start_and_wait(time_hours="0.5", memory_mb="4000")
        await alice.get("/user/alice/api/status")
        before = hub.pss_mib()
        peak = [before]
        watcher = asyncio.get_running_loop().create_task(watch(hub, peak))
        try:
            file.unlink(missing_ok=True)
            with file.open("wb") as out:
                for _ in range(SIZE // len(PIECE)):
                    out.write(PIECE)
            file.chmod(0o644)
            digest = hashlib.sha256()
            got = 0
            async with alice.client.get(f"{alice.server_url}/files/big.bin") as answer:
                assert answer.status == 200
                async for chunk in answer.content.iter_chunked(1 << 16):
                    digest.update(chunk)
                    got += len(chunk)
            assert got == SIZE
            assert digest.digest() == hashlib.sha256(file.read_bytes()).digest()
            # Up, as Lab's file browser does it.
            sizes = len(HEAD) + COUNT * len(TEXT_PIECE) + len(TAIL)
            async with alice.client.put(
                f"{alice.server_url}/api/contents/up.txt",
                data=body(),
                headers={"Content-Length": str(sizes), "Content-Type": "application/json"},
            ) as answer:
                assert answer.status == 201, await answer.text()
            assert up.stat().st_size == COUNT * len(TEXT_PIECE)
        finally:
            watcher.cancel()
            file.unlink(missing_ok=True)
            up.unlink(missing_ok=True)
        assert max(peak) - before < FLAT_MIB, f"{before:.0f} MB before, {max(peak):.0f} at most"
