"""One user's Jupyter server, from the wish to its end.

Who calls in: pages, REST API and proxy through `service.Servers` (implemented by `manager`), the composition root.

    manager.py      start, stop, look, wait: what everybody calls
    options.py      server options: what may be asked for (pure)
    lifecycle.py    the only place where a state changes: step(attempt, event, now, clocks) (pure)
    supervisor.py   writes attempts down, carries commands out, feeds results back as events
    listing.py      one look at all jobs for everybody; the clocks of waiting
    idle.py         when a server counts as unused or too old (pure); usage.py: what servers say of themselves (pure)
    idle_loop.py    watches over use, warns, stops
    matching.py     which job in a listing is whose (pure)
    registry.py     every user's newest attempt in memory; READY *is* the route
    explain.py      why something ended, in plain words (pure)
    records.py      attempts as the store keeps them (pure)
    jobscript.py    the job script (pure); identity.py: secrets and TLS pair of one attempt
    model.py        the values (pure); service.py: the protocol that others see

What goes out: a `Scheduler` (submit, cancel, list), the store, a `Prover` that says whether a server is really there.

What never happens here: HTTP; a guess about a job from a failed or half listing; a job without a record; a state change
outside `step`.
"""
