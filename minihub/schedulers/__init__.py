"""Where jobs run.

Who calls in: the servers room, through the protocol `base.Scheduler`; the composition root chooses which.

    base.py     the protocol and its values (pure)
    slurm/      Slurm: commands and parsers (pure), the scheduler on top of a transport
    local.py    this machine: detached processes, started and found again by the helper

What goes out: commands through a `Transport` (Slurm), questions to the helper (local).

What never happens here: HTTP, Jupyter, the store; a conclusion from an answer that was not understood.
"""
