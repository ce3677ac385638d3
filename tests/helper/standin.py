"""`python -m tests.helper.standin FD`: a helper whose question to PAM is answered by a stand-in with bad manners."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time

from minihub.helper.service import serve


def question(asked):
    """The user name says what becomes of it."""
    name, password = asked["username"], asked["password"]
    if name == "hang":
        if os.fork() == 0:
            time.sleep(3600)  # a module's own helper process
        time.sleep(3600)
    if name == "crash":
        ctypes.string_at(0)
    if name == "exit":
        os._exit(0)
    if name == "raise":
        raise RuntimeError(f"the password is {password}")
    if name.startswith("slow"):
        while not os.path.exists(password):  # what it waits for
            time.sleep(0.05)
    if name.startswith("compute"):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    if password == "wrong":
        return {"error": "bad_credentials", "message": "", "delay_s": 0.8}
    if name == "pid":
        return {"user": f"pid-{os.getpid()}"}
    return {"user": name}


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), question)
