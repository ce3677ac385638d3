"""Which traffic is use of a server: seen of a real JupyterLab, and of applications behind jupyter-server-proxy."""

from __future__ import annotations

import pytest

from minihub.idle_settings import IdleSettings
from minihub.proxy.use import UseRules

RULES = UseRules("/jupyter/user/", IdleSettings().background_paths)
is_use, is_counted = RULES.is_use, RULES.is_counted


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
    assert not is_use(method, target(path))
    assert not is_use(method, target(path, "api%40site")), "wherever the name ends"


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
    assert is_use(method, target(path))


def test_lab_writes_its_workspace_down_by_itself():
    assert not is_use("PUT", target("lab/api/workspaces/default"))


@pytest.mark.parametrize("path", ["git/notebooks/status", "dask/clusters", "scheduler/jobs"])
def test_extensions_that_ask_by_themselves_are_told_by_the_site(path):
    assert not is_use("POST", target(path))
    assert not is_counted(target(path))
    assert UseRules("/jupyter/user/").is_use("POST", target(path))


def test_a_user_called_api_is_like_everybody():
    assert is_use("GET", target("rstudio/", "api"))
    assert not is_use("GET", target("api/kernels", "api"))


@pytest.mark.parametrize("path", ["proxy/8080/socket", "lsp/ws/python-lsp-server", "desktop/websockify"])
def test_websockets_of_applications_are_looked_at(path):
    assert is_counted(target(path))


@pytest.mark.parametrize(
    "path", ["api/kernels/0-1/channels?session_id=1", "terminals/websocket/1", "api/events/subscribe"]
)
def test_jupyters_own_are_not(path):
    assert not is_counted(target(path))
