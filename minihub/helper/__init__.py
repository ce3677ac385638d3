"""The one process that may keep root: it asks PAM and starts programs as their users, and does nothing else.

Who calls in: `minihub.cli` forks it before everything else (`parent.fork_helper`), tells it its settings once, while
still root, and then drops root for good (`privileges.drop_to`). The hub speaks to it with `client.HelperClient`;
nobody else can: the only way in is one end of a socket pair.

    hub (unprivileged, listens)                  helper (root, listens to nobody else)
      client.HelperClient  --length + JSON-->    service.Service
                                                   |- pam_pool.PamPool -> pam_worker  (one process per question)
                                                   |- commands     argv from a fixed list, as the user
                                                   `- jobs         a script in a session of its own, as the user
                                                        `- records  who, pid, start time, boot: one file per job

What goes out: answers on the same socket; children that have become their user for good before anything of the
user's is touched.

What never happens here: a network socket, a thread, a shell line made of somebody's text, a look-up or a PAM module in
the main loop (both may hang; they live in children that are killed), a password in a log, in an argument or in an
exception. uid 0, uids below UID_MIN and the hub's own account are refused. The hub is taken for hostile: whatever it
asks is checked (`rules`). Started as an ordinary user, the same code runs with that user's rights and starts programs
as that user only.

The helper ends when the hub's end of the socket closes, however the hub died; users' jobs go on and are found
again by process id + start time + boot id.

Only the standard library and python-pam are imported (asyncio by `client` alone, which lives in the hub).
"""
