"""An application as users run it behind jupyter-server-proxy: a redirect, cookies for the whole host, a websocket."""

import html
import sys

from aiohttp import web

PAGE = """<!doctype html><title>Echo</title>
<a id="enter" href="enter">Enter</a>
<p id="cookies">{cookies}</p>
<button id="send">Send</button><p id="answer"></p>
<script>
const socket = new WebSocket(new URL("socket", location.href).href.replace(/^http/, "ws"));
socket.onmessage = e => document.querySelector("#answer").textContent = e.data;
document.querySelector("#send").onclick = () => socket.send("hello");
</script>"""


async def page(request: web.Request) -> web.Response:
    cookies = html.escape(request.headers.get("Cookie", "none"))
    return web.Response(text=PAGE.format(cookies=cookies), content_type="text/html")


async def enter(request: web.Request) -> web.Response:
    """Set cookies as if the host were this application's alone, one of them with the hub's own name."""
    answer = web.Response(status=302, headers={"Location": "/inside/"})
    answer.headers.add("Set-Cookie", "echo-app=mine; Path=/")
    answer.headers.add("Set-Cookie", "__Host-minihub=planted; Path=/; Secure")
    return answer


async def socket(request: web.Request) -> web.WebSocketResponse:
    wire = web.WebSocketResponse()
    await wire.prepare(request)
    async for message in wire:
        await wire.send_str(f"{message.data}, says {request.headers.get('Cookie', 'nobody')}")
    return wire


app = web.Application()
app.add_routes(
    [
        web.get("/", page),
        web.get("/enter", enter),
        web.get("/inside/", page),
        web.get("/inside/socket", socket),
        web.get("/socket", socket),
    ]
)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
