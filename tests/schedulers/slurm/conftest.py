"""The test cluster, as its own file describes it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def cluster():
    """What cluster.json says. The tests run in the hub's namespace (scripts/test), so Slurm's commands just work."""
    name = os.environ.get("MINIHUB_CLUSTER_NAME", "dev")
    return json.loads(Path(f"/var/lib/minihub-cluster/{name}/cluster.json").read_text())
