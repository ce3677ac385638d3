"""Who is asking, and what they may do.

Who calls in: the web room (login form, log out, tokens, forms), the proxy (cookies and tokens of every request), the
composition root. What goes out: PAM, the system's user database, and the store's login sessions and tokens.

    model.py       Principal, and the Identity protocol that the proxy and the web see (pure)
    identity.py    Identity as it is: login sessions and tokens together
    logins.py      login sessions: a cookie's opaque id, hashed; idle and absolute lifetime; revoked at once
    tokens.py      API tokens: shown once, hashed, expiring, scoped
    scopes.py      JupyterHub's scope names and what they open (pure)
    policy.py      who is admitted, who is an admin
    throttle.py    how many passwords are checked at once, whose is next (admission.py), how long a wrong one
                   waits for its answer (penalties.py; both pure)
    request.py       what a request says of its sender: address, origin, tokens (pure)
    csrf.py, origin.py, cookies.py, next_url.py    small rules for browsers (pure)

What never happens here:
- a cookie, token or password in a log line, an exception or the store;
- I/O for a request whose login is known (`cached_login`), or for a token that is not ours by its looks;
- an account locked, or a right password kept waiting, because somebody else types wrong ones.
"""
