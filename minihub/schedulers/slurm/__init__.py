"""Slurm: how the hub asks it, and how it reads what Slurm says.

Who calls in: the servers room, through `scheduler.SlurmScheduler`, which is a `schedulers.base.Scheduler`; the
composition root makes it from settings, a transport and a clock. `reasons` is read by pages that explain a wait.

What goes out: argv and stdin through a `transports.base.Transport`, as the job's owner (submit, estimate, log, second
way to cancel) or as the service account (everything else). Nothing else.

    commands    words are verified, argv is built             pure
    values      times, memory, TRES, GRES, node lists         pure
    parsers     a whole command's answer                      pure
    answers     what sbatch and scancel said                  pure
    discovery   partitions, accounts, limits -> Limits        pure
    reasons     Slurm's codes and refusals in plain words     pure
    runner      runs commands and counts them
    limits      the cache of what a user may ask for
    scheduler   puts it together

What never happens here: a shell; a value in argv that was not verified; a partial listing; silence or an error read
as "there is no job". Names, comments and reasons are other people's text: a job named with a forged line must not
become a job, so each listing's format carries a random separator (see `commands.build_squeue`).
"""
