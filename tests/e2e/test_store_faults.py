"""The hub's store fails while people work: nothing new is begun, whatever runs goes on, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import pwd
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import PATIENCE_S, Hub, Person, jobs, person, slurm, text_of, visitor, xsrf_of

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

HALF_AN_HOUR = {"time_hours": "0.5"}


@pytest.fixture(scope="module")
def hub(make_hub) -> Iterator[Hub]:
    """A hub whose state directory is a small file system of its own."""
    with make_hub(slurm={"listing_quiet_s": 1}) as hub:
        state = Path(hub.settings["hub"]["state_dir"])
        owner = pwd.getpwnam("minihub")
        state.mkdir()
        options = f"size=8m,mode=700,uid={owner.pw_uid},gid={owner.pw_gid}"
        slurm("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(state))
        try:
            yield hub.start()
        finally:
            hub.end()
            slurm("umount", "--lazy", str(state))


@contextlib.contextmanager
def full(hub: Hub) -> Iterator[None]:
    filler = hub.store.with_name("filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            # In small pieces, so that nothing is left.
            file.write(bytes(1024))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def locked(hub: Hub) -> Iterator[None]:
    other = sqlite3.connect(hub.store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextlib.contextmanager
def moved(hub: Hub) -> Iterator[None]:
    aside = hub.store.with_name("moved")
    hub.store.rename(aside)
    try:
        yield
    finally:
        aside.rename(hub.store)


@contextlib.contextmanager
def damaged(hub: Hub) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(hub.store)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    good = hub.store.read_bytes()
    with hub.store.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(good) - 4096))
        try:
            yield
        finally:
            file.seek(0)
            file.write(good)


async def refused(one: Person, path: str, form: dict[str, str]) -> str:
    """Send a form whose wish needs the store; return what the page says."""
    async with one.client.post(one.hub.url + path, data=form, allow_redirects=False) as answer:
        page = text_of(await answer.text())
        assert answer.status == 503, f"{path}: {answer.status} {page}"
        return page


async def figure(hub: Hub, token: str, name: str) -> float:
    async with visitor(hub) as monitor:
        headers = {"Authorization": f"token {token}"}
        status, text = await monitor.get("/hub/metrics", headers=headers)
        assert status == 200, text
    return float(next(line for line in text.splitlines() if line.startswith(f"minihub_{name} ")).split()[1])


async def test_nothing_new_is_begun_all_else_goes_on_and_nothing_is_lost(hub, passwords):
    token = hub.token("carol", "read:metrics")
    async with (
        person(hub, "alice", passwords["alice"]) as alice,
        person(hub, "bob", passwords["bob"]) as bob,
        visitor(hub, "carol") as carol,
    ):
        running, _ = await asyncio.gather(alice.start_and_wait(**HALF_AN_HOUR), bob.get("/hub/spawn"))
        kernel = await alice.new_kernel()
        await alice.run_cell("kept = 6 * 7", kernel)
        start = {"_xsrf": await bob.xsrf(), **HALF_AN_HOUR}
        login = {
            "_xsrf": xsrf_of((await carol.get("/hub/login"))[1]),
            "username": "carol",
            "password": passwords["carol"],
        }
        for fault, words, wishes in (
            (full, "the disk is full", [(bob, "/hub/spawn", start), (carol, "/hub/login", login)]),
            (locked, "the store is locked by another program", [(bob, "/hub/spawn", start)]),
            (moved, "the store's file was moved, removed or replaced", [(carol, "/hub/login", login)]),
            (damaged, "the store is damaged", [(bob, "/hub/spawn", start), (carol, "/hub/login", login)]),
        ):
            with fault(hub):
                for page in await asyncio.gather(*(refused(*wish) for wish in wishes)):
                    assert words in page.replace("&#39;", "'")
                    assert "Nothing was changed; try again later." in page
                assert (await alice.run_cell("print(kept)", kernel)).strip() == "42"
                status, page = await alice.get("/hub/home")
                assert status == 200
                assert "Your server is running" in page
                assert jobs(hub, "bob") == []
        assert await figure(hub, token, "store_failures_total") >= 4

        # As soon as the store works, so does the hub; and what was acknowledged before a fault is there after it.
        await bob.start(**HALF_AN_HOUR)
        await bob.wait_state("starting", "ready")
        with full(hub):
            await bob.post("/hub/stop")
            # It cannot be written down, and is carried out all the same.
            await bob.wait_state("stopped")
            assert jobs(hub, "bob") == []
            # Bob's; and alice's, if her last use is due to be written down just now, as it is every ten minutes.
            assert await figure(hub, token, "store_unsaved_servers") in (1, 2)
            status, _, page = await bob.post("/hub/logout")
            assert status == 200
            assert "You are logged out" in page
            assert 'id="unwritten"' in page
            hub.kill()
        hub.start()
        assert (await alice.server())["job"]["id"] == running["job"]["id"]
        await alice.wait_state("ready")
        assert (await alice.run_cell("print(kept)", kernel)).strip() == "42"
        # Bob's browser has thrown its cookie away; that his job is gone the hub sees for itself.
        assert (await bob.get("/hub/home", allow_redirects=False))[0] in (302, 303)
        await bob.log_in(passwords["bob"])
        async with asyncio.timeout(PATIENCE_S):
            while not (await bob.server())["stopped"]:
                await asyncio.sleep(0.1)
        assert await figure(hub, token, "store_unsaved_servers") == 0


async def test_serve_leaves_a_newer_or_damaged_store_alone(hub):
    hub.end()
    store = hub.store
    good = store.with_name("good")
    shutil.copy2(store, good)

    def newer() -> None:
        with contextlib.closing(sqlite3.connect(store)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def scribbled() -> None:
        with store.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 8192)

    def no_database() -> None:
        store.write_bytes(b"This is a letter to my aunt.\n" * 1000)

    for damage, words in (
        (newer, "made by a newer minihub"),
        (scribbled, "damaged"),
        (no_database, "not an SQLite file"),
    ):
        damage()
        before = {file.name: file.read_bytes() for file in store.parent.iterdir() if file.name != "lock"}
        done = subprocess.run(
            hub.argv("serve"), capture_output=True, text=True, env=hub.environment(), timeout=60, check=False
        )
        assert done.returncode == 1, damage
        assert words in done.stderr.splitlines()[-1], done.stderr
        assert "Traceback" not in done.stderr
        after = {file.name: file.read_bytes() for file in store.parent.iterdir() if file.name != "lock"}
        assert after == before, damage
        shutil.copy2(good, store)
        shutil.chown(store, "minihub", "minihub")
    hub.start()
