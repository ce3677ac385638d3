"""`minihub check`: tests every hop from login to Jupyter on a node, in order, and names the one that fails and its cure.

Who calls in: the command line, with a helper that was forked first (`run.run_checks`).
What goes out: what a real start of a user's server sends out, by the very same code (`minihub.building`, the
`Preparer`, scheduler and transport, the proxy's `Prober`): a check that took another way would prove nothing.

    model       Hop, Result, and how a row of hops is run                 pure
    printing    a Result as lines of text                                 pure
    bench       what the hops share: settings, helper, transport, scheduler
    hub         key files, store, PAM, the test user
    ssh         login node, host key, logging in, acting as the user
    slurm       commands, answers, the listing, accounts
    trial       the test job: one server from sbatch to its first page, cancelled whatever happens
    public      from the address that users type to the running hub, through what stands in front
    fronts      cures for front proxies                           pure
    onward      from the job to its page: node name, report, Jupyter, the way there, the log
    report      the listener that stands in for the hub's when a job reports
    run         chooses the hops and runs them

Each hop's result is a value; printing is done elsewhere. A hop that needs an earlier one which did not work is skipped
and says which. A hop that cannot be tested as this Unix user says so and is no failure.

What never happens here: a change in a running hub. Its store is opened beside it, sockets and job records lie in a
directory of their own, and the test job's name carries no hub's id, so that no hub takes it for its own.
"""
