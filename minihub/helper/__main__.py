"""`python -m minihub.helper FD`: be a helper on an inherited socket (tests start helpers in namespaces of their own)."""

from __future__ import annotations

import socket
import sys

from minihub.helper.service import serve

if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
