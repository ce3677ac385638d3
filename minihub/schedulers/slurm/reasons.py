"""Slurm's codes in plain words: job states, why a job waits, why a submission was refused. Pure tables.

Sources: squeue(1) "JOB REASON CODES" and "JOB STATE CODES"; job_reason_str() and slurm_strerror() in Slurm's sources.
"""

from __future__ import annotations

import re

from minihub.schedulers.base import JobPhase

_STATES = {
    JobPhase.WAITING: "PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT POWER_UP_NODE EXPEDITING",
    JobPhase.RUNNING: "RUNNING SUSPENDED STOPPED SIGNALING RESIZING",
    JobPhase.ENDING: "COMPLETING STAGE_OUT",
    JobPhase.ENDED: "COMPLETED CANCELLED FAILED TIMEOUT DEADLINE PREEMPTED NODE_FAIL BOOT_FAIL OUT_OF_MEMORY "
    "LAUNCH_FAILED RECONFIG_FAIL REVOKED",
}
PHASES = {state: phase for phase, states in _STATES.items() for state in states.split()}


def phase_of(state: str) -> JobPhase:
    """What a job's state means for us; a word we do not know is UNKNOWN, which concludes nothing."""
    return PHASES.get(state.strip().rstrip("+").upper(), JobPhase.UNKNOWN)


_WAITS = "The job starts as soon as some of them end."
REASONS = {
    "Priority": "Other jobs with a higher priority are ahead in the queue.",
    "Resources": "The job is next in line and waits for cores, memory or GPUs to become free.",
    "BeginTime": "The job's earliest start time has not come yet.",
    "Dependency": "The job waits for another job to end first.",
    "DependencyNeverSatisfied": "The job depends on another one in a way that can no longer be met.",
    "JobHeldUser": "The job was put on hold by its owner.",
    "JobHeldAdmin": "The job was put on hold by an administrator of the cluster.",
    "JobHoldMaxRequeue": "The job failed to start too often and is on hold.",
    "JobLaunchFailure": "The job could not be launched on its node.",
    "Licenses": "The job waits for a license to become free.",
    "Reservation": "The job waits for its reservation to begin or to have room.",
    "ReservationDeleted": "The job's reservation was deleted.",
    "ReqNodeNotAvail": "The nodes this job needs are not available now: down, drained or reserved, perhaps for maintenance.",
    "NodeDown": "A node that this job needs is down.",
    "Nodes": "The nodes this job needs are down, drained or reserved for jobs with a higher priority.",
    "FrontEndDown": "No front end node of the cluster is available.",
    "BadConstraints": "No node can ever satisfy what the job asks for.",
    "PartitionDown": "The partition is closed for now.",
    "PartitionInactive": "The partition is switched off for now.",
    "PartitionNodeLimit": "The job asks for more nodes than the partition allows.",
    "PartitionTimeLimit": "The job asks for more time than the partition allows.",
    "PartitionConfig": "The job asks for something that the partition does not have or allow.",
    "AccountNotAllowed": "This account may not use the partition.",
    "QOSNotAllowed": "This QOS may not use the partition.",
    "InvalidAccount": "The job's account is not valid (any more).",
    "InvalidQOS": "The job's QOS is not valid (any more).",
    "QOSResourceLimit": "The QOS has all resources in use that its limit allows.",
    "QOSTimeLimit": "The QOS's time limit is reached.",
    "QOSUsageThreshold": "The QOS's usage threshold is reached.",
    "QOSJobLimit": f"The QOS has as many jobs as it allows. {_WAITS}",
    "AssociationJobLimit": f"Your account has as many jobs as it allows. {_WAITS}",
    "AssociationResourceLimit": "Your account has all resources in use that its limit allows.",
    "AssociationTimeLimit": "Your account's time limit is reached.",
    "MaxCpuPerAccount": "Your account has as many cores in use as it may have at once.",
    "MaxMemPerLimit": "The job asks for more memory than allowed.",
    "Prolog": "The node is being prepared for the job.",
    "Cleaning": "The job is being cleaned up from an earlier start.",
    "NodeBoot": "The node is starting up for the job.",
    "WaitingForScheduling": "Slurm has not looked at the job yet.",
    "None": "Slurm has not looked at the job yet.",
    "JobArrayTaskLimit": "As many tasks of this job array run as it allows.",
    "BurstBufferResources": "The job waits for burst buffer space.",
    "BurstBufferStageIn": "Files are being copied in before the job starts.",
    "SystemFailure": "Slurm, a file system or the network has failed.",
    "FedJobLock": "The clusters of the federation are deciding where the job runs.",
    "OutOfMemory": "The job used more memory than it had asked for.",
    "TimeLimit": "The job has reached its time limit.",
    "InactiveLimit": "The job was inactive for too long.",
    "NonZeroExitCode": "The job ended with an error.",
    "RaisedSignal": "The job was ended by a signal.",
    "Preempted": "The job was ended to make room for one with a higher priority.",
}

_NEVER_STARTS = (
    "DependencyNeverSatisfied BadConstraints PartitionNodeLimit PartitionTimeLimit PartitionConfig AccountNotAllowed "
    "QOSNotAllowed InvalidAccount InvalidQOS MaxMemPerLimit JobHoldMaxRequeue ReservationDeleted"
)
NEVER_STARTS = frozenset(_NEVER_STARTS.split())

_LIMIT = re.compile(r"(Assoc|QOS)(Grp|Max|Min)(\w*)", re.ASCII)
_WHAT = (
    ("cpu", "CPU cores"),
    ("mem", "memory"),
    ("gres", "GPUs or other devices"),
    ("node", "nodes"),
    ("lic", "licenses"),
    ("bb", "burst buffer space"),
    ("billing", "billed resources"),
    ("energy", "energy"),
)


def _plain_code(reason: str) -> str:
    """The code without details: "ReqNodeNotAvail, UnavailableNodes:node1" is ReqNodeNotAvail.

    One reason is a sentence: "Nodes required for job are DOWN, DRAINED or reserved ..."; its code is Nodes here.
    """
    word = re.split(r"[\s,(:]", reason.strip().lstrip("("), maxsplit=1)[0]
    return word.rstrip(")")


def explain_reason(reason: str) -> str:
    """Say in a sentence why a job waits; "" if Slurm gives no reason. Slurm's own word where we know none better."""
    code = _plain_code(reason)
    if not code or code.lower() in ("null", "n/a"):
        return ""
    known = REASONS.get(code)
    if known is not None:
        return known
    match = _LIMIT.fullmatch(code)
    if match is not None:
        return _explain_limit(*match.groups())
    return f"Slurm gives the reason {code}."


def never_starts(reason: str) -> bool:
    """Whether a job waiting for this reason cannot start unless it (or the cluster) is changed."""
    code = _plain_code(reason)
    match = _LIMIT.fullmatch(code)
    return code in NEVER_STARTS or (match is not None and _is_per_job(match[2], match[3].lower()))


def _is_per_job(kind: str, what: str) -> bool:
    return kind in ("Max", "Min") and (
        "perjob" in what or "pernode" in what or "wall" in what or kind == "Min"
    )


def _explain_limit(owner: str, kind: str, what: str) -> str:  # noqa: PLR0911 - one sentence each
    """Slurm composes these codes: AssocGrpCpuLimit, QOSMaxJobsPerUserLimit, AssocGrpCPUMinutesLimit ..."""
    who = "your account" if owner == "Assoc" else "the QOS"
    low = what.lower()
    if "wall" in low:
        if kind == "Grp":
            return f"The time that {who} may use is used up."
        return f"The job asks for more time than {who} allows."
    thing = next((words for key, words in _WHAT if key in low), "")
    if "minutes" in low:
        return f"The time on {thing or 'the cluster'} that {who} may use is used up."
    if "job" in low and not thing:
        return f"As many jobs run or wait as {who} allows at once. {_WAITS}"
    if kind == "Min":
        return f"The job asks for less than {who} demands ({thing or what})."
    if _is_per_job(kind, low):
        return f"The job asks for more {thing or 'resources'} than {who} allows in one job."
    whose = {"user": "your jobs", "account": "the account's jobs"}.get(
        _per(low), "the jobs that share this limit"
    )
    much = "much" if thing in ("memory", "burst buffer space", "energy") else "many"
    return f"As {much} {thing or 'resources'} as {who} allows at once is in use by {whose}. {_WAITS}"


def _per(low: str) -> str:
    return next((word for word in ("user", "account") if f"per{word}" in low or f"pu{word}" in low), "")


REFUSALS = (
    ("Invalid account or account/partition combination", "You may not use this account, or not in this partition."),
    ("Invalid partition name specified", "There is no such partition."),
    ("Invalid qos specification", "You may not use this QOS with this account."),
    ("CPU count per node can not be satisfied", "No node has that many cores."),
    ("Memory specification can not be satisfied", "No node has that much memory."),
    ("Requested node configuration is not available", "No node has all of what you ask for: cores, memory, GPUs together."),
    ("Invalid generic resource (gres) specification", "There is no such GPU type, or not that many on one node."),
    ("Requested time limit is invalid", "The time is longer than a limit allows."),
    ("Requested partition configuration not available now", "The partition cannot give this now."),
    ("Job violates accounting/QOS policy", "The job is larger or longer than your account or QOS allows, or you have too many jobs."),
    ("Requested reservation is invalid", "There is no such reservation, or it is over."),
    ("Access denied to requested reservation", "You may not use this reservation."),
    ("Required partition not available", "The partition is closed for now."),
    ("User's group not permitted to use this partition", "You may not use this partition."),
    ("More processors requested than permitted", "No node has that many cores."),
    ("Node count specification invalid", "The partition does not allow jobs on one node."),
    ("Invalid feature specification", "No node has a feature that this site asks for in slurm.extra_args."),
    ("Invalid user id", "Slurm does not know your user name."),
    ("I/O error writing script/environment to file", "Slurm's controller cannot write files (its disk may be full)."),
    ("Access/permission denied", "Slurm does not let you do this."),
    ("Slurm temporarily unable to accept job", "Slurm has as many jobs as it can hold. Try again later."),
    ("Pathname of a file, directory or other parameter too long", "The job's script or a path in it is too long."),
    ("Unable to create job: disabled", "Slurm accepts no jobs now."),
    ("Job size specification out of permissible range", "The size is out of the range that is allowed."),
    ("Job submit limit", "You have as many jobs as you may have at once."),
)  # fmt: skip
"""Texts of Slurm's errors and what they mean; the first that occurs counts, so the more telling stand first."""


def explain_refusal(stderr: str) -> str | None:
    """Say in a sentence why sbatch refused; None if we have no better words than Slurm's."""
    low = stderr.lower()
    return next((sentence for text, sentence in REFUSALS if text.lower() in low), None)
