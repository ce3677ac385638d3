"""Accounts, associations and limits in slurmdbd."""

from __future__ import annotations

from collections.abc import Sequence

from . import configuration
from .layout import Layout, User
from .namespaces import run_in


def associations(layout: Layout) -> set[tuple[str, str]]:
    """Return the pairs (account, user) that exist."""
    text = run_in(layout, "hub", ["sacctmgr", "-nP", "show", "assoc", "format=account,user"])
    pairs = (line.split("|") for line in text.splitlines())
    return {(account, user) for account, user in pairs if user}


def create_accounting(layout: Layout, users: Sequence[User]) -> None:
    """Create what is missing, all in one sacctmgr: each start of it costs a third of a second."""
    there = associations(layout) if _has_cluster(layout) else set()
    commands = "" if there else configuration.build_accounting_commands(layout)
    # One command for all of an account: each is a transaction of its own.
    missing: dict[tuple[str, str], list[str]] = {}
    for user in users:
        for account in user.accounts:
            if (account, user.name) not in there:
                missing.setdefault((account, user.accounts[0]), []).append(user.name)
    for (account, default), names in missing.items():
        commands += f"add user {','.join(names)} account={account} DefaultAccount={default}\n"
    if ("rrg-prof2", "alice") not in there:
        commands += "modify user alice where account=rrg-prof2 set QOS=normal,debug MaxJobs=2\n"
    if commands:
        run_in(layout, "hub", ["sacctmgr", "-i", "-Q"], stdin=f"{commands}exit\n", timeout_s=60 + len(users))


def _has_cluster(layout: Layout) -> bool:
    return (
        layout.name in run_in(layout, "hub", ["sacctmgr", "-nP", "show", "cluster", "format=cluster"]).split()
    )
