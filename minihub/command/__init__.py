"""The command line's commands that ask a running hub: servers, users, tokens, history, audit, announcements.

Who calls in: `minihub.cli`, which has read argv with `words` and names the command to run (`run.run_command`).
What goes out: requests to the REST API, over the hub's own admin socket or, with --url, over HTTP with a token; texts
and tables on stdout, notes and errors on stderr, an exit status.

    words       the commands' words and options, for argparse         imports nothing big: `serve` loads it too
    failures    what can go wrong, each with its exit status          pure
    times       "2h", "7d" and back                                   pure
    reach       which way to the hub, and what to do where there is none
    link        one way to the hub: requests, pages of lists, errors in words
    show        tables for people, plain columns for pipes, JSON for scripts
    run         runs one command
    servers, users, tokens, records (history, audit), announcements, scheduler    the commands
    authority   `minihub ca`: the ssh CA's key files, and changing to a new key

A command is `async def name(hub, options) -> int`: it asks, shows, and returns the exit status.

What never happens here: a look into a running hub's store, except where no hub runs (`tokens`, which says so); a secret
taken from argv or printed beside the one token that was just made; text of users that reaches a terminal with control
characters in it.
"""
