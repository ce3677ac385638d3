"""What a server says of its own use: the answers of Jupyter's api/kernels and api/terminals. Pure.

Not api/status: its last_activity is that of any request, and an open tab that nobody looks at asks every few seconds.
A server may lie; then it spares itself, or harms its own user only.

Source: jupyter_server 2.21, KernelModel: execution_state is "busy" from the beginning of an execution to its end,
last_activity that of the last message (asking what a kernel is does not count); jupyter_server_terminals 0.5: last_activity
is that of the last input or output, whether or not a tab shows the terminal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

KERNELS, TERMINALS = "api/kernels", "api/terminals"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server does and did."""

    busy: bool
    """A kernel computes now."""
    last_activity: float | None
    """Wall seconds, by the clock of its node, of the last thing that a kernel or terminal did; None: it has none of them."""


class NoUsage(ValueError):
    """The answer cannot be Jupyter's."""


def parse_usage(kernels: bytes, terminals: bytes | None) -> Usage:
    """Read both answers.

    Args:
        kernels: Body of api/kernels.
        terminals: Body of api/terminals; None where the server has no terminals (404).

    Raises:
        NoUsage: They are not what Jupyter says.
    """
    running = _models(kernels)
    times = [_time(model) for model in [*running, *(_models(terminals) if terminals is not None else [])]]
    return Usage(any(model.get("execution_state") == "busy" for model in running), max(times, default=None))


def _models(body: bytes) -> list[dict[str, Any]]:
    try:
        models = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = "no JSON"
        raise NoUsage(msg) from error
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        msg = "no list of models"
        raise NoUsage(msg)
    return models


def _time(model: dict[str, Any]) -> float:
    try:
        moment = datetime.fromisoformat(model["last_activity"])
    except (KeyError, TypeError, ValueError) as error:
        msg = "no last_activity"
        raise NoUsage(msg) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
