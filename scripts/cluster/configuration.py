"""The texts of the cluster's configuration files. Pure."""

from __future__ import annotations

from .layout import HOSTS, SERVICE_USER, USERS_GROUP, Layout

SLURM_USER = "slurm"
DEVICES = ("fakegpu0", "fakegpu1")


def build_hosts(layout: Layout, machine: str) -> str:
    """Build /etc/hosts; `machine` is what the machine already has there."""
    ours = "".join(f"{layout.address(host)} {host}\n" for host in ("hub", *HOSTS))
    return f"{machine.rstrip()}\n{ours}" if machine.strip() else f"127.0.0.1 localhost\n{ours}"


def build_slurm_conf(layout: Layout) -> str:
    """Build slurm.conf: two nodes that pose as bigger ones, accounting with limits, fast scheduling."""
    return f"""\
ClusterName={layout.name}
SlurmctldHost=ctl({layout.address("ctl")})
AuthType=auth/munge
SlurmUser={SLURM_USER}
SlurmdUser=root
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd-%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd-%n.log
StateSaveLocation={layout.private}/slurmctld
SlurmdSpoolDir={layout.private}/slurmd-%n
ReturnToService=2
# A machine busy with tests answers late; a node that was cut off is noticed within a minute all the same.
SlurmdTimeout=60
MessageTimeout=30

# The nodes are bigger than the machine, and no cgroups are needed.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
MpiDefault=none

SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
PriorityType=priority/multifactor
PriorityWeightAge=1000
# No partition is above another, until a test makes one that is.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={layout.address("ctl")}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=10

GresTypes=gpu
NodeName=node1 NodeAddr={layout.address("node1")} CPUs=8 RealMemory=16000 Gres=gpu:v100:2
NodeName=node2 NodeAddr={layout.address("node2")} CPUs=8 RealMemory=16000 Gres=gpu:a100:1
PartitionName=compute Nodes=node[1-2] Default=YES DefaultTime=1:00:00 MaxTime=8:00:00
PartitionName=gpu Nodes=node[1-2] DefaultTime=1:00:00 MaxTime=4:00:00
PartitionName=short Nodes=node[1-2] DefaultTime=10:00 MaxTime=30:00 PriorityJobFactor=10
"""


def build_gres_conf(layout: Layout) -> str:
    """Build gres.conf: the device files must exist, or the node goes INVAL."""
    return f"""\
NodeName=node1 Name=gpu Type=v100 File={layout.private}/dev/fakegpu[0-1]
NodeName=node2 Name=gpu Type=a100 File={layout.private}/dev/fakegpu0
"""


def build_slurmdbd_conf() -> str:
    """Build slurmdbd.conf; MariaDB knows the user slurm by its uid, so there is no password."""
    return f"""\
AuthType=auth/munge
DbdHost=ctl
SlurmUser={SLURM_USER}
PidFile=/run/slurm/slurmdbd.pid
LogFile=/var/log/slurm/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={SLURM_USER}
StorageLoc=slurm_acct_db
"""


def build_mariadb_conf(layout: Layout) -> str:
    """Build MariaDB's configuration: a small server on a unix socket, as fast as it is forgetful."""
    return f"""\
[mariadbd]
user=mysql
datadir={layout.private}/mysql
socket=/run/mysqld/mysqld.sock
pid-file=/run/mysqld/mysqld.pid
skip-networking
skip-name-resolve
performance-schema=OFF
innodb-buffer-pool-size=64M
innodb-log-file-size=16M
innodb-lock-wait-timeout=900
innodb-flush-log-at-trx-commit=0
innodb-use-native-aio=0
"""


def build_sshd_conf(layout: Layout) -> str:
    """Build the login node's sshd_config as a site would set it up for the hub."""
    return f"""\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
LogLevel VERBOSE
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp

# The hub's user CA vouches for the hub's users and its service account only: not for root, not for system accounts, and
# only from the hub. SHLVL=1 makes bash skip ~/.bashrc for the hub's commands. The first match wins.
Match User root
    TrustedUserCAKeys none

Match Address {layout.address("hub")} Group {USERS_GROUP}
    TrustedUserCAKeys {layout.user_ca_public}
    SetEnv SHLVL=1

Match Address {layout.address("hub")} User {SERVICE_USER}
    TrustedUserCAKeys {layout.user_ca_public}
    SetEnv SHLVL=1
"""


def build_accounting_commands(layout: Layout) -> str:
    """Build what sacctmgr reads from stdin before any user is added: accounts with limits and a second QOS."""
    return f"""\
add cluster {layout.name}
add qos debug Priority=100 MaxWall=00:30:00 MaxJobsPerUser=1 MaxTRESPerUser=cpu=4
add account def-prof1 Description=default Organization=prof1
add account rrg-prof2 Description=allocation Organization=prof2
add account def-prof3 Description=default Organization=prof3
add account def-class Description=class Organization=teaching
add account service Description=service Organization=site
modify account rrg-prof2 set MaxWall=4:00:00 GrpTRES=cpu=8,mem=16000 MaxJobs=4
add user {SERVICE_USER} account=service AdminLevel=Operator
"""
