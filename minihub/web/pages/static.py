"""Static files, from memory."""

from __future__ import annotations

from aiohttp import hdrs, web

from minihub.errors import NotFound
from minihub.web.keys import STATIC

FOR_EVER = "public, max-age=31536000, immutable"


async def file(request: web.Request) -> web.Response:
    """One file; kept for ever by browsers that ask for it by its version."""
    found = request.app[STATIC].get(request.match_info["name"])
    if found is None:
        raise NotFound
    etag = f'"{found.version}"'
    current = request.query.get("v") == found.version
    headers = {hdrs.CACHE_CONTROL: FOR_EVER if current else "no-cache", hdrs.ETAG: etag}
    if request.headers.get(hdrs.IF_NONE_MATCH) == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=found.body, headers={hdrs.CONTENT_TYPE: found.content_type, **headers})
