"""A user's script outside the hub: starts a kernel through /user/NAME/, runs code in it, prints what the code printed.

    MINIHUB_TOKEN=... run_in_kernel.py https://hub.example.org/user/NAME/ CODE

Needs jupyter_client, requests and websocket-client. docs/users.md shows the same.
"""

import os
import sys

import requests
import websocket
from jupyter_client.session import Session, json_packer, json_unpacker

server, code = sys.argv[1:]
headers = {"Authorization": f"token {os.environ['MINIHUB_TOKEN']}"}
answer = requests.post(f"{server}api/kernels", json={"name": "python3"}, headers=headers, timeout=60)
answer.raise_for_status()
kernel = answer.json()["id"]

url = f"{server.replace('http', 'ws', 1)}api/kernels/{kernel}/channels"
channels = websocket.create_connection(url, header=headers, timeout=60)
request = Session().msg("execute_request", {"code": code, "silent": False, "allow_stdin": False})
channels.send(json_packer({**request, "channel": "shell"}).decode())
while True:
    message = json_unpacker(channels.recv())
    if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
        continue
    if message["msg_type"] == "stream":
        print(message["content"]["text"], end="")
    if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
        break
channels.close()
requests.delete(f"{server}api/kernels/{kernel}", headers=headers, timeout=60).raise_for_status()
