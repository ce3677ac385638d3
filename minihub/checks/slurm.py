"""Hops to Slurm: its commands, its answers, what the service account sees, what the test user may charge."""

from __future__ import annotations

import re

from minihub.checks.bench import Bench
from minihub.checks.model import CheckFailed, Found
from minihub.errors import HubError
from minihub.schedulers.slurm import commands
from minihub.schedulers.slurm.answers import last_words
from minihub.schedulers.slurm.proof import Proof
from minihub.schedulers.slurm.runner import CommandRunner

PROGRAMS = ("sbatch", "squeue", "scancel", "sacct", "sacctmgr", "scontrol", "sinfo")
_MISSING = (126, 127)


async def programs(bench: Bench) -> Found:
    """All of Slurm's commands are there and of one version."""
    assert bench.transport is not None
    bench.runner = CommandRunner(bench.transport, bench.settings.slurm.command_timeout_s)
    versions: dict[str, list[str]] = {}
    for program in PROGRAMS:
        try:
            done = await bench.runner.run((program, "--version"), user=None)
        except HubError as error:
            raise CheckFailed(
                f"{program}: {error.user_message} {error.detail}", _cure_programs(bench)
            ) from error
        if done.exit_status != 0:
            where = bench.settings.slurm.bin_dir or "the PATH of the hub's commands"
            what = f"is not in {where}" if done.exit_status in _MISSING else f"ended with {done.exit_status}"
            raise CheckFailed(f"{program} {what}: {last_words(done.stderr)}", _cure_programs(bench))
        versions.setdefault(_version(done.stdout), []).append(program)
    if len(versions) > 1:
        told = "; ".join(f"{version}: {', '.join(names)}" for version, names in versions.items())
        raise CheckFailed(
            f"several versions at once: {told}", "Set slurm.bin_dir to the directory of the right ones."
        )
    return Found(f"{', '.join(PROGRAMS)}: Slurm {next(iter(versions))}")


def _version(text: str) -> str:
    match = re.search(r"[0-9]+\.[0-9][0-9A-Za-z.-]*", text)
    return match[0] if match else text.strip()[:40]


def _cure_programs(bench: Bench) -> str:
    host = "the login node" if bench.settings.ssh.login_nodes else "this host"
    return f"Set slurm.bin_dir to the directory of Slurm's commands on {host} (slurm.conf, if it lies elsewhere)."


async def answers(bench: Bench) -> Found:
    """The controller and accounting answer."""
    runner = bench.runner
    assert runner is not None
    bench.proof = Proof(bench.settings.slurm, runner, bench.clock)
    await bench.proof.renew()
    cluster = f"cluster {bench.proof.cluster_name}"
    if not bench.proof.uses_accounts:
        return Found(
            f"{cluster}: the controller answers; there is no slurmdbd",
            "Without accounting the form shows no accounts, and how a job ended is known only for some minutes.",
        )
    for argv in (commands.build_show_user(bench.service_user), commands.build_sacct("1")):
        done = await runner.ask(argv)
        if done.exit_status != 0:
            raise CheckFailed(
                f"{argv[0]} ended with {done.exit_status}: {last_words(done.stderr)}",
                "Is slurmdbd up, and may the login node reach it (AccountingStorageHost)?",
            )
    return Found(f"{cluster}: the controller and slurmdbd answer")


async def listing(bench: Bench) -> Found:
    """squeue, run by the service account, shows everybody's jobs."""
    assert bench.proof is not None
    who = bench.service_user
    if not bench.proof.sees_all_users:
        raise CheckFailed(
            f"PrivateData hides other users' jobs from {who}",
            f"sacctmgr modify user {who} set adminlevel=Operator",
        )
    seen = await bench.scheduler.list_jobs()
    owners = {job.user for job in seen.jobs}
    rights = "is an Operator" if bench.proof.is_operator else "sees all (no PrivateData)"
    advice = ""
    if not bench.proof.is_operator:
        advice = f"As an Operator {who} could also cancel jobs where a user's own login fails (sacctmgr, adminlevel)."
    return Found(
        f"{who} {rights}; {len(seen.jobs)} jobs of {len(owners)} users in {seen.took_s:.2f} s", advice
    )


async def accounts(bench: Bench) -> Found:
    """The test user has something to charge, and somewhere to run."""
    limits = await bench.scheduler.limits(bench.user)
    if limits.uses_accounts and not limits.associations:
        raise CheckFailed(_no_account(bench), _cure_account(bench))
    if not any(partition.up for partition in limits.partitions):
        raise CheckFailed("no partition is up", "scontrol update PartitionName=NAME State=UP")
    names = dict.fromkeys(f"{a.account}{' (default)' if a.default else ''}" for a in limits.associations)
    charged = f"accounts {', '.join(names)}; " if names else ""
    where = ", ".join(partition.name for partition in limits.partitions)
    return Found(f"{charged}partitions {where}", limits.problem)


def _no_account(bench: Bench) -> str:
    patterns = bench.settings.slurm.accounts
    matching = f" that matches slurm.accounts ({', '.join(patterns)})" if patterns else ""
    return f"{bench.user} has no account in Slurm{matching}"


def _cure_account(bench: Bench) -> str:
    wider = "Widen slurm.accounts; or " if bench.settings.slurm.accounts else ""
    return f"{wider}sacctmgr add user {bench.user} account=ACCOUNT; or test with a user who has one."
