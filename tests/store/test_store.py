"""Opening, closing, and what must survive: real files, real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from minihub.errors import ConfigError, HubError, StoreError
from minihub.store.keys import StoreLock
from minihub.store.store import Store

ROOT = Path(__file__).resolve().parents[2]

_PREAMBLE = """
import asyncio, os, sys
from pathlib import Path
from minihub.clock import SystemClock
from minihub.errors import HubError
from minihub.store.rows import AttemptRow
from minihub.store.store import Store

def row(number, user=None, data="{}"):
    name = f"{number:012x}"
    return AttemptRow(name, user or f"u{number}", f"t-{name}", "submitting", True, 1.0, 1.0, None, None, data, '{"token": "x"}')
"""


def start(body: str, *args: object, unshare: bool = False, **options) -> subprocess.Popen[str]:
    """Start a Python of its own that runs `body`."""
    argv = [sys.executable, "-W", "error", "-c", _PREAMBLE + textwrap.dedent(body), *map(str, args)]
    if unshare:
        argv = ["unshare", "-m" if os.geteuid() == 0 else "-rm", *argv]
    return subprocess.Popen(
        argv,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(body: str, *args: object, unshare: bool = False) -> str:
    """Run `body` to its end and return what it printed."""
    process = start(body, *args, unshare=unshare)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


async def test_what_is_written_is_there_after_a_restart(state_dir, clock, attempt):
    first = await Store.open(state_dir, clock)
    await first.attempts.save(attempt())
    hub_id, derived = first.hub_id, first.keys.derive("csrf")
    await first.close()
    again = await Store.open(state_dir, clock)

    assert await again.attempts.get(attempt().id) == attempt()
    assert (again.hub_id, again.keys.derive("csrf")) == (hub_id, derived)
    await again.close()


async def test_nothing_in_the_state_directory_is_for_others(store, state_dir, attempt):
    await store.attempts.save(attempt())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state_dir.iterdir()}
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(
        ("minihub.sqlite", "minihub.sqlite-wal", "minihub.sqlite-shm", "store.key", "hub_id", "lock"), 384
    )


async def test_secrets_are_not_readable_on_the_disk(state_dir, clock, attempt):
    opened = await Store.open(state_dir, clock)
    await opened.attempts.save(attempt())
    wal = b"".join(path.read_bytes() for path in state_dir.iterdir())
    await opened.close()

    everything = wal + b"".join(path.read_bytes() for path in state_dir.iterdir())
    assert b"mh-0a0b0c0d" in everything
    assert b"geheim" not in everything


def test_every_saved_attempt_survives_kill_9(state_dir):
    process = start(
        """
        async def main():
            store = await Store.open(Path(sys.argv[1]), SystemClock())
            async def worker(start):
                for number in range(start, 10**6, 8):
                    await store.attempts.save(row(number))
                    os.write(1, f"{number}\\n".encode())
            await asyncio.gather(*(worker(start) for start in range(8)))
        asyncio.run(main())
        """,
        state_dir,
    )
    told = [process.stdout.readline() for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    numbers = {int(line) for line in (*told, *out.splitlines(keepends=True)) if line.endswith("\n")}
    assert len(numbers) >= 200

    found = run(
        """
        async def main():
            store = await Store.open(Path(sys.argv[1]), SystemClock())
            print(*(int(row.id, 16) for row in await store.attempts.live() if "token" in row.secrets))
            await store.close()
        asyncio.run(main())
        """,
        state_dir,
    )
    assert numbers <= {int(number) for number in found.split()}


def test_commits_are_synced_to_the_disk(state_dir):
    """Kill -9 does not show a missing fsync (a power cut would): so see that it is asked for."""
    out = run(
        """
        from minihub.store.database import open_engine
        async def main():
            store = await Store.open(Path(sys.argv[1]), SystemClock())
            def pragmas(connection):
                names = "journal_mode", "synchronous", "foreign_keys", "busy_timeout"
                return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]
            print(await store._database.read(pragmas), await store._database.write(pragmas))
            await store.close()
        asyncio.run(main())
        """,
        state_dir,
    )
    assert out.strip() == "['wal', 2, 1, 5000] ['wal', 2, 1, 5000]"


async def test_a_second_hub_on_the_same_store_is_refused_with_the_first_ones_pid(store, state_dir):
    out = run(
        """
        async def main():
            try:
                await Store.open(Path(sys.argv[1]), SystemClock())
            except HubError as error:
                print(type(error).__name__, error)
        asyncio.run(main())
        """,
        state_dir,
    )
    assert out.startswith("ConfigError")
    assert f"pid {os.getpid()}" in out


async def test_a_second_open_in_the_same_process_is_refused_and_leaves_the_first_locked(
    store, state_dir, clock
):
    with pytest.raises(ConfigError, match=f"pid {os.getpid()}"):
        await Store.open(state_dir, clock)

    with pytest.raises(ConfigError, match="another hub"):
        StoreLock(state_dir).acquire()
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    other = subprocess.run([sys.executable, "-c", code, state_dir / "lock"], capture_output=True, check=False)
    assert other.returncode == 1
    assert b"BlockingIOError" in other.stderr


async def test_the_lock_is_free_again_after_close_and_after_a_failed_start(state_dir, clock):
    for _ in range(2):
        opened = await Store.open(state_dir, clock)
        await opened.close()
    (state_dir / "hub_id").write_text("not an id")
    for _ in range(2):
        with pytest.raises(ConfigError, match="not a hub id"):
            await Store.open(state_dir, clock)


def test_a_forked_helper_does_not_hold_the_store_of_a_dead_hub(state_dir):
    process = start(
        """
        import time
        async def main():
            await Store.open(Path(sys.argv[1]), SystemClock())
            if os.fork() == 0:
                time.sleep(60)
            print(os.getpid(), flush=True)
            os.kill(os.getpid(), 9)
        asyncio.run(main())
        """,
        state_dir,
        start_new_session=True,
    )
    try:
        process.wait(timeout=30)
        run(
            "async def main(): await (await Store.open(Path(sys.argv[1]), SystemClock())).close()\n"
            "asyncio.run(main())",
            state_dir,
        )
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


async def test_a_command_beside_the_hub_reads_and_writes_the_same_store(store, state_dir, clock):
    beside = await asyncio.to_thread(
        run,
        """
        async def main():
            store = await Store.open(Path(sys.argv[1]), SystemClock(), exclusive=False)
            await store.users.admit("bob", 5.0)
            await store.close()
            print(store.hub_id)
        asyncio.run(main())
        """,
        state_dir,
    )
    assert beside.strip() == store.hub_id
    assert (await store.users.get("bob")) is not None


async def test_a_damaged_store_is_refused_and_not_changed(state_dir, clock, attempt):
    opened = await Store.open(state_dir, clock)
    for number in range(300):
        await opened.attempts.save(attempt(number, f"u{number}"))
    await opened.close()
    path = state_dir / "minihub.sqlite"
    whole = path.read_bytes()
    damaged = {
        "a page overwritten": whole[:-40960] + b"\xff" * 4096 + whole[-36864:],
        "cut off": whole[: len(whole) // 2],
        "another file": b"This is not a database. " * 400,
    }
    for what, content in damaged.items():
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"damaged.*restore") as caught:
            await Store.open(state_dir, clock)
        assert str(path) in caught.value.detail, what
        assert path.read_bytes() == content, what


async def test_a_store_encrypted_with_another_key_is_refused(state_dir, clock, tmp_path):
    await (await Store.open(state_dir, clock)).close()
    await (await Store.open(tmp_path / "other", clock)).close()
    (state_dir / "store.key").write_bytes((tmp_path / "other" / "store.key").read_bytes())

    with pytest.raises(ConfigError, match="not the key"):
        await Store.open(state_dir, clock)


async def test_a_locked_store_is_said_to_be_locked(store, state_dir, monkeypatch):
    other = sqlite3.connect(state_dir / "minihub.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def impatient(connection):
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")

    for _ in range(3):
        await store._database.read(impatient)
    with pytest.raises(StoreError, match="locked by another program"):
        await store.users.seen("ada", 1.0, admin=False)
    other.execute("ROLLBACK")
    other.close()
    await store.users.seen("ada", 1.0, admin=False)


def test_a_full_disk_is_named_and_loses_nothing(tmp_path):
    """A file system of 1 MB, in a mount namespace of its own: filled up, then emptied."""
    out = run(
        """
        import subprocess
        disk = Path(sys.argv[1])
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", disk], check=True)
        async def main():
            store = await Store.open(disk / "state", SystemClock())
            saved = []
            try:
                for number in range(1000):
                    await store.attempts.save(row(number, data="x" * 8000))
                    saved.append(number)
            except HubError as error:
                print(type(error).__name__, error)
            assert len(saved) > 10
            assert {int(r.id, 16) for r in await store.attempts.live()} == set(saved)
            await store.close()
            subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
            store = await Store.open(disk / "state", SystemClock())
            await store.attempts.save(row(2000))
            assert {int(r.id, 16) for r in await store.attempts.live()} == {*saved, 2000}
            await store.close()
        asyncio.run(main())
        """,
        tmp_path,
        unshare=True,
    )
    assert out.startswith("StoreError")
    assert "the disk is full" in out


@pytest.mark.parametrize("writable", [True, False])
def test_a_directory_that_cannot_be_written_is_named(writable):
    """As a user for whom modes hold, which they do not for root."""
    with tempfile.TemporaryDirectory() as base:
        state = Path(base, "state")
        state.mkdir(mode=0o700)
        if os.geteuid() == 0:
            Path(base).chmod(0o755)
            os.chown(state, 65534, 65534)
        if not writable:
            state.chmod(0o500)
        out = run(
            """
            if os.geteuid() == 0:
                os.setuid(65534)
            async def main():
                try:
                    await (await Store.open(Path(sys.argv[1]), SystemClock())).close()
                    print("opened")
                except HubError as error:
                    print(type(error).__name__, error)
            asyncio.run(main())
            """,
            state,
        )
        state.chmod(0o700)
    assert out.startswith(
        "opened" if writable else f"ConfigError {state}: cannot be written: Permission denied"
    )


async def test_a_closed_store_says_so(state_dir, clock, attempt):
    opened = await Store.open(state_dir, clock)
    await opened.close()

    with pytest.raises(StoreError, match="closed"):
        await opened.attempts.save(attempt())
    with pytest.raises(HubError, match="closed"):
        await opened.attempts.live()


def test_opening_a_store_that_is_up_to_date_does_not_import_alembic(state_dir):
    body = """
        async def main():
            await (await Store.open(Path(sys.argv[1]), SystemClock())).close()
            print("alembic" in sys.modules)
        asyncio.run(main())
        """
    assert [run(body, state_dir), run(body, state_dir)] == ["False\n", "False\n"]
