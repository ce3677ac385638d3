"""What survives a restart of the hub.

Who calls in: the servers room (attempts, last options), the auth room (login sessions, tokens), the web room (users,
audit), the composition root (opening and closing). They call `Store` in store.py and see only the values of rows.py.

What goes out: one SQLite file in the state directory, and beside it the key file, the hub id and the lock.

    store.py      opens everything in order; the only name others import besides rows.py and keys.py
    rows.py       what goes in and out (pure values)
    attempts.py users.py logins.py tokens.py audit.py    one group of questions each
    database.py   the engine; reads, and writes gathered into one transaction; SQL errors become StoreError
    tables.py     the tables
    schema.py     makes a new file, brings an old one up to date, leaves a newer or damaged one alone
    migrations/   one step per schema change (Alembic; imported only when a step is to be made)
    keys.py       state directory, key file, hub id, lock

What never happens here:
- a write that is reported as done before it is on the disk (WAL, synchronous=FULL);
- a secret at rest in the clear: login and token secrets come hashed, servers' secrets are encrypted with the key file;
- anything known only to SQLite outside this room; an SQLAlchemy exception outside this room;
- a second hub on the same store.
"""
