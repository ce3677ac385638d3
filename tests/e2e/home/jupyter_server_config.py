"""A user's own ~/.jupyter/jupyter_server_config.py: an application behind jupyter-server-proxy, and a page that takes uploads."""

import sys
from pathlib import Path

c = get_config()  # noqa: F821 - Jupyter's
sys.path.insert(0, str(Path.home()))
c.ServerApp.jpserver_extensions.update({"upload_page": True})
c.ServerProxy.servers = {
    "echo": {
        "command": [sys.executable, str(Path.home() / "echo_app.py"), "{port}"],
        "timeout": 30,
        "launcher_entry": {"title": "Echo"},
    }
}
# Jupyter drops what a kernel prints faster than 1 MB/s.
c.ZMQChannelsWebsocketConnection.limit_rate = False
