"""`minihub scheduler`: how the scheduler does, as the hub sees it."""

from __future__ import annotations

import argparse
from typing import Any

from minihub.command.failures import DONE
from minihub.command.link import Link
from minihub.command.show import note, print_facts, print_json
from minihub.command.times import format_moment, format_span


async def show(hub: Link, options: argparse.Namespace) -> int:
    """`minihub scheduler`."""
    found: dict[str, Any] = await hub.get("/scheduler")
    if options.json:
        print_json(found)
        return DONE
    took = found.get("listing_took_s")
    stray = [f"{job['id']} ({job['user']})" for job in found.get("unknown_jobs") or ()]
    print_facts(
        [
            ("scheduler", found.get("name")),
            ("answers", found.get("up")),
            ("last answer", format_moment(found.get("last_answer"))),
            ("age", format_span(found.get("age_s"))),
            ("listing took", None if took is None else f"{took:.2f}s"),
            ("down since", format_moment(found.get("failing_since"))),
            ("problem", found.get("problem")),
            ("in detail", found.get("detail")),
            ("waiting jobs", found.get("waiting_total")),
            ("hides jobs", found.get("hidden")),
            ("stray jobs", ", ".join(stray)),
        ]
    )
    if stray:
        note("stray jobs are named like a hub's but are not in its records; it leaves them alone")
    return DONE
