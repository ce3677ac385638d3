"""slurm.conf with other lines for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.kit import slurm

CONF = Path("/etc/slurm/slurm.conf")


@contextlib.contextmanager
def slurm_conf(*lines: str) -> Iterator[None]:
    """What is said twice there counts as it is said last."""
    before = CONF.read_text()
    CONF.write_text(before + "".join(f"{line}\n" for line in lines))
    slurm("scontrol", "reconfigure")
    try:
        yield
    finally:
        CONF.write_text(before)
        slurm("scontrol", "reconfigure")
