"""How commands reach the place where Slurm's commands are: over ssh, or as processes of this host.

Who calls in: `schedulers.slurm` runs argv as a user and opens forwards; `app` makes the one transport there is; the CLI
makes and shows the certificate authority (`ca`). What goes out: ssh to login nodes, processes on this host, errors of the
`TransportError` family, which tell the one thing that matters: whether the command can have run.

    base        the protocol: run, open_forward, close_forward, warm, close
    local       processes of this host: the hub's own user, sudo, or the root helper
    ssh         composes the rest:
      dialing     login nodes in order, strict host keys, one login
      link        one kept-alive connection per login name: single flight, backoff, idle close, a queue of commands
      command     one command on one channel, its time limits, what its end means
      framing     argv as data behind one constant shell line, and the marker (pure)
      forwards    0600 unix sockets that end at a node's port
      ca          the user certificate authority, for whom the hub may act, what sshd needs

What never happens here: nothing knows what Slurm is, or reads what a command printed; nothing typed by a user or made by
the hub is part of a shell line; no host key is learned by itself; nobody becomes root. docs/identities.md shows what a site
sets up for each way.
"""
