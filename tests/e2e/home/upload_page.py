"""A server extension with a page that uploads a file in one request, which it counts and hashes and keeps nothing of.

Jupyter's contents API and jupyter-server-proxy both hold a whole request in memory and take 512 MB at most.
"""

import asyncio
import hashlib

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

PAUSE_AT = 256 << 20
PAUSE_S = 1.0
"""Once it takes nothing for a while: whoever stands between must not collect what comes meanwhile."""

PAGE = """<!doctype html><title>Upload</title>
<input type="file" id="file"><p id="answer"></p>
<script>
document.querySelector("#file").onchange = async e => {
  const answer = await fetch(location.href, {
    method: "PUT", body: e.target.files[0],
    headers: {"X-XSRFToken": (document.cookie.match(/_xsrf=([^;]+)/) || [])[1] || ""}});
  document.querySelector("#answer").textContent = answer.status + " " + await answer.text();
};
</script>"""


@web.stream_request_body
class UploadHandler(JupyterHandler):
    async def prepare(self) -> None:
        await super().prepare()
        self.request.connection.set_max_body_size(8 << 30)
        self.digest = hashlib.sha256()
        self.count = 0

    async def data_received(self, chunk: bytes) -> None:
        if self.count < PAUSE_AT <= self.count + len(chunk):
            await asyncio.sleep(PAUSE_S)
        self.count += len(chunk)
        self.digest.update(chunk)

    @web.authenticated
    def get(self) -> None:
        assert self.xsrf_token, "sets the cookie"
        self.finish(PAGE)

    @web.authenticated
    def put(self) -> None:
        self.set_header("Content-Type", "text/plain")
        self.finish(f"{self.count} {self.digest.hexdigest()}")


def _jupyter_server_extension_points():
    return [{"module": "upload_page"}]


def _load_jupyter_server_extension(app) -> None:
    pattern = url_path_join(app.web_app.settings["base_url"], "upload")
    app.web_app.add_handlers(".*$", [(pattern, UploadHandler)])
