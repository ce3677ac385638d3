"""What a browser sees: pages, progress events, static files, translations; `web/api` is what a script sees.

Who calls in: `minihub/app.py` builds the aiohttp application with `build_app(Deps(...), door)`; the proxy has what
people see drawn by `door.Door` where it has nothing to forward to.

What goes out: calls of `Servers` (what users have), `Identity` and `Logins` (who asks), `Tokens`, `Csrf`, `authenticate`.
All of them are protocols that `deps.py` lists; nothing here knows how they work.

    routes.py       every URL on one screen, with who may ask for it
    guard.py        login required, CSRF token and Origin checked, before a handler runs
    middleware.py   around everything: request id, who asks, language, errors into pages, security headers
    pages/          the handlers, one file per group of pages
    api/            the REST API
    door.py         the pages that the proxy shows
    view.py         an attempt in words, for pages and events alike (pure)
    options.py      the options form: fields, bounds, errors (pure)
    overview.py     everybody's servers as one table: filters, order, rows (pure)
    past_view.py    past servers and audit lines in words (pure)
    trends.py       figures of the last day or week, computed from attempts (pure); past.py reads those
    plots.py        plots as SVG (pure)
    live.py         one look a second at all servers, for all admins who watch
    board.py        announcements, kept in memory for the pages
    words.py        states, sizes, durations in plain words (pure)
    urls.py         builds every link; templates never join paths (pure)
    i18n.py         catalogues, and the choice of a language
    assets.py       templates and static files, found in a checkout and in the wheel alike
    render.py       Jinja, and the values that every page needs
    sse.py          event streams that notice when nobody listens any more

What never happens here: no page waits for Slurm, it shows the last snapshot and its age. No cookie opens another user's
server or form. No text typed by a user reaches a template unescaped, or a redirect unchecked. No script stands inside a
page: the content security policy forbids it, all JavaScript lies in static files.
"""
