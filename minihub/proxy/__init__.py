"""Browser <-> the user's Jupyter: everything under /user/NAME/.

Who calls in: the aiohttp application mounts `ReverseProxy` by `attach`; whoever stops a server or ends a login calls
`close_user` / `close_login`; the supervisor asks `Prober.verify` before it calls a server READY.
What goes out: connections to the user's Jupyter, and questions to `Servers.route` and `Identity`, on every request.

    request head -> gate (who may, and where to) -> headers (what goes on) -> forward, websocket -> upstream

`gate` and `headers` are pure and know no aiohttp: they are the seam. Another front door (one that reads heads by
itself) keeps both, and `upstream.dial`, and replaces only `forward` and `websocket`.

What never happens here: no page is drawn (the `Pages` given to us does that), no server is started or stopped, no
byte goes upstream before `gate` has said Forward, no token is logged, and the hub's own cookies and the client's
Authorization never reach a user's server.
"""
