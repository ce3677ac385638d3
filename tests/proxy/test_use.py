"""Which traffic is use of a server: seen of a real JupyterLab, and of applications behind jupyter-server-proxy."""

from __future__ import annotations

import pytest

from minihub.proxy.use import is_counted_socket, is_use

START = len("/jupyter/user/")


def target(path, user="ada"):
    return f"/jupyter/user/{user}/{path}"


@pytest.mark.parametrize(
    "path",
    [
        "api/kernels?1764131234567",
        "api/sessions",
        "api/terminals",
        "api/contents/work?content=1",
        "api/contents/a.ipynb/checkpoints",
        "api/me",
        "api/status",
        "api/kernelspecs",
        "api/metrics/v1",
        "api/kernels/0-1/channels?session_id=1",
        "terminals/websocket/1",
        "api/events/subscribe",
        "lab/api/settings/x",
        "lab/api/workspaces/default",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_a_tab_asks_again_and_again_is_no_use(path, method):
    assert not is_use(method, target(path), START)
    assert not is_use(method, target(path, "api%40site"), START), "wherever the name ends"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "api/contents/a.ipynb"),
        ("POST", "api/sessions"),
        ("POST", "api/kernels/0-1/restart"),
        ("DELETE", "api/terminals/1"),
        ("GET", "lab"),
        ("GET", "lab/tree/api/x"),
        ("GET", "files/big.csv"),
        ("GET", "static/lab/main.js"),
        ("GET", "proxy/8080/api/kernels"),
        ("GET", "terminals/1"),
        ("GET", "rstudio/"),
        ("POST", "rstudio/rpc/get_events"),
        ("GET", "api"),
        ("GET", ""),
    ],
)
def test_everything_else_is(method, path):
    assert is_use(method, target(path), START)


def test_lab_writes_its_workspace_down_by_itself():
    assert not is_use("PUT", target("lab/api/workspaces/default"), START)


def test_a_user_called_api_is_like_everybody():
    assert is_use("GET", target("rstudio/", "api"), START)
    assert not is_use("GET", target("api/kernels", "api"), START)


@pytest.mark.parametrize("path", ["proxy/8080/socket", "lsp/ws/python-lsp-server", "desktop/websockify"])
def test_websockets_of_applications_are_looked_at(path):
    assert is_counted_socket(target(path), START)


@pytest.mark.parametrize(
    "path", ["api/kernels/0-1/channels?session_id=1", "terminals/websocket/1", "api/events/subscribe"]
)
def test_jupyters_own_are_not(path):
    assert not is_counted_socket(target(path), START)
