"""The floor: the same stand-in by plain sbatch, as the same user, asked directly. No hub, no launcher."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import ssl
import subprocess
import time
from datetime import timedelta
from pathlib import Path

from minihub.servers.identity import client_context, make_secrets

from .hub import wait_until
from .site import FIRST_LINE, JOB_MEMORY_MB, Site, home
from .visitor import Started

_OPTIONS = ("--parsable", "--export=ALL", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--time=60")
_OPTIONS += (f"--mem={JOB_MEMORY_MB}M", "--no-requeue", "--output=/dev/null", "--job-name=bare")


class Bare:
    """One job of one user, prepared before the clock starts."""

    def __init__(self, site: Site, user: str) -> None:
        self.user = user
        self._site = site
        account = pwd.getpwnam(user)
        secrets, tls = make_secrets(user, tls=True, not_before=time.time(), lifetime=timedelta(hours=2))
        assert tls is not None
        self._token = secrets.token
        self._context: ssl.SSLContext = client_context(secrets)
        self._base = f"/user/{user}/"
        self._directory = Path(account.pw_dir) / f".bench-{os.urandom(4).hex()}"
        files = {
            "spec.json": json.dumps({"token": secrets.token}),
            "tls/certificate.pem": tls.certificate,
            "tls/key.pem": tls.key,
            "tls/client.pem": tls.client,
        }
        for name, text in files.items():
            path = self._directory / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        for path in (self._directory, *self._directory.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
        arguments = f"--no-browser --ServerApp.base_url={self._base} --ServerApp.port_retries=0"
        self._script = (
            f"#!/bin/sh\n{FIRST_LINE}\nexport JUPYTER_CONFIG_PATH={self._directory}/config\n"
            f"exec {site.jupyter}/jupyter-lab {arguments}\n"
        )

    async def _run(self, *argv: str, stdin: str = "") -> str:
        account = pwd.getpwnam(self.user)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd=account.pw_dir,
            env={"PATH": "/usr/bin:/bin", "HOME": account.pw_dir, "USER": self.user, "LANG": "C.UTF-8"},
        )
        out, _ = await process.communicate(stdin.encode())
        if process.returncode:
            raise RuntimeError(f"{argv[0]} ended with {process.returncode}")
        return out.decode().strip()

    async def start(self) -> Started:
        """Submit, wait until the job says where it listens, and ask there. `posted` is sbatch's answer."""
        done = Started(self.user, time.time())
        done.job_id = await self._run("sbatch", *_OPTIONS, stdin=self._script)
        done.posted = time.time()
        where = self._directory / "where"
        await wait_until(where.exists)
        host, port = where.read_text().split()
        reader, writer = await asyncio.open_connection(host, int(port), ssl=self._context)
        writer.write(
            f"GET {self._base}lab HTTP/1.1\r\nHost: x\r\nAuthorization: token {self._token}\r\n\r\n".encode()
        )
        answer = await reader.readline()
        done.answered = time.time()
        writer.close()
        if b" 200 " not in answer:
            raise RuntimeError(f"{self.user}: {answer!r}")
        return done

    async def stop(self, job_id: str) -> None:
        """Cancel the job."""
        await self._run("scancel", job_id)

    def clean(self) -> None:
        """Remove what `__init__` made."""
        shutil.rmtree(self._directory)


def clean_notes(site: Site) -> None:
    """Remove what jobs noted."""
    for user in site.users:
        for path in home(user).glob(".bench-*"):
            if path.is_file():
                path.unlink()
