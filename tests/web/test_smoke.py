async def test_x(browser):
    r = await browser.get("/hub/login")
    print(await r.text())
    assert r.status == 200
    browser.log_in()
    for p in (
        "/hub/home",
        "/hub/spawn",
        "/hub/token",
        "/hub/history",
        "/hub/logout",
        "/nothing",
        "/hub/user/ada/lab/x?y=1",
        "/user/ada/lab",
    ):
        r = await browser.get(p)
        print(p, r.status, r.headers.get("Location"))
        t = await r.text()
        assert r.status < 500
        if r.status == 200:
            print(len(t))
