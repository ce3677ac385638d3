"""The front door: one listening socket for all that browsers send, and the ways from there.

    browser --TCP/TLS--> client --+--> upstream (of a pool) --TCP/TLS/unix/ssh--> the user's Jupyter   /user/NAME/...
                                  +--> upstream ==memory pair==> the hub's aiohttp application         everything else

Who calls in: the composition has `front` listen; whoever stops a server or ends a login calls `close_user` /
`close_login`; the supervisor asks `prober` before it calls a server READY.
What goes out: connections to the users' Jupyter, and questions to `Servers.route` and `Identity`, on every request.

    bytes -> wire, framing -> client -> front -> gate (who may, and where to) -> headers (what goes on)
          -> pool, dialing -> upstream -> wire, framing -> headers -> client -> bytes

`wire`, `framing`, `gate` and `headers` are pure: all that is decided about bytes and rights is decided there. `client`
and `upstream` move bytes; after 101 a `tunnel` does, without looking at them. One exchange at a time passes on a
connection, and what passes was verified to end where it says it ends. What the door does not forward, the hub's own
pages answer (`turned_away`), so no page is drawn here. `use` tells use of a server from what an open tab does by itself, and
`usage_reader` asks servers what they do.

What never happens here: no server is started or stopped, no byte goes upstream before `gate` has said Forward, no
token is logged, and the hub's own cookies and the client's Authorization never reach a user's server.
"""
