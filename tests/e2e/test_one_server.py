"""One server per user, and nobody else's."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from yarl import URL

from tests.e2e.kit import PATIENCE_S, execute_request, jobs, person, text_of, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

CLICK = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


async def test_two_tabs_a_double_click_and_a_script_start_one_job(hub, passwords):
    token = hub.token("alice", "self")
    async with person(hub, "alice", passwords["alice"]) as alice, visitor(hub, "alice") as script:
        form = {"_xsrf": await alice.xsrf(), "time_hours": "0.5"}

        async def submit():
            async with alice.client.post(f"{hub.url}/hub/spawn", data=form, allow_redirects=False) as answer:
                return answer.status

        async def ask():
            url = f"{hub.url}/hub/api/users/alice/server"
            headers = {"Authorization": f"token {token}"}
            async with script.client.post(url, json={"cores": 2}, headers=headers) as answer:
                return answer.status

        statuses = await asyncio.gather(submit(), submit(), ask(), submit(), ask())
        assert statuses[:2] + statuses[3:4] == [303, 303, 303]
        assert set(statuses[2::2]) <= {202, 400}
        server = await alice.wait_state("ready")
        assert [job.id for job in jobs(hub, "alice")] == [server["job"]["id"]]
        # A second tab is led to the one that exists.
        status, page = await alice.get("/hub/spawn", allow_redirects=False)
        assert status in (302, 303), text_of(page)
        # A script is told that it runs already.
        assert await ask() == 400
        assert len(jobs(hub, "alice")) == 1


async def test_only_the_owner_gets_in(hub, passwords):
    async with (
        person(hub, "alice", passwords["alice"]) as alice,
        person(hub, "bob", passwords["bob"]) as bob,
        person(hub, "carol", passwords["carol"]) as carol,
    ):
        await alice.start_and_wait(time_hours="0.5")
        kernel = await alice.new_kernel()
        channels = f"{hub.url}/user/alice/api/kernels/{kernel}/channels"
        # Carol is an admin: her cookie opens no one's server either.
        for other in (bob, carol):
            for path in ("/user/alice/lab", "/user/alice/api/contents", "/user/alice/files/notes.txt"):
                assert (await other.get(path))[0] == 403, f"{other.name} {path}"
            assert (await other.get("/hub/spawn-pending/alice"))[0] == 404
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await other.client.ws_connect(channels)
            assert refused.value.status == 403
        async with visitor(hub) as nobody:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await nobody.client.ws_connect(channels)
            assert refused.value.status == 403
        # Her own cookie from another site's page does not either: that is what such a page would send.
        for origin in ("https://evil.example", "null", hub.url.replace("https", "http")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await alice.client.ws_connect(channels, origin=origin)
            assert refused.value.status == 403, origin
            async with alice.client.post(
                f"{alice.server_url}/api/kernels", json={}, headers={"Origin": origin}
            ) as answer:
                assert answer.status == 403, origin
        assert (await alice.run_cell("print(6*7)", kernel)).strip() == "42"


async def test_logout_closes_what_is_open_at_once(held_hub, passwords, holds):
    """While the job still runs: it is the hub that closes, not the end of Jupyter."""
    hub = held_hub
    async with person(hub, "bob", passwords["bob"]) as bob:
        await bob.start_and_wait(time_hours="0.5")
        kernel = await bob.new_kernel()
        jar = bob.client.cookie_jar.filter_cookies(URL(hub.url))
        kept = "; ".join(f"{name}={cookie.value}" for name, cookie in jar.items())
        assert (await bob.get("/hub/api/user", headers={"Cookie": kept}))[0] == 200
        async with bob.client.ws_connect(f"{bob.server_url}/api/kernels/{kernel}/channels") as socket:
            await socket.send_str(json.dumps(execute_request("print(6*7)")))
            await socket.receive(timeout=30)
            for user in ("bob", "minihub"):
                holds.hold("scancel", user)
            status, text = await bob.get("/user/bob/logout", headers=CLICK)
            assert status == 200, text_of(text)
            assert "You are logged out" in text
            async with asyncio.timeout(PATIENCE_S):
                while not socket.closed:
                    await socket.receive()
            assert len(jobs(hub, "bob")) == 1
        # Whoever has kept the cookie gets in nowhere.
        for path, headers in (
            ("/user/bob/api/status", {"Accept": "*/*"}),
            ("/hub/api/user", {"Accept": "application/json"}),
        ):
            status, _ = await bob.get(path, headers={**headers, "Cookie": kept})
            assert status in (401, 403), path
        # The job goes with it, although nobody looks any more.
        holds.release_all()
        await until(lambda: not jobs(hub, "bob"), "the job is gone")


async def test_another_sites_link_logs_nobody_out(hub, passwords):
    async with person(hub, "carol", passwords["carol"]) as carol:
        for path in ("/user/carol/logout", "/hub/logout"):
            headers = {**CLICK, "Sec-Fetch-Site": "cross-site"}
            status, text = await carol.get(path, headers=headers)
            assert status == 200, path
            assert "Log out?" in text
        assert (await carol.get("/hub/home", allow_redirects=False))[0] == 200
