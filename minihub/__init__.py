"""minihub gives every user of a Slurm cluster a Jupyter server in the browser.

The rooms, from the front to the ground (imports go only downwards):

    cli, app     command line; the one file that composes all rooms
    web          what a browser or a script sees
    proxy        browser <-> the user's Jupyter        auth   who is asking
    servers      one user's Jupyter server: options, life, the service all front ends share
    schedulers   where jobs run: Slurm, this machine
    transports   how commands reach a host: ssh, a local process
    store        what survives a restart
    helper       the one process that may keep root
    config, errors, logs, clock, tasks
    launcher     the program inside the job; imports nothing of ours

Words: a *login session* is our cookie, a *server* is the user's Jupyter server, a *job* is Slurm's, the *hub* is us.
"""

__version__ = "0.1.0"
