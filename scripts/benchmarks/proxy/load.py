"""The load tool: one load against one address, `python -m benchmarks.proxy.load SPEC`; prints its counts as JSON.

SPEC is JSON: kind, port, cookie, ca (file of the proxy's certificate; "" = no TLS), pids (whose CPU is counted), seconds, warm_s,
and what the kind needs besides: connections, heads, path, size.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import ssl
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from .bulk import DOWN_PATH, PACED_PATH, UP_PATH, Download, Upload
from .connects import Connects
from .cpu import times
from .crowd import Crowd, Member
from .exchanges import Exchange, TimedExchange
from .heads import SMALL_PATH, Site
from .processes import apply_niceness
from .websockets import PATH as WEBSOCKET_PATH
from .websockets import Echo, measure_idle
from .window import Window

PACED_DOWNLOADS = 4


def _context(ca: str) -> ssl.SSLContext | None:
    if not ca:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(ca)
    return context


async def _run(spec: dict[str, Any], site: Site, context: ssl.SSLContext | None, window: Window) -> None:
    kind = spec["kind"]
    if kind == "beside":
        await _run_beside(site, context, window)
        return
    next_head = site.varied() if spec.get("heads") == "varied" else site.same(spec.get("path", SMALL_PATH))
    makers: dict[str, Callable[[Crowd], Member]] = {
        "exchange": lambda crowd: Exchange(crowd, next_head),
        "download": lambda crowd: Download(crowd, spec.get("path", DOWN_PATH)),
        "upload": lambda crowd: Upload(crowd, spec.get("path", UP_PATH)),
        "echo": lambda crowd: Echo(crowd, spec["size"], spec.get("path", WEBSOCKET_PATH)),
        "idle": lambda crowd: Echo(crowd, 100, idle=True),
    }
    crowd = Crowd(site, context, window, makers[kind])
    if kind == "idle":
        await measure_idle(crowd, spec["connections"], spec["pids"], spec["seconds"])
        return
    await crowd.open(spec["connections"])
    await window.pass_by()
    await crowd.drain()


async def _run_beside(site: Site, context: ssl.SSLContext | None, window: Window) -> None:
    """One small request at a time, timed, beside downloads that the backend paces."""
    theirs = Window(window.seconds, window.warm_s, ())
    downloads = Crowd(site, context, theirs, lambda crowd: Download(crowd, PACED_PATH))
    await downloads.open(PACED_DOWNLOADS)
    head = site.same()
    small = Crowd(site, context, window, lambda crowd: TimedExchange(crowd, head))
    await small.open(1)
    await asyncio.gather(window.pass_by(), theirs.pass_by())
    await small.drain()
    for one in list(downloads.members):
        one.leave()  # In the middle: they would take another second.
    await downloads.drain()
    window.errors.update(theirs.errors)
    counted = theirs.result()
    window.more["paced_mb_s"] = counted["done"] / counted["seconds"] / 1e6


def main() -> None:
    """Run the load that the command line asks for."""
    spec = json.loads(sys.argv[1])
    gc.disable()
    apply_niceness(os.getpid())
    context = _context(spec["ca"])
    site = Site(spec["port"], tls=context is not None, cookie=spec["cookie"])
    window = Window(spec["seconds"], spec["warm_s"], spec["pids"])
    if spec["kind"] == "connect":
        Connects(site, context, window, spec.get("path", SMALL_PATH)).run(spec["connections"])
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(spec, site, context, window))
    print(json.dumps({**window.result(), "tool_waited_ns": times([os.getpid()]).waited}))


if __name__ == "__main__":
    main()
