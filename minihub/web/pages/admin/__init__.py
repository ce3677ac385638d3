"""The admin pages: everybody's servers, users, history, audit log, announcements, plots.

`routes.py` lets admins in only; to all others there is no such page. No link on them opens another user's server: on one
shared origin it could act as the admin who opens it. What ends somebody's work is asked about first, on a page that says what
will be done; the answer names attempts, so that a server which was started meanwhile is left alone.
"""
