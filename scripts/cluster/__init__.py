"""A real Slurm with several hosts on one machine.

What stands where:

    hub     the machine's own network, plus one veth end (10.77.0.1); inside the cluster's mount namespace
    ctl     10.77.0.2: the bridge, slurmctld, slurmdbd, MariaDB, munged
    login   10.77.0.10: sshd, which trusts the hub's user CA
    node1   10.77.0.11: slurmd, 8 CPUs, two fake V100
    node2   10.77.0.12: slurmd, 8 CPUs, one fake A100

Each host is one idle process that holds a network, a host name and a mount namespace. All of them live inside one mount
namespace, where /etc and /usr/local are overlays, and /run, /home, /var/log and a few more are the cluster's own: users, keys
and configuration exist only there. Whatever sees the cluster's private tmpfs is part of the cluster, so `down` finds every
daemon, job and hub by that mark, even when pid files are lost, and when the last one is gone the kernel has removed
namespaces, mounts, bridge and veths by itself.

Modules: `layout` (names, paths, addresses; pure), `configuration` (texts of configuration files; pure), `run` (programs),
`processes` (who is inside), `namespaces` (mounts and networks), `users`, `daemons`, `accounting`, `lifecycle` (up, down,
status), `commands` (the command line).
"""
