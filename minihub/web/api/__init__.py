"""What a script sees: the REST API under /hub/api, in JupyterHub's shapes. Same service layer as the pages.

    models.py     users, servers and events as JSON (pure)
    access.py     who asks (token or login), and what its scopes let it do with whose things
    handlers.py   the endpoints
    routes.py     every endpoint on one screen

Who may not know whether somebody exists gets the same 404 for everybody.
"""
