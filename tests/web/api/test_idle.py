"""What the API says of use and of the stops that come of it."""

from __future__ import annotations

from minihub.servers.model import State, StopCause, StopClock
from tests.web.fakes import NOW, make_attempt

CLOCK = StopClock(StopCause.IDLE, 7200, NOW + 60, NOW + 660, NOW - 6540, True, 2, 3600)


async def test_a_server_shows_its_clock(api):
    api.put(clock=CLOCK, postpones=1, postponed_until=NOW - 60)
    server = (await api.program("self").ask("GET", "/users/ada/server")).body
    assert server["idle"] == {
        "idle_since": "2027-01-15T06:11:00Z",
        "stops_at": "2027-01-15T08:11:00Z",
        "why": "idle",
        "limit_s": 7200,
        "warning": True,
        "postponed": 1,
        "postponed_until": "2027-01-15T07:59:00Z",
        "postpones_left": 2,
    }
    assert server["stop_cause"] is None


async def test_nothing_stops_a_server_where_nothing_is_set(api):
    api.put()
    assert (await api.program("self").ask("GET", "/users/ada/server")).body["idle"] is None


async def test_why_it_was_stopped(api):
    api.world.servers.attempts["ada"] = make_attempt(State.STOPPED, stop_cause=StopCause.AGE)
    server = (await api.program("self").ask("GET", "/users/ada/server")).body
    assert (server["stop_cause"], server["idle"]) == ("age", None)


async def test_the_last_use_of_the_server_is_activity_of_its_user(api):
    api.put(last_activity=NOW + 5)
    user = (await api.program("self").ask("GET", "/users/ada")).body
    assert user["last_activity"] == user["servers"][""]["last_activity"] == "2027-01-15T08:00:05Z"
