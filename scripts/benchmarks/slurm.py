"""What Slurm is asked beside the hub, as root: the same for the hub's jobs and the bare ones."""

from __future__ import annotations

import asyncio
import pwd
import re
import subprocess
import time
from dataclasses import dataclass

PATIENCE_S = 300.0


async def _ask(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


async def watch_gone(job_id: str, timeout_s: float = 60.0) -> float:
    """Return when squeue no longer listed the job: all its processes ended, its cores free again."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        asked = time.time()
        if not (await _ask("squeue", "--noheader", f"--jobs={job_id}", "--format=%T")).strip():
            return asked
        await asyncio.sleep(0.01)
    raise TimeoutError(job_id)


async def wait_empty(timeout_s: float = 60.0) -> None:
    """Wait until no job is left."""
    ends = time.monotonic() + timeout_s
    while (await _ask("squeue", "--noheader")).strip():
        if time.monotonic() > ends:
            raise TimeoutError("jobs are left")
        await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Rpcs:
    """sdiag's counters."""

    by_type: dict[str, int]
    by_user: dict[str, int]

    def since(self, before: Rpcs) -> Rpcs:
        """What has been added."""
        types = {k: v - before.by_type.get(k, 0) for k, v in self.by_type.items()}
        users = {k: v - before.by_user.get(k, 0) for k, v in self.by_user.items()}
        return Rpcs({k: v for k, v in types.items() if v}, {k: v for k, v in users.items() if v})


async def count_rpcs() -> Rpcs:
    """Read the counters."""
    text = await _ask("sdiag")
    types, _, users = text.partition("statistics by user")
    return Rpcs(_counters(types), _counters(users))


def _counters(text: str) -> dict[str, int]:
    return {
        name: int(count)
        for name, count in re.findall(r"^\t(\S+)\s*\(\s*\d+\) count:(\d+)", text, re.MULTILINE)
    }


async def fill(user: str) -> str:
    """Take all nodes, so that everybody else waits; return the job to cancel."""
    account = pwd.getpwnam(user)
    process = await asyncio.create_subprocess_exec(
        *("sbatch", "--parsable", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=exec sleep 3600"),
        stdout=subprocess.PIPE,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
    )
    out, _ = await process.communicate()
    return out.decode().strip()


async def cancel(job_id: str) -> None:
    """Cancel any job."""
    await _ask("scancel", job_id)


async def empty() -> None:
    """Cancel whatever is left, and wait for its end; a hub may still be submitting."""
    ends = time.monotonic() + PATIENCE_S
    while (await _ask("squeue", "--noheader")).strip():
        if time.monotonic() > ends:
            raise TimeoutError("jobs are left")
        await _ask("scancel", "--partition=compute")
        await asyncio.sleep(2)


async def share_cores(jobs: int) -> None:
    """Let so many jobs share each core (1: none)."""
    share = f"FORCE:{jobs}" if jobs > 1 else "NO"
    await _ask("scontrol", "update", "PartitionName=compute", f"OverSubscribe={share}")
