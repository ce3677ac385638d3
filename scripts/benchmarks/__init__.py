"""Measures the hub on a real path: PAM, asyncssh with certificates, sshd, Slurm, mutual TLS; only Jupyter is a stand-in.

`scripts/bench` calls `commands.main`, inside the test cluster's mount namespace (but for the proxy).

    commands   the command line, and the order of `all`
    site       directories, settings and users of one measurement; the package as a site would install it
    hub        one hub process: start, log, processes below it, end
    visitor    a user's browser, as far as needed: log in, form, start, wait, stop
    bare       the same stand-in by plain sbatch, as the same user: the floor
    slurm      what Slurm is asked besides: is a job gone, how many RPCs
    standin    what runs in place of `jupyter-lab`; standard library only
    start      one start at a time, beside bare ones; stop too
    burst      16 at the same moment
    idle       RPCs, memory and CPU of a hub that has nothing to do
    boot       from exec to the first answer
    login      a right password beside wrong ones; a class behind one address
    figures    medians, and the tables of BENCHMARKS.md
    proxy      another measurement altogether, without a cluster: our proxy beside others

Nothing here is imported by the hub or its tests; the numbers are for people, not for pass or fail.
"""
