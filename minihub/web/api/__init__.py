"""What a script sees: the REST API under /hub/api, in JupyterHub's shapes. Same service layer as the pages.

    tables.py        the table of all endpoints: table_hub.py, table_users.py, table_servers.py
    endpoint.py      what one endpoint is: method, path, handler, scope, models of what comes in and goes out
    routes.py        how requests come to handlers
    reading.py       query and body into models; whatever is wrong is a 4xx that says what (problems.py; moments.py: times)
    access.py        who asks, by token or login
    call.py          one request, read and checked: what a handler gets
    models.py        what goes out, as models; build.py makes them of the hub's values (pure)
    replies.py       from models to responses; pages of lists
    openapi.py       the description, from the table and the models; documents.py serves it

    hub.py users.py tokens.py server.py running.py choices.py admin.py    the handlers by topic (people.py: shared)

To add an endpoint: a handler, its models, a line in a table. Errors become answers in one place, `web/respond.py`.
Who may not know whether somebody exists gets the same 404 for everybody, before anything is asked that takes time.
"""
