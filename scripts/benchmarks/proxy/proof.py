"""Before anything is measured: does the load tool see lies, and does our proxy ask for the cookie?

A proxy that answers errors must not look fast, and one that lets everybody in must not be compared.
"""

from __future__ import annotations

import dataclasses
import http.client
from collections.abc import Sequence
from typing import Any

from .backend import LIES, SEEN
from .cases import Case
from .content import HUB_PATH
from .heads import SMALL_PATH
from .run import run_load
from .stage import BARE, DIRECT, NODE_TLS, OURS, PLAIN, TLS, Stage, Standing

_SECONDS = 0.05
_WARM_S = 1.0

_LIES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"kind": "exchange", "path": f"{LIES}status"}, "status 500"),
    ({"kind": "exchange", "path": f"{LIES}body"}, "wrong body"),
    ({"kind": "exchange", "path": f"{LIES}long"}, "wrong length"),
    ({"kind": "exchange", "path": f"{LIES}half"}, "hung up: end"),
    ({"kind": "exchange", "path": f"{LIES}none"}, "hung up: end"),
    ({"kind": "connect", "path": f"{LIES}status"}, "status 500"),
    ({"kind": "connect", "path": f"{LIES}body"}, "wrong body"),
    ({"kind": "connect", "path": f"{LIES}half"}, "half an answer"),
    ({"kind": "connect", "path": f"{LIES}none"}, "hung up: end"),
    ({"kind": "download", "path": f"{LIES}short"}, "hung up: end"),
    ({"kind": "download", "path": f"{LIES}shifted"}, "wrong body"),
    ({"kind": "upload", "path": f"{LIES}status"}, "status 500"),
    ({"kind": "echo", "path": f"{LIES}status", "size": 100}, "status 500"),
    ({"kind": "echo", "path": f"{LIES}echo", "size": 100}, "wrong echo"),
)


class NotProven(Exception):
    """The numbers would mean nothing."""


def prove(stage: Stage, *, ours: bool) -> None:
    """Try the load tool on the backend's lies, and our proxy (`ours`) without and with the cookie.

    Raises:
        NotProven: One was not noticed.
    """
    direct = stage.get(DIRECT)
    for load, expected in _LIES:
        found = run_load(stage, direct, {"connections": 1, **load}, _SECONDS)
        counts_bytes = load["kind"] in ("download", "upload")
        if (found["done"] and not counts_bytes) or set(found["errors"]) != {expected}:
            raise NotProven(f"{load}: {expected} was not noticed: {found}")
    if not ours:
        return
    for variant in (PLAIN, TLS, NODE_TLS):
        standing = stage.get(OURS, variant)
        site = standing.site
        name = site.cookie.partition("=")[0]
        for cookie in ("nothing=1", f"{name}={'x' * 43}"):
            nobody = dataclasses.replace(standing, site=dataclasses.replace(site, cookie=cookie))
            found = run_load(stage, nobody, {"kind": "exchange", "connections": 1}, _SECONDS)
            if found["done"] or set(found["errors"]) != {"status 403"}:
                raise NotProven(f"{variant}: a stranger was not refused: {found}")
    _prove_passed_on(stage.get(OURS))


def prove_all_answer(stage: Stage, cases: Sequence[Case], targets: Sequence[str]) -> None:
    """Load everybody a little: nobody may make errors, and what compiles itself while it runs has done some of that.

    Raises:
        NotProven: Somebody did.
    """
    wanted = {(t, case.variant_of(t)) for case in cases for t in case.targets if t in targets}
    for target, variant in sorted(wanted):
        path = HUB_PATH if target == BARE else SMALL_PATH
        load = {"kind": "exchange", "connections": 16, "path": path}
        found = run_load(stage, stage.get(target, variant), load, _WARM_S)
        if found["errors"] or not found["done"]:
            raise NotProven(f"{target}, {variant}: {found}")


def _prove_passed_on(standing: Standing) -> None:
    """Our cookie stays here, the server's token goes on."""
    connection = http.client.HTTPConnection("127.0.0.1", standing.site.port, timeout=10)
    try:
        cookie = standing.site.cookie
        connection.request("GET", SEEN, headers={"Cookie": f"a=1; {cookie}; b=2", "Authorization": "token x"})
        answer = connection.getresponse()
        seen = answer.read().decode("latin-1").lower()
    finally:
        connection.close()
    secret = cookie.partition("=")[2].lower()
    if answer.status != 200 or secret in seen or "a=1" not in seen or "authorization: token 0000" not in seen:
        raise NotProven(f"what went on to the server is not as it should be ({answer.status})")
